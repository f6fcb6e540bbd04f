"""What scripts saved, across an upgrade: what the new stack loses is a finding, the way back is told."""

from __future__ import annotations

import pytest

from tunematrix.verdict import kept
from tunematrix.verdict.kept import Part
from tunematrix.verdict.reads import DIFFERS, FAILS, LOADS, UNTESTED, Outcome, Verdict

OK = Outcome(outcome=LOADS)


def part(old: str, new: str, kind: str = "adapter") -> Part:
    outcomes = {"old": Outcome(outcome=old, reason="why"), "new": Outcome(outcome=new, reason="because")}
    return Part(kind=kind, outcomes=outcomes)


@pytest.mark.parametrize(("outcome", "severity"), [(FAILS, "broken"), (DIFFERS, "wrong")])
def test_what_the_new_stack_does_not_read(outcome: str, severity: str) -> None:
    [found] = kept.find({"sft/adapter": part(LOADS, outcome)}, "old", "new", resumed=False)
    assert (found.severity, found.id) == (severity, f"kept-sft-adapter-{outcome}")
    assert found.evidence[0].after == "because"


@pytest.mark.parametrize(
    ("old", "new"), [(LOADS, LOADS), (LOADS, UNTESTED), (FAILS, FAILS), (UNTESTED, DIFFERS)]
)
def test_what_is_no_finding(old: str, new: str) -> None:
    parts = {"sft/adapter": part(old, new), "other": Part(kind="adapter", outcomes={"old": OK})}
    assert kept.find(parts, "old", "new", resumed=False) == ()


def test_a_checkpoint_that_the_script_resumed_is_told_by_the_script() -> None:
    parts = {"sft/checkpoint-1": part(LOADS, FAILS, "checkpoint")}
    assert kept.find(parts, "old", "new", resumed=True) == ()
    assert len(kept.find(parts, "old", "new", resumed=False)) == 1


def test_broken_comes_first() -> None:
    parts = {"a": part(LOADS, DIFFERS), "b": part(LOADS, FAILS)}
    severities = [each.severity for each in kept.find(parts, "old", "new", resumed=False)]
    assert severities == ["broken", "wrong"]


def test_the_way_back_is_told_and_decides_nothing() -> None:
    parts = {
        "a": part(LOADS, LOADS),
        "b": part(DIFFERS, LOADS),
        "c": part(FAILS, LOADS),
        "d": part(FAILS, FAILS),
        "e": part(UNTESTED, LOADS),
    }
    assert kept.rollback(parts, "new", "old") == {
        "same": ["a"],
        "differs": ["b"],
        "fails": ["c"],
        "unavailable": ["d", "e"],
    }
    found = kept.find_back(parts, "new", "old")
    assert [(each.id, each.severity) for each in found] == [
        ("kept-b-rollback", "info"),
        ("kept-c-rollback", "info"),
    ]
    assert found[1].title == "no way back for c: not read by the old stack: why"


def test_a_cell_that_read_nothing_says_why() -> None:
    untested = Outcome(outcome=UNTESTED, reason="cannot be installed")
    verdict = Verdict(parts={"old": {"": untested}, "new": {"adapter": OK}}, references={})
    assert kept.absent([verdict]) == {"old": "cannot be installed"}
