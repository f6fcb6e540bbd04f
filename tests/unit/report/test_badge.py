"""The badge: what it says of each state, that it can be read, and that no text in it is more than text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.unit.report.test_summary import NO_LEDGER, PINS, cut_off, record, summary
from tunematrix.base.record import Record
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report import badge as badges
from tunematrix.report.badge import BAD, GOOD, KNOWN, LABEL_GROUND, NONE, Badge

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(name="matrix")
def _matrix(tmp_path: Path) -> Matrix:
    return Matrix(folder=tmp_path, cells=tuple(Cell(name=name, pins=PINS) for name in ("old", "mid", "new")))


@pytest.mark.parametrize(
    ("records", "message", "colour"),
    [
        ({}, "0 of 3 pass", NONE),
        ({"old": "passed"}, "1 of 3 pass", KNOWN),
        ({"old": "passed", "mid": "passed", "new": "passed"}, "3 of 3 pass", GOOD),
        ({"old": "passed", "mid": "passed", "new": "failed"}, "2 of 3 pass", BAD),
        ({"old": "passed", "mid": "cut off", "new": "passed"}, "2 of 3 pass", KNOWN),
    ],
)
def test_the_matrix_counts_what_passes_and_nothing_else(
    matrix: Matrix, records: dict[str, str], message: str, colour: str
) -> None:
    made: dict[str, Callable[[str], Record]] = {
        "passed": record,
        "failed": lambda name: record(name, align="x"),
        "cut off": cut_off,
    }
    rows = summary(matrix, {name: made[state](name) for name, state in records.items()}).rows

    assert badges.of_matrix(rows, "stack") == Badge(label="stack", message=message, colour=colour)


def test_a_record_of_another_lock_is_no_pass(matrix: Matrix) -> None:
    matrix.lock_path(matrix.cells[0]).write_text("trl==1.1\n")
    rows = summary(matrix, {"old": replace(record("old"), lock={"sha256": "0" * 64})}).rows

    assert badges.of_matrix(rows, "x").message == "0 of 3 pass"
    assert badges.of_cell(rows[0], "old").message == "lock changed since the run"


def test_a_record_of_scripts_that_have_changed_is_no_pass(matrix: Matrix, tmp_path: Path) -> None:
    file = tmp_path / "workload.toml"
    file.write_text('[[stage]]\nname = "work"\nrun = "python work.py"\n')
    workload = {"file": str(file), "stages": {"work": "another digest"}}
    rows = summary(matrix, {"old": replace(record("old"), workload=workload)}).rows

    assert badges.of_matrix(rows, "x").message == "0 of 3 pass"
    assert badges.of_cell(rows[0], "old").message == "workload changed since the run"


def test_a_failure_that_the_ledger_explains_is_neither_good_nor_bad(matrix: Matrix) -> None:
    [row] = [replace(row, state="known") for row in summary(matrix, {"old": record("old")}).rows[:1]]

    assert badges.of_cell(row, "old").message == "fails for a known reason"
    assert badges.of_matrix([row], "x").colour == KNOWN


@pytest.mark.parametrize(
    ("made", "message", "colour"),
    [
        (record("old"), "passes", GOOD),
        (record("old", finetune="x", align="y"), "fails: finetune", BAD),
        (cut_off("old"), "cut off", NONE),
        (replace(record("old"), outcome="unresolvable", stages=()), "does not resolve", BAD),
        (replace(record("old"), outcome="not_run", stages=()), "not tested", NONE),
        (None, "not tested", NONE),
    ],
)
def test_a_record_says_how_it_went(made: Record | None, message: str, colour: str) -> None:
    assert badges.of_record(made, NO_LEDGER, "x") == Badge(label="x", message=message, colour=colour)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


@pytest.mark.parametrize("colour", [GOOD, KNOWN, BAD, NONE, LABEL_GROUND])
def test_white_text_can_be_read_on_every_ground(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_the_svg_has_both_texts_a_title_and_room_for_them() -> None:
    root = ET.fromstring(badges.svg(Badge(label="stack", message="19 of 22 pass", colour=GOOD)))

    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == root.findtext(f"{SVG}title") == "stack: 19 of 22 pass"
    texts = root.findall(f".//{SVG}text")
    assert [text.text for text in texts] == ["stack", "19 of 22 pass"]
    left, right = (float(rect.attrib["width"]) for rect in root.findall(f"{SVG}g/{SVG}rect"))
    assert left + right == float(root.attrib["width"])
    for text, width in zip(texts, (left, right), strict=True):
        assert 4 <= width - float(text.attrib["textLength"]) <= 20


def test_no_text_is_more_than_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canarycanarycanary")
    hostile = (
        "</text><script>alert(1)</script>\"' & {colour} \n\x1b[31m\u202e hf_canarycanarycanary " + "x" * 500
    )
    badge = Badge.of(hostile, hostile, BAD)
    text = badges.svg(badge)
    root = ET.fromstring(text)

    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "clipPath", "rect", "g", "text",
    }  # fmt: skip
    assert "canary" not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    assert len(badge.label) <= 60
    assert badges.svg(Badge.of("", "", BAD))


def test_the_endpoint_has_the_keys_of_shields() -> None:
    assert badges.endpoint(Badge(label="a", message="b", colour=GOOD)) == {
        "schemaVersion": 1,
        "label": "a",
        "message": "b",
        "color": GOOD,
    }
