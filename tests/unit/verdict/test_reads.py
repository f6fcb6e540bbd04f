"""What stacks that read one folder tell of it: the reference, and the worst part of each cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tunematrix.verdict.reads import DIFFERS, FAILS, LOADS, UNTESTED, Reading, judge

RELEASES = {"old": ("4.46.3", "0.13.2"), "middle": ("4.57.6", "0.18.1"), "new": ("5.23.0", "0.21.2")}
ERROR = {"type": "TypeError", "message": "unexpected\n  'x'", "where": "peft/config.py:1"}


def loads(*logits: float, **facts: Any) -> dict[str, Any]:
    return {"outcome": "loads", "facts": {"logits": list(logits or (1.0, -2.0)), **facts}}


def reading(
    cell: str, results: Mapping[str, Mapping[str, Any]] | None = None, *, reason: str = "", **more: Any
) -> Reading:
    transformers, peft = RELEASES[cell]
    return Reading(
        cell=cell,
        packages={"transformers": transformers, "peft": peft},
        results={**(results or {}), **more},
        reason=reason,
    )


def three(old: Any, middle: Any, new: Any) -> list[Reading]:
    return [reading("old", adapter=old), reading("middle", adapter=middle), reading("new", adapter=new)]


def outcomes(readings: list[Reading], **written: str) -> dict[str, str]:
    verdict = judge(readings, ["adapter"], written)
    return {each.cell: verdict.cell(each.cell).outcome for each in readings}


def test_all_load_and_rounding_is_no_difference() -> None:
    found = three(loads(1.0, -2.0), loads(1.0, -2.00001), loads(1.00001, -2.0))
    assert outcomes(found) == {"old": LOADS, "middle": LOADS, "new": LOADS}


@pytest.mark.parametrize("other", [loads(1.0, -2.1), loads(1.0, float("nan")), loads(1.0)])
def test_a_cell_that_answers_otherwise_is_told_with_how_far(other: dict[str, Any]) -> None:
    found = three(other, loads(), loads())
    verdict = judge(found, ["adapter"], {})
    assert {each.cell: verdict.cell(each.cell).outcome for each in found}["old"] == DIFFERS
    assert verdict.cell("old").reason.startswith("adapter: logits ")


def test_how_far() -> None:
    verdict = judge(three(loads(1.0, -1.0), loads(), loads()), ["adapter"], {})
    assert verdict.cell("old").reason == "adapter: logits off by 0.5 of their size"


def test_a_failure_has_its_cause() -> None:
    verdict = judge(three({"outcome": "fails", "error": ERROR}, loads(), loads()), ["adapter"], {})
    assert verdict.cell("old").reason == "adapter: TypeError: unexpected 'x'"
    assert verdict.cells(LOADS) == ["middle", "new"]
    hidden = {**ERROR, "cause": "AttributeError: no keys"}
    verdict = judge(three({"outcome": "fails", "error": hidden}, loads(), loads()), ["adapter"], {})
    assert verdict.cell("old").reason == "adapter: AttributeError: no keys"


def test_the_reference_is_the_newest_stack_that_is_not_newer_than_what_wrote_it() -> None:
    found = three(loads(1.0), loads(2.0), loads(3.0))
    assert judge(found, ["adapter"], {"transformers": "4.57.6"}).references == {"adapter": "middle"}
    assert judge(found, ["adapter"], {"transformers": "4.99.0"}).references == {"adapter": "middle"}
    assert judge(found, ["adapter"], {"peft": "0.13.2"}).references == {"adapter": "old"}
    assert judge(found, ["adapter"], {"transformers": "4.40.0"}).references == {"adapter": "old"}
    assert outcomes(found, transformers="5.23.0") == {"old": DIFFERS, "middle": DIFFERS, "new": LOADS}


def test_of_a_folder_without_versions_the_majority_is_right() -> None:
    found = three(loads(1.0), loads(2.0), loads(2.0))
    assert outcomes(found) == {"old": DIFFERS, "middle": LOADS, "new": LOADS}


def test_a_stack_that_fails_is_no_reference() -> None:
    found = three(loads(1.0), {"outcome": "fails", "error": ERROR}, loads(1.0))
    assert judge(found, ["adapter"], {"transformers": "4.57.6"}).references == {"adapter": "old"}
    assert outcomes(found, transformers="4.57.6") == {"old": LOADS, "middle": FAILS, "new": LOADS}


def test_nothing_loads() -> None:
    fails = {"outcome": "fails", "error": ERROR}
    verdict = judge(three(fails, fails, fails), ["adapter"], {})
    assert verdict.references == {}
    assert verdict.cells(FAILS) == ["old", "middle", "new"]


def test_what_a_checkpoint_restores_otherwise_than_its_files_say() -> None:
    told = {"name": "optimizer", "size": 0.25, "before": "1", "after": "2"}
    result = {"outcome": "loads", "facts": {"step": 1}, "difference": told}
    verdict = judge([reading("new", {"checkpoint-1": result})], ["checkpoint-1"], {})
    assert verdict.cell("new").outcome == DIFFERS
    assert (
        verdict.cell("new").reason == "checkpoint-1: optimizer not as in the files: off by 0.25 of its size"
    )
    told |= {"size": None}
    verdict = judge([reading("new", {"checkpoint-1": result})], ["checkpoint-1"], {})
    assert verdict.cell("new").reason.endswith("optimizer not as in the files: 1 -> 2")


def test_a_checkpoint_that_restores_otherwise_is_no_reference() -> None:
    told = {"name": "optimizer", "size": 0.25, "before": "1", "after": "2"}
    bad, good = loads(1.0) | {"difference": told}, loads(2.0)
    assert judge(three(good, bad, good), ["adapter"], {"transformers": "4.57.6"}).references == {
        "adapter": "old"
    }


def test_a_cell_that_took_no_part_and_a_part_that_nobody_can_try() -> None:
    absent = reading("old", reason="no environment")
    optimizer = {"type": "Unavailable", "message": "its optimizer is none of the Trainer's own"}
    untried = reading("new", adapter={"outcome": "unavailable", "error": optimizer})
    verdict = judge([absent, untried], ["adapter"], {})
    assert verdict.cells(UNTESTED) == ["old", "new"]
    assert verdict.cell("old").reason == "no environment"
    assert verdict.cell("new").reason == "adapter: its optimizer is none of the Trainer's own"


@pytest.mark.parametrize("error", [{"type": "TimeoutError"}, {"type": "SIGKILL"}, {"type": "MemoryError"}])
def test_what_the_machine_did_says_nothing_of_a_stack(error: dict[str, str]) -> None:
    failed = {"outcome": "fails", "error": {"message": "no", **error}}
    assert judge([reading("new", adapter=failed)], ["adapter"], {}).cell("new").outcome == UNTESTED


def test_a_part_that_was_not_reached_is_not_a_pass() -> None:
    assert judge([reading("new")], ["adapter"], {}).cell("new").outcome == UNTESTED


def test_the_worst_part_is_that_of_the_cell() -> None:
    found = reading("new", adapter=loads(), tokenizer={"outcome": "fails", "error": ERROR})
    verdict = judge([found], ["adapter", "tokenizer"], {})
    assert verdict.cell("new").reason.startswith("tokenizer: TypeError")
    assert verdict.parts["new"]["adapter"].outcome == LOADS


def test_texts_are_compared_as_they_are() -> None:
    readings = [reading("old", t={"outcome": "loads", "facts": {"ids": [[1]], "chat": "a"}})]
    readings += [reading("new", t={"outcome": "loads", "facts": {"ids": [[1]]}})]
    verdict = judge(readings, ["t"], {"transformers": "4.46.3"})
    assert verdict.cell("new").reason == "t: chat a -> None"
