"""Since when something is so, and what flaked: only runs that are evidence count, the newest row of them."""

from __future__ import annotations

from dataclasses import replace

from tunematrix.base.runs import Noted, Part, Run, Step
from tunematrix.verdict.past import Past, day, pasts, sightings

PASSED = Run(model="tiny", cell="a", started="", key="k", lock="l", outcome="passed", seconds=10.0)
WRONG = Noted(id="trl-9", severity="wrong", title="a title")
BROKEN = Noted(id="align", severity="broken", title="DPO fails")


def run(number: int, error: str = "", *, cell: str = "a", **changes: object) -> Run:
    """The run of day ``number``, in which align fails with ``error``."""
    parts = (Part(name="align", outcome="failed" if error else "passed", error=error),)
    made = replace(
        PASSED, cell=cell, started=at(number), outcome="failed" if error else "passed", parts=parts
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def at(number: int) -> str:
    return f"2026-01-{number:02}T10:00:00Z"


def past(*runs: Run, steps: tuple[Step, ...] = ()) -> Past:
    [found] = pasts(runs, steps, ["a"])
    return found


def step(number: int, *findings: Noted, before: str = "old") -> Step:
    return Step(run=run(number), before=run(number, cell=before), answer="BREAKS", findings=findings)


def test_the_outcome_is_so_since_the_first_run_of_the_last_row() -> None:
    found = past(run(1), run(2, "KeyError", key="2"), run(3, key="3"), run(4, key="3"))

    assert (found.outcome, found.since, found.in_a_row, found.runs) == ("passed", at(3), 2, 4)
    assert (found.first, found.last) == (at(1), at(4))
    assert found.failures == ()


def test_a_run_that_was_cut_off_neither_ends_a_row_nor_lengthens_it() -> None:
    cut_off = run(2, "SIGKILL", outcome="crashed", interruption="SIGKILL")
    found = past(run(1), cut_off, run(3), replace(cut_off, started=at(4)))

    assert (found.outcome, found.since, found.in_a_row, found.interrupted) == ("passed", at(1), 2, 2)
    assert found.flakes == ()
    assert found.seconds == (10.0, 10.0)
    alone = past(cut_off)
    assert (alone.outcome, alone.since, alone.seconds, alone.median) == ("crashed", at(2), (), 0.0)


def test_a_failure_is_there_since_it_fails_with_this_error() -> None:
    runs = [run(1, "KeyError"), run(2, key="2"), run(3, "KeyError"), run(4, "TypeError"), run(5, "TypeError")]
    [failure] = past(*runs).failures

    assert (failure.name, failure.title, failure.since, failure.runs) == (
        "align", "failed with TypeError", at(4), 2,
    )  # fmt: skip


def test_a_finding_is_there_since_the_first_step_of_the_last_row() -> None:
    steps = (step(1, WRONG), step(2), step(3, WRONG), step(4, WRONG, BROKEN))
    found = past(run(4), steps=steps)

    assert found.compared_with == "old"
    assert [(one.name, one.severity, one.since, one.runs) for one in found.findings] == [
        ("align", "broken", at(4), 1),
        ("trl-9", "wrong", at(3), 2),
    ]


def test_what_is_new_comes_first_and_of_one_day_the_worst() -> None:
    other = replace(WRONG, id="aaa", severity="training")
    found = past(run(3), run(4, "KeyError"), steps=(step(1, other), step(3, other, WRONG, BROKEN)))

    assert [one.name for one in found.standing] == ["align", "align", "trl-9", "aaa"]
    assert found.standing[0].severity == ""


def test_a_step_from_another_cell_says_nothing_of_this_one() -> None:
    found = past(run(4), steps=(step(1, WRONG), step(2, before="other"), step(3, WRONG)))

    assert [(one.since, one.runs) for one in found.findings] == [(at(1), 2)]


def test_two_outcomes_of_the_same_key_are_a_flake_and_of_two_keys_a_change() -> None:
    assert past(run(1), run(2, "KeyError", key="other")).flakes == ()
    assert past(run(1, key=""), run(2, "KeyError", key="")).flakes == (), "no key, no claim"
    [flake] = past(run(1), run(2, "KeyError"), run(3), run(4, key="other")).flakes

    assert (flake.name, flake.outcomes, flake.last) == ("align", {"passed": 2, "failed": 1}, at(2))
    assert flake.text == "align: passed 2, failed 1 times with nothing changed, last failed 2026-01-02"


def test_a_probe_that_a_run_does_not_list_passed_in_it() -> None:
    probe = Part(name="merge", outcome="crashed", error="SIGSEGV")
    [flake] = past(run(1), run(2, parts=(*run(2).parts, probe))).flakes

    assert (flake.name, flake.outcomes) == ("merge", {"passed": 1, "crashed": 1})


def test_a_part_that_did_not_run_is_no_outcome() -> None:
    skipped = run(2, parts=(Part(name="align", outcome="not_run"),))

    assert past(run(1, "KeyError"), skipped).flakes == ()


def test_what_passed_on_another_attempt_flaked() -> None:
    again = Part(name="align", outcome="passed", attempts=2)
    failed = Part(name="merge", outcome="failed", attempts=3, error="KeyError")
    flakes = past(run(1, parts=(again, failed)), run(2, parts=(again,), attempts=3), run(3)).flakes

    assert [flake.text for flake in flakes if not flake.outcomes] == [
        "align: passed on another attempt 2 times, last 2026-01-02",
        "the run: passed on another attempt once, last 2026-01-02",
    ]


def test_cells_come_in_the_order_of_the_matrix_then_those_that_are_not_in_it() -> None:
    runs = [run(1, cell=cell) for cell in ("z", "b", "gone", "a")]

    assert [each.cell for each in pasts(runs, [], ["a", "never", "b"])] == ["a", "b", "gone", "z"]


def test_the_time_is_the_median_and_the_last() -> None:
    found = past(run(1, seconds=10.0), run(2, seconds=50.0), run(3, seconds=20.0))

    assert (found.median, found.seconds[-1]) == (20.0, 20.0)


def test_a_finding_is_seen_since_and_until_in_each_cell() -> None:
    steps = [step(1, WRONG), step(2, WRONG), step(3), step(4)]
    other = [replace(step(number, WRONG), run=run(number, cell="b")) for number in (2, 3)]

    assert [
        (one.cell, one.compared_with, one.severity, one.since, one.until, one.runs)
        for one in sightings("trl-9", [*steps, *other], ["b", "a"])
    ] == [("b", "old", "wrong", at(2), "", 2), ("a", "old", "wrong", at(1), at(3), 2)]
    assert sightings("nope", steps, ["a"]) == []


def test_runs_with_other_options_have_a_past_of_their_own() -> None:
    def quick(number: int) -> Run:
        return run(number, "KeyError", seconds=1.0, options="depth quick")

    runs = [run(1, seconds=20.0), quick(2), run(3, seconds=20.0), quick(4)]
    full, other = pasts(runs, [], ["a"])

    assert (full.title, full.outcome, full.in_a_row, full.seconds) == ("a", "passed", 2, (20.0, 20.0))
    assert (other.title, other.in_a_row, other.seconds) == ("a (depth quick)", 2, (1.0, 1.0))
    assert full.flakes == other.flakes == ()


def test_a_step_with_other_options_does_not_end_a_finding() -> None:
    def quick(number: int) -> Step:
        other = replace(step(number), run=replace(run(number), options="depth quick"))
        return replace(other, before=replace(other.before, options="depth quick"))

    steps = [step(1, WRONG), quick(2), step(3, WRONG)]
    [found] = sightings("trl-9", steps, ["a"])

    assert (found.since, found.until, found.runs) == (at(1), "", 2)
    assert pasts([each.run for each in steps], steps, ["a"])[0].findings[0].runs == 2


def test_a_finding_that_came_back_is_seen_twice() -> None:
    steps = [step(1, WRONG), step(2), step(3, WRONG), step(4, WRONG)]

    assert [(one.since, one.until, one.runs) for one in sightings("trl-9", steps, ["a"])] == [
        (at(1), at(2), 1),
        (at(3), "", 2),
    ]


def test_a_run_without_a_time_has_an_unknown_day() -> None:
    assert day("") == "an unknown day"
    assert past(replace(run(1), started="")).since == ""
