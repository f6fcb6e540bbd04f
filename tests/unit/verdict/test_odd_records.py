"""Records that have the right shape and still nothing that a reader expects; found by tests/fuzz."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.versions import parse_version
from tunematrix.verdict import diff, tolerances
from tunematrix.verdict.causes import KnownChange
from tunematrix.verdict.ledger import Issue, Ledger
from tunematrix.verdict.outcomes import stage_verdict


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0", Version("1.0")),
        ("2.13.0+cpu", Version("2.13.0+cpu")),
        ("weird", None),
        ("", None),
        (None, None),
    ],
)
def test_a_version_that_is_none_compares_with_nothing(text: str | None, expected: Version | None) -> None:
    assert parse_version(text) == expected


@pytest.mark.parametrize("versions", [("weird", "1.0"), ("1.0", "weird"), ("weird", "odd"), ("1.0", None)])
def test_a_weird_version_has_no_known_cause(versions: tuple[str | None, str | None]) -> None:
    change = KnownChange(id="x", fields=("*",), package="trl", since=Version("0.5"), cause="c")

    assert not change.lies_in(diff.Diff(verdict="changed", packages={"trl": versions}))


def test_a_weird_version_meets_no_condition_of_the_ledger() -> None:
    issue = Issue(
        id="x",
        when=(Requirement("trl>=0"),),
        cause="c",
        fix="f",
        expires=datetime.date(2999, 1, 1),
        stages=("align",),
    )
    error = Failure(type="TypeError", message="x")
    stages = (Result(name="align", outcome="failed", error=error),)
    record = Record(cell="a", outcome="failed", environment={"packages": {"trl": "weird"}}, stages=stages)

    assert Ledger(path=Path("x"), issues=(issue,)).known_issues(record) == {}


@pytest.mark.parametrize("value", ["x", None, [1.0], {"a": 1}, True])
@pytest.mark.parametrize("name", ["x.ratio_y", "x.y_difference", "x.loss", "x.rewards_y"])
def test_a_number_that_is_none_can_be_compared(name: str, value: Any) -> None:
    for before, after in ((value, 1.0), (1.0, value), (value, value)):
        assert tolerances.corrected(name, before, after) in (True, False)
        assert tolerances.close(before, after, name) == (before is after or before == after)


@pytest.mark.parametrize("outcome", ["crashed", "timed_out", "failed"])
def test_what_the_machine_ended_is_unknown_and_no_regression(outcome: str) -> None:
    passed = Result(name="align", outcome="passed")
    killed = Result(name="align", outcome=outcome, error=Failure(type="SIGKILL", message="killed"))

    assert stage_verdict(passed, killed) == "unknown"
    assert stage_verdict(killed, passed) == "unknown"
