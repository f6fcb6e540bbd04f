"""What is expected between two sets of packages: rungs between, those undone later, and the ladder's ends."""

from __future__ import annotations

from typing import Any

from tunematrix.report.prediction import explain_lines
from tunematrix.verdict.prediction import Prediction, predict
from tunematrix.verdict.releases import Rung


def rung(minor: int, severity: str = "training", **fields: Any) -> Rung:
    finding = {"id": f"f{minor}", "severity": severity, "title": f"title {minor}"}
    return Rung(
        day=f"2026-01-{minor:02}",
        package="trl",
        before=f"1.{minor - 1}",
        after=f"1.{minor}",
        **{"changes": {f"field{minor}": (1, 2)}, "findings": (finding,), **fields},
    )


LADDER = (rung(2), rung(3, "broken"), rung(4, "edit"), rung(5))


def titles(prediction: Prediction) -> list[str]:
    return [each.title for each in prediction.found]


def test_the_findings_of_the_rungs_between_come_worst_first_and_newest_first() -> None:
    found = predict({"trl": "1.1", "numpy": "1"}, {"trl": "1.5", "numpy": "2"}, LADDER)
    assert titles(found) == ["title 3", "title 5", "title 2", "title 4"]
    assert found.moved == {"trl": ("1.1", "1.5")}
    assert found.rungs == 4
    assert not found.beyond
    assert titles(predict({"trl": "1.3"}, {"trl": "1.4"}, LADDER)) == ["title 4"]
    assert titles(predict({"trl": "1.3"}, {"trl": "1.3"}, LADDER)) == []


def test_going_back_undoes() -> None:
    found = predict({"trl": "1.3"}, {"trl": "1.2"}, LADDER)
    assert [(each.title, each.undone) for each in found.found] == [("title 3", True)]
    assert any("undone, trl 1.3" in line for line in explain_lines(("a", "b"), found))


def test_what_a_later_release_undoes_is_left_out() -> None:
    ladder = (
        rung(2, changes={"loss": (1, 2)}),
        rung(3, changes={"loss": (2, 1)}),
        rung(4, changes={"other": (1, 2)}),
    )
    assert titles(predict({"trl": "1.1"}, {"trl": "1.4"}, ladder)) == ["title 4"]
    assert titles(predict({"trl": "1.1"}, {"trl": "1.2"}, ladder)) == ["title 2"]


def test_of_a_release_only_the_findings_that_are_undone_are_left_out() -> None:
    """trl 1.15.0 broke a stage that 1.16.0 mends, and changed numbers that stay."""
    broken = {"id": "a", "severity": "broken", "title": "fails", "fields": ["align", "loss"]}
    other = {"id": "b", "severity": "training", "title": "other tokens", "fields": ["ids"]}
    ladder = (
        rung(
            2,
            changes={"loss": (1, "<absent>"), "ids": ("a", "b")},
            stages={"align": ("passed", "failed: E")},
            findings=(broken, other),
        ),
        rung(3, changes={"loss": ("<absent>", 3)}, stages={"align": ("failed: E", "passed")}, findings=()),
    )
    assert titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder)) == ["other tokens"]
    [first, _] = predict({"trl": "1.1"}, {"trl": "1.2"}, ladder).found
    assert (first.title, first.fields) == ("fails", ("align",))


def test_what_came_and_went_between_is_nobodys_loss() -> None:
    ladder = (
        rung(2, changes={"trl.helper": ("<absent>", "present")}, findings=()),
        rung(3, "edit", changes={"trl.helper": ("present", "<absent>")}),
    )
    assert titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder)) == []
    assert titles(predict({"trl": "1.2"}, {"trl": "1.3"}, ladder)) == ["title 3"]


def test_what_the_older_stack_does_not_have_cannot_change_for_it() -> None:
    default, error = {"severity": "default", "title": "other"}, {"severity": "broken", "title": "raises"}
    ladder = (
        rung(2, changes={"GRPOConfig.top_k": ("<absent>", 50)}, findings=()),
        rung(3, changes={"GRPOConfig.top_k": (50, 0)}, findings=({"id": "a", **default},)),
        rung(4, changes={"grpo.error": ("<absent>", "KeyError")}, findings=({"id": "b", **error},)),
        rung(5, changes={"grpo.error": ("KeyError", "TypeError")}, findings=({"id": "c", **error},)),
    )
    assert titles(predict({"trl": "1.2"}, {"trl": "1.3"}, ladder)) == ["other"]
    assert titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder)) == []
    assert titles(predict({"trl": "1.1"}, {"trl": "1.4"}, ladder)) == ["raises"]


def test_a_wrong_state_is_over_when_a_later_release_changes_it() -> None:
    ladder = (
        rung(2, "wrong", changes={"ratio": (2.05, 4.0)}),
        rung(3, changes={"ratio": (4.0, 1.0)}),
    )
    assert titles(predict({"trl": "1.1"}, {"trl": "1.2"}, ladder)) == ["title 2"]
    assert titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder)) == ["title 3"]


def test_a_number_missing_while_a_measure_fails_is_no_failure_that_lasts() -> None:
    finding = {"id": "a", "severity": "broken", "title": "raises", "fields": ["dpo.error", "dpo.loss"]}
    ladder = (
        rung(2, changes={"dpo.error": ("<absent>", "E"), "dpo.loss": (1, "<absent>")}, findings=(finding,)),
        rung(3, changes={"dpo.error": ("E", "<absent>"), "dpo.loss": ("<absent>", 3)}, findings=()),
    )
    assert titles(predict({"trl": "1.1"}, {"trl": "1.2"}, ladder)) == ["raises"]
    assert titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder)) == []


def test_moves_in_opposite_directions_add_up() -> None:
    """What trl brings and what going back with peft brings are the same change, twice."""
    back = Rung(day="2026-01-09", package="peft", before="0.1", after="0.2", changes={"loss": (2, 1)})
    ladder = (rung(2, changes={"loss": (1, 2)}), back)
    there = {"trl": "1.1", "peft": "0.2"}, {"trl": "1.2", "peft": "0.1"}
    assert titles(predict(*there, ladder)) == ["title 2"]
    assert titles(predict({"trl": "1.1", "peft": "0.1"}, {"trl": "1.2", "peft": "0.2"}, ladder)) == []


def test_a_stage_that_broke_has_no_field_and_stays() -> None:
    ladder = (rung(2, "broken", changes={}, stages={"align": ("passed", "failed")}),)
    assert titles(predict({"trl": "1.1"}, {"trl": "1.2"}, ladder)) == ["title 2"]


def test_moves_beyond_the_ladder_are_told() -> None:
    assert predict({"trl": "0.9"}, {"trl": "1.3"}, LADDER).beyond == {"trl": "before 1.1"}
    assert predict({"trl": "1.2"}, {"trl": "1.9"}, LADDER).beyond == {"trl": "after 1.5"}
    found = predict({"trl": "1.9"}, {"trl": "0.9"}, LADDER)
    assert found.beyond == {"trl": "before 1.1 and after 1.5"}
    assert "not known    releases of trl before 1.1 and after 1.5: not on the ladder" in list(
        explain_lines(("a", "b"), found)
    )


def test_one_screen_counts_edits_and_all_shows_them() -> None:
    found = predict({"trl": "1.1"}, {"trl": "1.5"}, LADDER)
    short = list(explain_lines(("a", "b"), found))
    assert short[0] == "a -> b: 4 releases of the ladder between them"
    assert "broken       trl 1.3 (2026-01-03): title 3" in short
    assert "edits        names and options gone or refused in trl 1.4" in short
    everything = list(explain_lines(("a", "b"), found, everything=True))
    assert "edits        trl 1.4 (2026-01-04): title 4" in everything


def test_of_one_release_the_first_two_findings_are_shown() -> None:
    findings = tuple({"id": f"f{n}", "severity": "broken", "title": f"title {n}"} for n in range(5))
    found = predict({"trl": "1.1"}, {"trl": "1.2"}, (rung(2, findings=findings),))
    lines = list(explain_lines(("a", "b"), found))
    assert "             trl 1.2 (2026-01-02): title 1" in lines
    assert not any("title 2" in line for line in lines)
    assert "             and 3 more of these releases, which mostly follow" in lines
    assert any("title 4" in line for line in explain_lines(("a", "b"), found, everything=True))


def test_what_was_not_there_is_told() -> None:
    found = predict({}, {"trl": "1.3"}, LADDER)
    assert "moves        trl (none) -> 1.3" in list(explain_lines(("a", "b"), found))


def test_packages_that_are_not_on_the_ladder_are_told() -> None:
    more = {"torch": "2", "a": "2", "b": "2", "c": "2", "trl": "1.2"}
    found = predict({**dict.fromkeys(more, "1"), "trl": "1.2"}, more, LADDER)
    lines = list(explain_lines(("a", "b"), found))
    told = "torch 1 -> 2, a 1 -> 2, b 1 -> 2 and 1 more: not on the ladder"
    assert f"not known    {told}" in lines
    assert not any("nothing above info" in line for line in lines)
    assert "numpy 1 -> 2" not in explain_lines(("a", "b"), predict({"trl": "1.1"}, {"trl": "1.2"}, LADDER))


def test_odd_versions_explain_nothing() -> None:
    assert predict({"trl": "weird"}, {"trl": "1.3"}, LADDER).rungs == 0
    found = predict({}, {"trl": "1.3"}, LADDER)
    assert (found.rungs, found.beyond) == (0, {"trl": "without a version on both sides"})
    assert predict({"trl": "1.1"}, {"trl": "1.3"}, ()).moved == {}
