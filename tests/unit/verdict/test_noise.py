"""What two runs of one script disagree in excuses a difference of the same kind, and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.verdict.test_answer import NOTHING
from tests.unit.verdict.test_scripts import ran
from tunematrix.base.record import Failure, Result
from tunematrix.verdict.answer import CANNOT_TELL, SAFE, judge
from tunematrix.verdict.noise import is_noise


@pytest.mark.parametrize(
    ("noise", "old", "new", "excused"),
    [
        (0.1, [1.0], [1.3], True),
        (0.1, [1.0], [1.4], False),
        (None, ["a", "b"], ["b", "a"], True),
        (None, ["a", "b"], ["a"], False),
        (None, ["a"], [9.0], False),
        (None, [2.0, 1.0], [2.0, 9.0], False),
        (9.0, [1.0], [1.0, 1.0], False),
    ],
)
def test_noise_excuses_only_what_it_measured(noise: float | None, old: Any, new: Any, excused: bool) -> None:
    assert is_noise("train.x", old, new, [{"train.noise": {"x": noise}}, {}]) is excused
    assert is_noise("train-resume.x", old, new, [{"train.noise": {"x": noise}}, {}]) is excused
    assert not is_noise("train.x", old, new, [{}, {}])


def test_a_second_run_that_does_something_else_is_never_equal() -> None:
    error = Failure(type="Skipped", message="other results altogether: loss", where="")
    again = Result(name="train:again", outcome="skipped", error=error)
    before, after = (replace(record, probes=(*record.probes, again)) for record in (ran(), ran(trl="1.1")))
    judgement = judge(before, after, NOTHING)
    assert judgement.answer == CANNOT_TELL
    assert "other results altogether: loss" in judgement.untested[0]
    assert judge(ran(), ran(trl="1.1"), NOTHING).answer == SAFE
