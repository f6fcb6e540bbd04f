"""The data that the page carries: what cells differ in, the exchange, and what pins are checked against."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.report.test_summary import PINS, record, summary
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report import write
from tunematrix.report.page import heat, pairs
from tunematrix.report.page.render import render
from tunematrix.verdict import ledger, standing
from tunematrix.verdict.releases import Rung

NAMES = ("old", "mid", "new")


@pytest.fixture(name="matrix")
def _matrix(tmp_path: Path) -> Matrix:
    return Matrix(folder=tmp_path, cells=tuple(Cell(name=name, pins=PINS) for name in NAMES))


def columns(matrix: Matrix, kind: str, *records: Record) -> dict[str, Any]:
    data = pairs.data(summary(matrix, {each.cell: each for each in records}).rows)
    assert data["cells"] == [each.cell for each in records]
    return {name: (values, places) for name, values, places in data["kinds"][kind]}


def test_only_what_differs_somewhere_is_kept(matrix: Matrix) -> None:
    found = columns(
        matrix,
        "defaults",
        replace(record("old"), defaults={"A": {"same": 1, "moved": 1, "gone": None}}),
        replace(record("mid"), defaults={"A": {"same": 1, "moved": 2}}),
        replace(record("new"), defaults={"A": {"same": 1, "moved": 1}}),
    )
    assert found == {"A.moved": (["1", "2"], [0, 1, 0]), "A.gone": (["None"], [0, -1, -1])}


def test_numbers_within_the_tolerance_are_one_value(matrix: Matrix) -> None:
    losses = {"old": 1.0, "mid": 1.0 + 1e-7, "new": 1.1}
    found = columns(
        matrix,
        "numbers",
        *(
            replace(
                record(name),
                fingerprint={
                    "finetune.loss": [loss],
                    "tiny.sft.files": [name],
                    "tiny.sweep.SFTConfig.packing": {"True": name},
                    "ids": [name],
                },
            )
            for name, loss in losses.items()
        ),
    )
    assert found.pop("ids") == (["['old']", "['mid']", "['new']"], [0, 1, 2])
    assert found == {"finetune.loss": (["[1]", "[1.1]"], [0, 0, 1])}


def test_stages_packages_and_options_are_columns_too(matrix: Matrix) -> None:
    records = (record("old"), replace(record("mid", align="boom"), options={"depth": "quick"}))
    assert columns(matrix, "stages", *records) == {"align": (["passed", "failed"], [0, 1])}
    assert columns(matrix, "packages", *records) == {}
    assert columns(matrix, "options", *records) == {"depth": (["quick"], [-1, 0])}


def exchange(model: str, *pairs: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "cells": [{"cell": "a"}, {"cell": "b"}, {"cell": "a (frozen)", "frozen": True}],
        "pairs": [
            {
                "writer": writer,
                "reader": reader,
                "model": model,
                "artifact": "lora",
                "outcome": outcome,
                **({} if outcome == "same" else {"reason": f"of {model} {'x' * 300}"}),
            }
            for writer, reader, outcome in pairs
        ],
    }


def write_exchange(root: Path, model: str, content: object) -> None:
    (root / model).mkdir()
    (root / model / "exchange.json").write_text(json.dumps(content))


def test_of_several_models_the_worst_outcome_is_shown(tmp_path: Path) -> None:
    write_exchange(tmp_path, "one", exchange("one", ("a", "a", "same"), ("a", "b", "same")))
    write_exchange(tmp_path, "two", exchange("two", ("a", "a", "same"), ("a", "b", "fails")))
    data = heat.load(heat.files(tmp_path / "other"))
    assert data is not None
    assert (data["writers"], data["readers"]) == (["a", "b", "a (frozen)"], ["a", "b"])
    ((name, title, rows),) = data["artifacts"]
    assert (name, title) == ("lora", "a LoRA adapter")
    outcomes = [[data["outcomes"][place] for place in row] for row in rows]
    same, missing = ["same", "", ""], ["unavailable", "", "was not read"]
    assert outcomes[0][0] == same
    assert outcomes[0][1][:2] == ["fails", "two"]
    assert len(outcomes[0][1][2]) == heat.LONGEST
    assert outcomes[1:] == [[missing, missing]] * 2
    assert heat.files(tmp_path / "one") == [tmp_path / "one/exchange.json"], "its own, if it has one"
    assert heat.load([]) is None


def test_the_page_has_each_finding_once_with_its_artifacts(tmp_path: Path) -> None:
    title = "lora not read (writers since peft 0.14.0; peft 0.18.1 by 0.13.2): TypeError"
    finding: dict[str, Any] = {
        "severity": "broken",
        "title": title,
        "action": "read it with peft 0.18.1 or later",
    }
    finding |= {"fields": ["exchange.dora", "exchange.lora"], "accepted": True}
    for model in ("one", "two"):
        write_exchange(tmp_path, model, exchange(model, ("a", "b", "fails")) | {"findings": [finding]})
    data = heat.load(heat.files(tmp_path / "other"))
    assert data is not None
    assert data["findings"] == [["broken", title, finding["action"], True, ["dora", "lora"]]]


@pytest.mark.parametrize("content", ["{", "[]", '{"cells": 1, "pairs": []}', '{"cells": [], "pairs": [{}]}'])
def test_an_exchange_that_cannot_be_read_is_told_on_the_page(
    content: str, matrix: Matrix, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results", "tiny")
    store.save(record("old"))
    (store.folder / "exchange.json").write_text(content)
    write.refresh(matrix, store, page=True)
    page = (store.folder / "summary.html").read_text()
    assert "exchange.json: not" in page
    assert "run it again: nox -s exchange" in page


def test_what_is_exported_is_what_problems_needs() -> None:
    def rung(after: str, old: str, new: str) -> Rung:
        return Rung(day="2026-01-02", package="trl", before="1", after=after, stages={"align": (old, new)})

    rungs = (rung("2.0", "passed", "failed: KeyError"), rung("3.0", "failed: KeyError", "passed"))
    issues = ledger.shipped().issues
    data = json.loads(json.dumps(standing.exported(issues, rungs)))
    assert [each["id"] for each in data["issues"]] == [
        each.id for each in issues if not each.only_of_exchange
    ]
    assert ["torch", ">=2.6"] in data["issues"][0]["when"]
    assert data["rungs"][0] == {
        "package": "trl",
        "after": "2.0",
        "cause": "trl 2.0 (2026-01-02)",
        "stages": [["align", "passed", "failed: KeyError"]],
        "fixes": {"align": "trl>=3.0 or trl<=1"},
    }
    (problem,) = standing.problems({"trl": "2.1"}, (), rungs)
    assert (problem.cause, problem.fix) == ("trl 2.0 (2026-01-02): failed: KeyError", "trl>=3.0 or trl<=1")


def test_data_of_others_cannot_end_its_script(matrix: Matrix) -> None:
    hostile = "</script><script>alert(1)</script>\x1b[31m hf_canarycanarycanarycanary"
    records = {name: replace(record(name), defaults={hostile: {hostile: name}}) for name in NAMES}
    page = render(summary(matrix, records), {}, ())
    assert "alert(1)</script>" not in page
    assert "\\u003c/script\\u003e" in page
    assert "\x1b" not in page
    assert page.count("<script") == page.count("</script>") == 3
