"""The summary: it contains every cell of the matrix, and a missing record is not a pass."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Store
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report import markdown, terminal, write
from tunematrix.report import summary as view
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.ledger import Ledger

NO_LEDGER = Ledger(path=Path("known-issues.toml"))
PINS = {"transformers": "4.46.3", "peft": "0.13.2", "trl": "0.12.2"}


@pytest.fixture(name="matrix")
def _matrix(tmp_path: Path) -> Matrix:
    cells = tuple(Cell(name=name, pins=PINS) for name in ("old", "mid", "new"))
    return Matrix(folder=tmp_path, cells=cells)


def record(cell: str, started: str = "2026-01-01T00:00:00Z", model: str = "tiny", **errors: str) -> Record:
    stages = []
    for name in STAGES:
        message = errors.get(name.replace("-", "_"))
        error = Failure(type="KeyError", message=message, where="trl/x.py:1") if message else None
        stages.append(Result(name=name, outcome="failed" if message else "passed", error=error))
    return Record(
        cell=cell,
        outcome="failed" if errors else "passed",
        started=started,
        seconds=20.4,
        model={"name": model},
        environment={"packages": {**PINS, "trl": "0.12.3"}},
        stages=tuple(stages),
    )


def summary_json(matrix: Matrix, records: dict[str, Record]) -> dict[str, Any]:
    return view.summary_json(summary(matrix, records))


def summary(matrix: Matrix, records: dict[str, Record], ledger: Ledger = NO_LEDGER) -> view.Summary:
    model, of_model = view.latest_model(records)
    return view.Summary(model=model, rows=view.rows(matrix, of_model, ledger), ledger=ledger)


def test_a_cell_without_a_record_is_unknown(matrix: Matrix) -> None:
    content = summary_json(matrix, {"old": record("old")})

    assert content["expected"] == ["old", "mid", "new"]
    assert [cell["outcome"] for cell in content["cells"]] == ["passed", "unknown", "unknown"]
    assert [cell["verdict"] for cell in content["cells"]] == ["same", "unknown", "unknown"]
    assert set(content["cells"][1]["stages"].values()) == {"unknown"}
    assert content["counts"] == {"passed": 1, "unknown": 2}


def test_each_cell_is_compared_with_the_one_before_it(matrix: Matrix) -> None:
    records = {"old": record("old"), "mid": record("mid", align="'x'"), "new": record("new")}

    verdicts = [cell["verdict"] for cell in summary_json(matrix, records)["cells"]]

    assert verdicts == ["same", "regressed", "fixed"]


def test_the_versions_are_the_installed_ones(matrix: Matrix) -> None:
    cells = summary_json(matrix, {"old": record("old")})["cells"]

    assert cells[0]["versions"]["trl"] == "0.12.3"
    assert cells[1]["versions"]["trl"] == "0.12.2"


def test_records_of_another_model_are_left_out(matrix: Matrix) -> None:
    records = {"old": record("old", model="big"), "mid": record("mid", "2026-02-01T00:00:00Z", model="tiny")}

    content = summary_json(matrix, records)

    assert content["model"] == "tiny"
    assert [cell["outcome"] for cell in content["cells"]] == ["unknown", "passed", "unknown"]


def test_one_root_cause_in_two_stages_is_reported_once(matrix: Matrix) -> None:
    broken = record("old", finetune_resume="'x'", align_resume="'x'", generate="'y'")

    assert [(reason.stages, reason.error.one_line) for reason in view.reasons("old", broken, {})] == [
        (("finetune-resume", "align-resume"), "KeyError: 'x' (trl/x.py:1)"),
        (("generate",), "KeyError: 'y' (trl/x.py:1)"),
    ]


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["passed"], 0),
        (["passed", "failed"], 1),
        (["crashed"], 1),
        (["timed_out", "unresolvable"], 1),
        (["passed", "unknown"], 1),
        (["passed", "unresolvable"], 3),
        (["uninstallable"], 3),
        (["skipped"], 3),
        (["not_run"], 3),
    ],
)
def test_the_exit_code_is_that_of_the_worst_cell(outcomes: list[str], code: int) -> None:
    assert view.exit_code(outcomes) == code


def printed(matrix: Matrix, records: dict[str, Record], width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    terminal.show(summary(matrix, records), console)
    console.file.seek(0)
    return console.file.read()


@pytest.mark.parametrize("width", [80, 96, 120])
def test_no_name_in_the_table_is_cut(matrix: Matrix, width: int) -> None:
    text = printed(matrix, {"old": record("old", align="'x'")}, width)

    assert "…" not in text.split("─")[0]
    for word in ("old", "mid", "new", "4.46.3", "0.13.2", "0.12.3", "FAIL", "ok", "?"):
        assert word in text
    assert ("time" in text) == (width >= 90)


def test_each_root_cause_is_one_line(matrix: Matrix) -> None:
    text = printed(matrix, {"old": record("old", align="'x'\nmore")})

    assert "old align [other]: KeyError: 'x' (trl/x.py:1)" in text.splitlines()
    assert "not run yet, or run with another model: mid, new" in text.splitlines()
    assert "1 failed, 2 unknown" in text


def test_a_long_cell_name_is_folded_not_cut(tmp_path: Path) -> None:
    name = "trl-0.26-transformers-ahead-of-all-others"
    text = printed(Matrix(folder=tmp_path, cells=(Cell(name=name, pins=PINS),)), {name: record(name)}, 90)

    assert "…" not in text.split("─")[0]
    assert name in text.replace("\n", "").replace(" ", "") or "trl-0.26-transf" in text


def test_markdown_has_the_table_the_reasons_and_the_changes(matrix: Matrix) -> None:
    old, mid = record("old"), record("mid", align="a | `b`")
    mid = Record(**{**{name: getattr(mid, name) for name in mid.__slots__}, "fingerprint": {"x.loss": [2.0]}})
    old = Record(**{**{name: getattr(old, name) for name in old.__slots__}, "fingerprint": {"x.loss": [1.0]}})

    text = markdown.render(summary(matrix, {"old": old, "mid": mid}))

    assert "| mid | 4.46.3 | 0.13.2 | 0.12.3 | ok | ok | ok | ok | FAIL | ok | ok | regressed |" in text
    assert "- **mid** `` align [other]: KeyError: a | `b` (trl/x.py:1) ``" in text
    assert "| fingerprint | `x.loss` | `[1.0]` | `[2.0]` |" in text


def test_rendering_again_gives_the_same_files(matrix: Matrix, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.save(record("old"))
    names = ("summary.json", "summary.md")

    write.refresh(matrix, store)
    first = [(store.folder / name).read_bytes() for name in names]
    write.refresh(matrix, store)

    assert first == [(store.folder / name).read_bytes() for name in names]
    assert json.loads(first[0])["counts"] == {"passed": 1, "unknown": 2}
