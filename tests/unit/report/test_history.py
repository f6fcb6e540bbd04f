"""The history on the page: what is new, what flaked and a line of durations; text of others stays text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.unit.report.test_page import HOSTILE
from tests.unit.report.test_summary import PINS, record, summary
from tests.unit.verdict.test_past import PASSED, run, step
from tunematrix.base.runs import Noted, Part
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report import history as view
from tunematrix.report.page.charts import spark
from tunematrix.report.page.render import render
from tunematrix.verdict.past import Past, pasts


def page(tmp_path: Path, *cells: Past) -> str:
    matrix = Matrix(folder=tmp_path, cells=(Cell(name="a", pins=PINS),))
    return render(replace(summary(matrix, {"a": record("a")}), history=cells), {}, ())


def test_the_page_says_since_when_what_flaked_and_how_long(tmp_path: Path) -> None:
    finding = Noted(id="trl-9", severity="wrong", title="a title")
    again = Part(name="merge", outcome="passed", attempts=2)
    runs = [
        run(1),
        run(2, "KeyError"),
        run(3, "KeyError", seconds=30.0, parts=(again, *run(3, "KeyError").parts)),
    ]
    text = page(tmp_path, *pasts(runs, [step(1, finding), step(3, finding)], ["a"]))

    assert '<h2 id="history">Since when</h2>' in text
    assert "failed since <time>2026-01-02</time>" in text
    assert "<summary>2, newest since <time>2026-01-02</time></summary>" in text
    assert "align failed with KeyError <span" in text
    assert '<time>2026-01-01</time> wrong a title <span class="quiet">(2 in a row)</span>' in text
    assert "align: passed 1, failed 2 times with nothing changed, last failed 2026-01-03" in text
    assert 'aria-label="time: median 10 s, last 30 s"' in text


def test_without_a_history_the_page_has_no_such_section(tmp_path: Path) -> None:
    assert "Since when" not in page(tmp_path)


def test_nothing_of_others_adds_to_it(tmp_path: Path) -> None:
    finding = Noted(id=HOSTILE, severity=HOSTILE, title=HOSTILE)
    bad = replace(
        run(1, HOSTILE), outcome=HOSTILE, parts=(Part(name=HOSTILE, outcome="failed", error=HOSTILE),)
    )
    runs = [replace(bad, parts=()), bad]
    text = page(tmp_path, *pasts(runs, [step(1, finding)], ["a"]))

    assert "Since when" in text
    assert "<img" not in text
    assert text.count("<script>") == 1
    assert "\x1b" not in text


def test_a_line_of_durations_stays_in_its_box() -> None:
    for values in ((5.0,), (5.0, 5.0), tuple(range(1000)), (0.0, 1e9)):
        points = [tuple(map(float, point.split(","))) for point in spark(values).split()]
        assert 2 <= len(points) <= 30
        assert all(0 <= x <= 100 and 0 <= y <= 20 for x, y in points)
    assert spark((1.0, 2.0)) == "1.0,18.0 99.0,2.0"


def test_a_table_of_cells_that_were_all_cut_off_has_no_times() -> None:
    cut_off = replace(
        PASSED, outcome="crashed", interruption="SIGKILL", cell="a" * 30, started="2026-01-01T10:00:00Z"
    )
    lines = list(view.table(pasts([cut_off], [], [])))

    assert lines[1].split()[-2:] == ["-", "-"]
    assert len({len(line) for line in lines}) == 1, "the columns are under their names"
    assert list(view.detail(pasts([cut_off], [], [])[0], "tiny"))[-1].startswith("now ")
