"""Records of a team's own scripts: their stages are compared as ours are, their numbers with their noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.verdict.test_answer import NOTHING
from tunematrix.base.record import Failure, Record, Result
from tunematrix.verdict import ledger
from tunematrix.verdict.answer import BEHAVIOUR_CHANGES, BREAKS, CANNOT_TELL, SAFE, judge
from tunematrix.verdict.diff import compare

NAMES = ("import", "train", "train-resume")
OBSERVED = {"train.loss": [1.0], "train.trainers": 1}


def ran(numbers: dict[str, Any] | None = None, trl: str = "1.0", **failed: Failure) -> Record:
    stages = tuple(
        Result(
            name=name,
            outcome="failed" if name.replace("-", "_") in failed else "passed",
            error=failed.get(name.replace("-", "_")),
        )
        for name in NAMES
    )
    return Record(
        cell="team",
        outcome="failed" if failed else "passed",
        stages=stages,
        probes=(Result(name="fingerprint:surface", outcome="passed"),),
        fingerprint=OBSERVED if numbers is None else numbers,
        environment={"packages": {"trl": trl}},
        options={"stages": " ".join(NAMES)},
    )


def test_the_stages_of_a_script_are_those_that_count() -> None:
    before, after = ran(), ran(trl="1.1")
    assert tuple(name for name in compare(before, after).stages if ":" not in name) == NAMES
    assert judge(before, after, NOTHING).answer == SAFE
    assert judge(before, None, NOTHING).answer == CANNOT_TELL
    broken = ran(trl="1.1", train=Failure(type="TypeError", message="no", where="train.py:7"))
    judgement = judge(before, broken, NOTHING)
    assert (judgement.answer, judgement.findings[0].title) == (
        BREAKS,
        "train fails: TypeError: no (train.py:7)",
    )


def test_a_script_that_trains_nothing_any_more_and_ends_with_0_is_not_safe() -> None:
    judgement = judge(ran(), ran({"train.trainers": 0}), NOTHING)
    assert judgement.answer == CANNOT_TELL
    assert judgement.untested == ("train: passed, but train has no numbers in team",)
    second = {**OBSERVED, "train.trainer_2.loss": [1.0]}
    assert judge(ran(second), ran(), NOTHING).untested == (
        "train: passed, but train.trainer_2 has no numbers in team",
    )


def test_a_script_in_which_nothing_was_observed_is_not_safe() -> None:
    judgement = judge(ran({}), ran({"train.trainers": 0, "train.noise": {}}), NOTHING)
    assert judgement.answer == CANNOT_TELL
    assert judgement.untested == ("train: nothing to compare: no Trainer trained or evaluated in it",)


def test_what_fails_in_both_says_both_reasons() -> None:
    before, after = (
        ran(train=Failure(type="TypeError", message=message, where="t.py:1")) for message in ("old", "new")
    )
    told = " ".join(judge(before, after, NOTHING).untested)
    assert "TypeError: old (t.py:1), now TypeError: new (t.py:1)" in told


def test_the_resumed_script_follows_the_script() -> None:
    before = ran({"train.loss": [2.0], "train-resume.loss": [2.0]})
    after = ran({"train.loss": [3.0], "train-resume.loss": [3.0]}, trl="1.1")
    judgement = judge(before, after, NOTHING)
    assert judgement.answer == BEHAVIOUR_CHANGES
    [finding] = judgement.findings
    assert finding.title == "train has a different loss on the same tokens: your script"
    assert set(finding.fields) == {"train.loss", "train-resume.loss"}


@pytest.mark.parametrize(
    ("noise", "after", "moved"),
    [
        ({}, [2.0, 1.5], True),
        ({"loss": 0.2}, [2.0, 1.5], False),
        ({"loss": 0.1}, [2.0, 1.5], True),
        ({"loss": None}, [2.0, 9.0], True),
        ({"grad_norm": 9.0}, [2.0, 1.5], True),
        ({"loss": 9.0}, [2.0], True),
    ],
)
def test_numbers_are_compared_with_the_noise_of_their_stage(
    noise: dict[str, float | None], after: list[float], moved: bool
) -> None:
    old = ran({"train.loss": [2.0, 1.0], "train-resume.loss": [2.0, 1.0], "train.noise": noise})
    new = ran({"train.loss": after, "train-resume.loss": after}, trl="1.1")
    names = {change.name for change in compare(old, new).changes}
    assert names == ({"train.loss", "train-resume.loss"} if moved else set())
    new = replace(new, fingerprint={**new.fingerprint, "train.noise": {"x": 1.0}})
    assert "train.noise" not in {change.name for change in compare(old, new).changes}


def test_a_known_issue_of_a_trainer_explains_the_stage_of_a_script_that_trains_with_it() -> None:
    packages = {"trl": "0.29.0", "transformers": "5.2.0", "peft": "0.18.0"}
    silent = Failure(type="Mismatch", message="the resumed run is not the uninterrupted one: x")
    failed = replace(
        ran({"train.trainer": "DPOTrainer"}, train_resume=silent), environment={"packages": packages}
    )
    issues = ledger.shipped().known_issues(failed)
    assert issues["train-resume"].id == "dpo-resume-loses-adapter"
    other = replace(failed, fingerprint={"train.trainer": "SFTTrainer"})
    assert ledger.shipped().known_issues(other) == {}
