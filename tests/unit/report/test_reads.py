"""The answer of ``reads``: one sentence, a line for each cell, JSON, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.verdict.test_reads import ERROR, loads, reading, three
from tunematrix.questions.reads import Folder
from tunematrix.report import reads as view
from tunematrix.verdict.reads import Reading, judge

FOLDER = Folder(
    path=Path("ours"),
    parts={"adapter": {"kind": "adapter", "folder": "ours"}},
    versions={"peft": "0.18.1"},
    pickles=("a.bin", "b.pt"),
)
FAILS: dict[str, Any] = {"outcome": "fails", "error": {**ERROR, "message": "x" * 300}}


def shown(readings: list[Reading]) -> list[str]:
    return list(view.lines(FOLDER, readings, judge(readings, ["adapter"], FOLDER.versions)))


def test_one_line_for_each_cell() -> None:
    lines = shown(three(FAILS, loads(), loads(9.0, 9.0)))
    assert lines[0] == "loads in 1 of 3 stacks; is read otherwise in new; fails in old"
    assert lines[1] == "adapter; written with peft 0.18.1; compared with middle"
    assert lines[2] == "pickles, of which only weights are loaded and no code is run: a.bin, b.pt"
    assert lines[4].startswith("old     FAIL  adapter: TypeError: xxx")
    assert lines[5] == "middle  ok"
    assert lines[6] == "new     DIFF  adapter: logits off by 1.2 of their size"
    assert all(len(line) <= 110 for line in lines)


@pytest.mark.parametrize(
    ("readings", "answer", "code"),
    [
        (three(loads(), loads(), loads()), "loads in all of 3 stacks", 0),
        (three(FAILS, FAILS, FAILS), "loads in none of 3 stacks; fails in old, middle, new", 1),
        ([reading("new", adapter=loads())], "loads in 1 of 1 stack", 0),
        (
            [reading("old", reason="no environment"), reading("new", adapter=loads())],
            "loads in 1 of 2 stacks; not tried in old",
            3,
        ),
        (three(loads(), loads(), loads(7.0)), "loads in 2 of 3 stacks; is read otherwise in new", 1),
    ],
)
def test_the_answer_and_its_code(readings: list[Reading], answer: str, code: int) -> None:
    verdict = judge(readings, ["adapter"], FOLDER.versions)
    assert view.answer(FOLDER, verdict) == answer
    assert view.exit_code(verdict) == code


def test_a_checkpoint_resumes() -> None:
    folder = Folder(path=Path("ours"), parts={"checkpoint-1": {"kind": "checkpoint", "folder": ""}})
    readings = [reading("new", {"checkpoint-1": loads()})]
    verdict = judge(readings, ["checkpoint-1"], {})
    assert view.answer(folder, verdict) == "loads and resumes in 1 of 1 stack"
    assert "written by releases that it does not name" in list(view.lines(folder, readings, verdict))[1]


def test_json_has_the_parts_of_each_cell() -> None:
    readings = three(FAILS, loads(), loads())
    content = view.to_json(FOLDER, readings, judge(readings, ["adapter"], FOLDER.versions))
    assert json.loads(json.dumps(content)) == content
    assert content["references"] == {"adapter": "middle"}
    assert [cell["outcome"] for cell in content["cells"]] == ["fails", "loads", "loads"]
    assert content["cells"][0]["parts"] == [
        {"part": "adapter", "outcome": "fails", "reason": f"TypeError: {'x' * 300}"}
    ]
