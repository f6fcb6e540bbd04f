"""The page from records alone: everything of others is escaped, and it stays small."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.report.test_summary import PINS, record, summary
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report import write
from tunematrix.report.page.charts import of
from tunematrix.report.page.render import render
from tunematrix.verdict.releases import Rung

HOSTILE = "</script><img src=x onerror=alert(1)> {{ 7*7 }} \x1b[31m"


@pytest.fixture(name="matrix")
def _matrix(tmp_path: Path) -> Matrix:
    return Matrix(folder=tmp_path, cells=tuple(Cell(name=name, pins=PINS) for name in ("old", "mid", "new")))


def test_it_opens_with_the_answer_and_has_every_cell(matrix: Matrix) -> None:
    page = render(summary(matrix, {"old": record("old"), "mid": record("mid", align="boom")}), {}, ())
    assert (
        "1 of 2 combinations pass every stage, 1 needs attention. "
        "The newest that passes is old: transformers 4.46.3, peft 0.13.2, trl 0.12.3. "
        "1 has no record with this model."
    ) in page
    for name in ("old", "mid", "new"):
        assert f'id="cell-{name}"' in page
    assert "KeyError: boom" in page
    assert "Nothing has run yet." in render(summary(matrix, {}), {}, ())


def test_the_newest_that_passes_is_by_release_wherever_it_stands(matrix: Matrix) -> None:
    records = {"old": record("old"), "mid": with_trl(record("mid"), "1.9.0"), "new": record("new")}
    assert "The newest that passes is mid: " in render(summary(matrix, records), {}, ())


def with_trl(old: Record, version: str) -> Record:
    packages = {**old.packages, "trl": version}
    return replace(old, environment={**old.environment, "packages": packages})


def test_nothing_of_others_adds_to_the_page(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canarycanarycanary")
    bad = record("old", align=f"{HOSTILE} hf_canarycanarycanary")
    finding = {"severity": "wrong", "title": HOSTILE, "fields": []}
    rung = Rung(day="2026-01-01", package="trl", before="1", after="2", findings=(finding,))
    page = render(replace(summary(matrix, {"old": bad}), model=HOSTILE), {"old": HOSTILE}, (rung,))
    assert page.count("<script") == page.count("</script>") == 2, "the page's own, and data"
    assert "<img" not in page
    assert "49" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "canary" not in page
    assert "\x1b" not in page
    addresses = re.findall(r"(?:href|src)=\"([^\"]*)\"", page)
    assert all(each.startswith(("#", "https://", "data:")) for each in addresses)


def test_it_needs_no_network_and_is_the_same_again(matrix: Matrix) -> None:
    first = render(summary(matrix, {"old": record("old")}), {"old": "trl==1\n"}, ())
    assert "default-src 'none'" in first
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?!data:)", first)
    assert render(summary(matrix, {"old": record("old")}), {"old": "trl==1\n"}, ()) == first


def test_a_hundred_cells_are_small(tmp_path: Path) -> None:
    cells = tuple(Cell(name=f"cell-{number}", pins=PINS) for number in range(100))
    matrix = Matrix(folder=tmp_path, cells=cells)
    found = summary(matrix, {cell.name: record(cell.name) for cell in cells})
    assert len(render(found, {cell.name: "trl==1.0\n" * 80 for cell in cells}, ())) < 2_000_000


def test_a_chart_marks_where_a_number_moves(matrix: Matrix) -> None:
    numbers = {"old": 1.0, "mid": 1.00001, "new": 2.0}
    records = {
        name: replace(record(name), fingerprint={"finetune.loss": [9.0, number], "align.loss": float("nan")})
        for name, number in numbers.items()
    }
    charts = {chart.title: chart for chart in of(summary(matrix, records).rows)}
    assert [point.moved for point in charts["SFT loss"].points] == [False, False, True]
    assert charts["SFT loss"].moves == "moves at new (1 to 2)"
    assert "DPO loss" not in charts, "not a number is no point"
    assert not any(point.moved for point in charts["time of a cell"].points)


def test_the_report_writes_it_and_a_cell_that_ends_does_not(matrix: Matrix, tmp_path: Path) -> None:
    store = Store(tmp_path / "results", "tiny")
    store.save(record("old"))
    write.refresh(matrix, store)
    assert not (store.folder / "summary.html").exists()
    write.refresh(matrix, store, page=True)
    assert "What works together" in (store.folder / "summary.html").read_text()
