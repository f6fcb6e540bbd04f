"""What is known to be broken in an environment: the ledger's conditions, and stages that no rung mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunematrix.locks import lock, table
from tunematrix.report.prediction import check_lines, github_lines
from tunematrix.verdict import ledger, releases
from tunematrix.verdict.releases import Rung
from tunematrix.verdict.standing import Problem, problems

ROOT = Path(__file__).parents[3]
# The cells of the matrix that the README's run shows as "known"; all others pass.
KNOWN = {
    "trl-0.9",
    "trl-0.9-today",
    "trl-0.12",
    "trl-0.19-transformers-5.0",
    "trl-0.29",
    "trl-0.26-transformers-ahead",
    "trl-1.0",
    "trl-0.26-trl-ahead",
    "trl-1.6",
    "trl-1.12",
    "trl-1.16",
    "latest-floor",
}
FAILED = "failed: AttributeError"


def rung(day: int, package: str, before: str, after: str, **stages: Any) -> Rung:
    return Rung(
        day=f"2026-01-{day:02}",
        package=package,
        before=before,
        after=after,
        stack={"trl": after, "peft": "0.2"},
        stages=stages,
    )


LADDER = (
    rung(1, "trl", "1.4", "1.5", finetune=("passed", FAILED), align=("passed", FAILED)),
    rung(2, "peft", "0.1", "0.2"),
    rung(3, "trl", "1.5", "1.6", finetune=(FAILED, "passed"), align=(FAILED, "passed")),
    rung(4, "trl", "1.6", "1.7", align=("passed", "failed: Mismatch")),
    rung(5, "transformers", "5.0", "5.1", align=("failed: Mismatch", "passed")),
)


def standing(**packages: str) -> list[tuple[str, str, tuple[str, ...], str]]:
    found = problems(packages, (), LADDER)
    return [(problem.id, problem.severity, problem.stages, problem.fix) for problem in found]


def test_a_stage_that_a_release_broke_is_told_with_the_pins_that_mend_it() -> None:
    fix = "trl>=1.6 or trl<=1.4"
    assert standing(trl="1.5") == [("trl-1.5", "broken", ("finetune", "align"), fix)]
    [problem] = problems({"trl": "1.5"}, (), LADDER)
    assert problem.cause == "trl 1.5 (2026-01-01) with peft 0.2: failed: AttributeError"


def test_what_another_release_mended_is_not_told() -> None:
    assert standing(trl="1.4") == []
    assert standing(trl="1.6") == []
    assert standing(trl="1.7") == [("trl-1.7", "wrong", ("align",), "transformers>=5.1 or trl<=1.6")]
    assert standing(trl="1.7", transformers="5.1") == []
    assert standing(peft="0.3", transformers="5.0") == []


def test_a_release_is_not_blamed_for_a_stage_that_failed_before() -> None:
    """As trl 1.15 and 1.16: one that kept a failing stage from running, and one that lets it fail again."""
    ladder = (
        rung(1, "trl", "1.4", "1.5", align=("failed: Mismatch", "not_run: NotRun")),
        rung(2, "trl", "1.5", "1.6", align=("not_run: NotRun", "failed: Mismatch")),
    )
    assert problems({"trl": "1.6"}, (), ladder) == []


def test_a_stage_that_is_kept_from_running_stays_broken() -> None:
    ladder = (
        rung(1, "trl", "1.4", "1.5", align=("passed", "failed: Mismatch")),
        rung(2, "trl", "1.5", "1.6", align=("failed: Mismatch", "not_run: NotRun")),
    )
    assert [problem.id for problem in problems({"trl": "1.6"}, (), ladder)] == ["trl-1.5"]


def test_what_the_ledger_tells_is_not_told_twice() -> None:
    issues = [issue for issue in ledger.shipped().issues if issue.id == "dpo-resume-loses-adapter"]
    broken = rung(5, "trl", "1.6", "1.7", **{"align-resume": ("passed", "failed: Mismatch")})
    [problem] = problems({"trl": "1.7", "transformers": "5.0"}, issues, (broken,))
    assert (problem.id, problem.severity) == ("dpo-resume-loses-adapter", "wrong")


def test_a_silent_fault_of_the_ledger_does_not_hide_a_crash_of_the_same_stage() -> None:
    issues = [issue for issue in ledger.shipped().issues if issue.id == "dpo-resume-loses-adapter"]
    broken = rung(5, "trl", "1.6", "1.7", **{"align-resume": ("passed", FAILED)})
    found = problems({"trl": "1.7", "transformers": "5.0"}, issues, (broken,))
    assert [problem.id for problem in found] == ["trl-1.7", "dpo-resume-loses-adapter"]


@pytest.mark.parametrize("cell", table.load(ROOT / "constraints").cells, ids=lambda cell: cell.name)
def test_the_known_cells_of_the_matrix_are_told_and_no_green_one(cell: table.Cell) -> None:
    packages = lock.read_versions(ROOT / "constraints" / f"{cell.name}.txt")
    found = problems(packages, ledger.shipped().issues, releases.load())
    assert bool(found) == (cell.name in KNOWN)


HOSTILE = Problem(
    id="x",
    severity="wrong",
    stages=("align",),
    cause="100%\n::set-output",
    fix="a,b",
    link="https://example.com",
)


def test_annotations_cannot_start_another_command() -> None:
    assert list(github_lines("a:b,c%\n.txt", [HOSTILE])) == [
        "::error file=a%3Ab%2Cc%25%0A.txt,title=wrong x::align: 100%25%0A::set-output; mend it: a,b"
    ]
    assert next(github_lines("", [HOSTILE])).startswith("::error title=wrong x::")


def test_people_get_a_count_the_cause_and_the_pins() -> None:
    lines = list(check_lines("ours", [HOSTILE]))
    assert lines[0] == "ours: 1 known problem"
    assert "             mend it: a,b" in lines
    assert list(check_lines("ours", [])) == ["ours: no known problems"]
