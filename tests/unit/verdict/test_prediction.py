"""What is expected between two sets of packages: rungs between, those undone later, and the ladder's ends."""

from __future__ import annotations

from typing import Any

import pytest

from tunematrix.report.expected import explain_lines
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
    lines = explain_lines(("a", "b"), found)
    assert lines[0] == "expected BEHAVIOUR CHANGES: a -> b", "what broke works again"
    assert "training     trl 1.3: undone: title 3" in lines


def test_going_back_over_a_release_that_mended_a_stage_breaks_it() -> None:
    ladder = (rung(2, stages={"align": ("failed: E", "passed")}, changes={}),)
    found = predict({"trl": "1.2"}, {"trl": "1.1"}, ladder)
    assert explain_lines(("a", "b"), found)[0] == "expected BREAKS: a -> b"
    assert "broken       trl 1.2: undone: title 2" in explain_lines(("a", "b"), found)


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


def test_a_state_stays_where_only_its_error_is_another() -> None:
    ladder = (
        rung(2, "broken", changes={"mixtral.error": ("<absent>", "ValueError")}),
        rung(3, changes={"mixtral.error": ("ValueError", "KeyError")}),
    )
    assert titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder))[0] == "title 2"


def test_of_other_numbers_an_error_that_moved_too_does_not_decide() -> None:
    """It failed before as well, so a run of the whole move tells only the number."""
    finding = {"id": "a", "severity": "training", "title": "other", "fields": ["a.error", "a.loss"]}
    changes = {"a.error": ("E", "F"), "a.loss": (1, 2)}
    [found] = predict({"trl": "1.1"}, {"trl": "1.2"}, (rung(2, changes=changes, findings=(finding,)),)).found
    assert found.fields == ("a.loss",)


def test_a_call_that_raises_is_over_when_it_returns_again() -> None:
    ladder = (
        rung(2, "edit", changes={"call.train": ("#a", {"raises": "KeyError"})}),
        rung(3, changes={"call.train": ({"raises": "KeyError"}, "#b")}, findings=()),
    )
    assert titles(predict({"trl": "1.1"}, {"trl": "1.2"}, ladder)) == ["title 2"]
    assert titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder)) == []


@pytest.mark.parametrize("came", ["trl.KTOConfig", "TrainingArguments.shuffle"])
def test_a_default_that_comes_with_its_class_or_base_does_not_change(came: str) -> None:
    ladder = (
        rung(2, changes={came: ("<absent>", "present")}, findings=()),
        rung(3, "default", changes={"KTOConfig.shuffle": (1, 2)}),
    )
    assert titles(predict({"trl": "1.2"}, {"trl": "1.3"}, ladder)) == ["title 3"]
    assert titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder)) == []


def test_effects_are_not_expected_to_move_where_the_base_run_does() -> None:
    """An effect is relative to the base run; over the whole move, that sees another batch."""
    option, content = "x.sweep.DPOConfig.alpha", "x.sweep.DPOConfig.base.content"
    effect = {"0.1": {"loss": 0.3}}, {"0.1": {"loss": 0.2}}
    refused = effect[0], {"0.1": "raises ValueError"}
    other = {"0.1 on chats": {"loss": 0.3}}, {"0.1 on chats": {"loss": 0.2}}

    def expected(pair: tuple[Any, Any], severity: str = "training") -> list[str]:
        ladder = (
            rung(2, changes={content: ("a", "b")}, findings=()),
            rung(3, severity, changes={option: pair}),
        )
        assert titles(predict({"trl": "1.2"}, {"trl": "1.3"}, ladder)) == ["title 3"]
        return titles(predict({"trl": "1.1"}, {"trl": "1.3"}, ladder))

    assert expected(effect) == []
    assert expected(({"0.1": {"loss": 0.3}}, {"0.2": {"loss": 0.2}})) == []
    assert expected(refused, "edit") == ["title 3"]
    assert expected(other) == ["title 3"], "relative to another base run"
    assert expected(("#a", "#b")) == ["title 3"], "nobody can tell"


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
    assert "not known    releases of trl before 1.1 and after 1.5: not measured" in explain_lines(
        ("a", "b"), found
    )


def test_the_answer_comes_first_and_then_what_it_rests_on() -> None:
    found = predict({"trl": "1.1"}, {"trl": "1.5"}, LADDER)
    assert explain_lines(("a", "b"), found, upgrade="b --baseline a") == [
        "expected BREAKS: a -> b",
        "             1 broken, 2 train otherwise, 1 edit; from what 4 releases did; nothing was run",
        "broken       trl 1.3: title 3",
        "training     trl 1.5: title 5",
        "             trl 1.2: title 2",
        "edits        trl 1.4: title 4",
        "moves        trl 1.1 -> 1.5",
        "your code    which lines to edit: tunematrix scan --to trl==1.5",
        "next         run it: tunematrix upgrade b --baseline a",
        "details      --all shows every finding and what to do about it",
    ]


def finding(number: int, severity: str, **more: Any) -> dict[str, Any]:
    return {"id": f"f{number}", "severity": severity, "title": f"title {number}", **more}


def test_however_much_changes_it_is_one_screen_with_some_of_each_severity() -> None:
    severities = ("broken", "wrong", "training", "default", "edit")
    findings = tuple(
        finding(number, severity, title=f"{severity} {number} {'long ' * 40}")
        for severity in severities
        for number in range(50)
    )
    found = predict({"trl": "1.1"}, {"trl": "1.2"}, (rung(2, findings=findings),))
    lines = explain_lines(("a", "b"), found, upgrade="b")
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    for severity in severities:
        assert any(f"{severity} 0 " in line for line in lines)
        assert any(f"{severity} 1 " in line for line in lines)
    assert sum("more; --all shows them" in line for line in lines) == 5
    crowded = explain_lines(("a", "b"), found, upgrade="b", listed=[f"line {number}" for number in range(20)])
    assert len(crowded) <= 40
    assert sum("more; --all shows them" in line for line in crowded) == 5
    everything = explain_lines(("a", "b"), found, everything=True)
    assert all(any(f"edit {number} " in line for line in everything) for number in range(50))


def test_what_has_an_advice_or_a_wide_effect_comes_first_of_its_severity() -> None:
    changes = dict.fromkeys(("one", "two", "three"), (1, 2))
    findings = (
        finding(1, "wrong", fields=["one"]),
        finding(2, "wrong", fields=list(changes)),
        finding(3, "wrong", fields=["one"], action="do this"),
    )
    found = predict({"trl": "1.1"}, {"trl": "1.2"}, (rung(2, findings=findings, changes=changes),))
    lines = explain_lines(("a", "b"), found)
    assert [line[-7:] for line in lines if "title" in line] == ["title 3", "title 2", "title 1"]
    assert "             do this" in lines


def test_edits_of_several_releases_are_added_up_by_kind() -> None:
    first = (
        finding(1, "edit", title="1 name gone: trl.A -> trl.x.A"),
        finding(2, "edit", title="1 call to edit: f(x)"),
    )
    second = (
        finding(3, "edit", title="4 names gone: trl.B, trl.C and 2 more"),
        finding(4, "edit", title="other"),
    )
    ladder = (rung(2, findings=first), rung(3, findings=second))
    lines = explain_lines(("a", "b"), predict({"trl": "1.1"}, {"trl": "1.3"}, ladder))
    assert lines[0] == "expected SAFE WITH EDITS: a -> b"
    assert "             7 edits; from what 2 releases did; nothing was run" in lines
    assert "edits        1 call to edit: f(x)" in lines
    assert "             5 names gone: trl.B, trl.C, trl.A -> trl.x.A" in lines
    assert "             trl 1.3: other" in lines


def test_nobody_calls_safe_what_is_not_known() -> None:
    quiet = (rung(2, findings=(), changes={}),)
    there = {"trl": "1.1", "torch": "1"}

    def answer(**new: str) -> str:
        return explain_lines(("a", "b"), predict(there, {**there, **new}, quiet))[0]

    assert answer(trl="1.2") == "expected SAFE: a -> b"
    assert answer(trl="1.2", numpy="2") == "expected SAFE: a -> b"
    assert answer(trl="1.2", torch="2") == "expected CANNOT TELL: a -> b"
    assert answer(trl="1.3") == "expected CANNOT TELL: a -> b"
    assert answer(numpy="2") == "expected CANNOT TELL: a -> b"
    assert answer() == "NOTHING TO TEST: no package moves from a to b"


def test_what_was_not_there_is_told() -> None:
    found = predict({}, {"trl": "1.3"}, LADDER)
    assert "moves        trl (none) -> 1.3" in list(explain_lines(("a", "b"), found))


def test_packages_that_are_not_on_the_ladder_are_told() -> None:
    more = {"torch": "2", "a": "2", "b": "2", "c": "2", "trl": "1.2"}
    found = predict({**dict.fromkeys(more, "1"), "trl": "1.2"}, more, LADDER)
    lines = list(explain_lines(("a", "b"), found))
    told = "torch 1 -> 2, a 1 -> 2, b 1 -> 2 and 1 more: not measured"
    assert f"not known    {told}" in lines
    assert "numpy 1 -> 2" not in explain_lines(("a", "b"), predict({"trl": "1.1"}, {"trl": "1.2"}, LADDER))


def test_odd_versions_explain_nothing() -> None:
    assert predict({"trl": "weird"}, {"trl": "1.3"}, LADDER).rungs == 0
    found = predict({}, {"trl": "1.3"}, LADDER)
    assert (found.rungs, found.beyond) == (0, {"trl": "without a version on both sides"})
    assert predict({"trl": "1.1"}, {"trl": "1.3"}, ()).moved == {}
