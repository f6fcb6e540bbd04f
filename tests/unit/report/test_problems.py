"""Problems: which failures and findings are some, what a run is evidence of, and the entries to paste."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.report.test_summary import matrix_of, record, summary
from tunematrix.base.record import Failure, Record, Result
from tunematrix.report import problems as view
from tunematrix.report.problems import problems
from tunematrix.verdict import ledger


def packages(record: Record, **versions: str) -> Record:
    return replace(record, environment={"packages": {**record.packages, **versions}})


def load(folder: Path, entry: str) -> ledger.Ledger:
    (folder / ledger.FILE).write_text(f"schema = 1\n{entry}")
    return ledger.load(folder)


def test_an_entry_holds_for_all_versions_and_explains_all_cells(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, "old", "mid", "new")
    records = {
        "old": packages(record("old", align="'x'"), trl="1.1.0"),
        "mid": packages(record("mid", align="'x'"), trl="1.10.0"),
        "new": packages(record("new"), trl="1.11.0"),
    }
    (problem,) = problems(summary(matrix, records))

    assert 'trl>=1.1.0,<=1.10.0"' in problem.entry
    issues = load(tmp_path, problem.entry)
    assert problems(summary(matrix, records, issues)) == []
    assert [list(issues.known_issues(each)) for each in records.values()] == [["align"], ["align"], []]


@pytest.mark.parametrize("message", ["a.b*c (d) [e] \\d+ 'f' \"g\" é", "x" * 5000, "", "first\nsecond"])
def test_an_entry_can_be_read_and_matches_whatever_the_message_is(tmp_path: Path, message: str) -> None:
    matrix = matrix_of(tmp_path, "old")
    error = Failure(type="ValueError", message=message)
    failed = replace(
        record("old"), outcome="failed", probes=(Result(name="p", outcome="failed", error=error),)
    )
    (problem,) = problems(summary(matrix, {"old": failed}))

    assert list(load(tmp_path, problem.entry).known_issues(failed)) == ["probe:p"]


def test_a_lock_that_cannot_be_installed_is_a_problem_and_its_entry_explains_it(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, "old")
    error = Failure(type="UninstallableError", message="no wheel for this machine")
    failed = replace(record("old"), outcome="uninstallable", error=error, stages=())
    content = summary(matrix, {"old": failed})
    (problem,) = problems(content)

    assert problem.title.startswith("the environment: UninstallableError")
    assert list(load(tmp_path, problem.entry).known_issues(failed)) == ["uninstallable"]
    assert view.tested_cells(content, compared=False) == set()


def test_what_the_machine_did_is_no_problem(tmp_path: Path) -> None:
    error = Failure(type="InfrastructureError", message="no space left on device")
    failed = replace(record("old"), outcome="crashed", error=error)

    assert problems(summary(matrix_of(tmp_path, "old"), {"old": failed})) == []


def test_numbers_with_a_common_name_need_one_entry(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, "old", "new")
    before = replace(record("old"), fingerprint={"sft.a.loss": 1.0, "sft.b.loss": 1.0})
    after = replace(record("new"), fingerprint={"sft.a.error": "ValueError", "sft.b.error": "ValueError"})
    (problem,) = problems(summary(matrix, {"old": before, "new": after}))

    assert 'fingerprint = "sft.*"' in problem.entry
    issues = load(tmp_path, problem.entry)
    assert problems(summary(matrix, {"old": before, "new": after}, issues)) == []


def test_a_comparison_needs_both_cells(tmp_path: Path) -> None:
    content = summary(matrix_of(tmp_path, "old", "mid", "new"), {"mid": record("mid"), "new": record("new")})

    assert view.tested_cells(content, compared=False) == {"mid", "new"}
    assert view.tested_cells(content, compared=True) == {"new"}


def test_behind_a_known_failure_a_cell_is_tested(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, "old")
    failed = record("old", **{"import": "'x'"})
    stages = tuple(
        replace(stage, outcome="not_run") if stage.name == "align" else stage for stage in failed.stages
    )
    records = {"old": replace(failed, stages=stages)}
    (problem,) = problems(summary(matrix, records))

    assert view.tested_cells(summary(matrix, records), compared=True) == set()
    issues = load(tmp_path, problem.entry)
    assert view.tested_cells(summary(matrix, records, issues), compared=True) == {"old"}
