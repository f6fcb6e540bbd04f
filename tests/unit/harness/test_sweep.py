"""The sweep's bookkeeping: shared processes, leaks, crashes, circumstances; with runs that need no stack."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tunematrix.harness.isolate import CAN_FORK
from tunematrix.harness.measures.sweep import domains, runs
from tunematrix.harness.measures.sweep.effects import Observation

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="the sweep forks")
LEFT_ON = "TUNEMATRIX_TEST_LEFT_ON"


def observation(loss: float) -> Observation:
    return Observation(
        numbers={"loss": loss},
        learning_rates=[],
        facts={},
        batch={},
        content="",
        logged=[],
        files=[],
        start=np.zeros(1),
        end=np.ones(1),
    )


@dataclass
class Bench:
    """Runs whose loss is 1, twice as much with ``double``, and 3 for all later ones once ``leak`` was on."""

    rows: str = "text"
    seen: list[Mapping[str, Any]] = field(default_factory=list)
    hidden: bool = False

    def observe(self, options: Mapping[str, Any], _: str) -> Observation:
        if options.get("crash"):
            os._exit(9)
        if options.get("hang"):
            time.sleep(60)
        if options.get("full_disk"):
            raise OSError(errno.ENOSPC, "No space left on device")
        if options.get("exits"):
            raise SystemExit(1)
        if options.get("refused"):
            raise ValueError
        if options.get("absent"):
            raise ModuleNotFoundError(name="bitsandbytes")
        if options.get("renamed"):
            raise ImportError("cannot import name 'x' from 'transformers'")
        if options.get("leak"):
            os.environ[LEFT_ON] = "1"
        if options.get("quiet_leak"):
            self.hidden = True
        loss = 3.0 if self.hidden or LEFT_ON in os.environ else 1.0
        return observation(loss * (2 if options.get("double") else 1) * (5 if options.get("beside") else 1))


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_state", lambda: dict(os.environ))


def run(*options: str, **beside: Any) -> tuple[dict[str, Any], list[str]]:
    trials = [runs.Trial(option=name, value=True, beside=beside, rows="text") for name in options]
    bench: Any = Bench()
    found, leaking = runs._run(bench, trials)
    return {name: effect for (name, _), effect in found.items()}, leaking


def test_each_trial_is_compared_with_the_base_run() -> None:
    assert run("nothing", "double") == ({"nothing": "no effect", "double": {"loss": 1.0}}, [])


def test_what_a_trial_needs_beside_it_is_in_its_base_run_too() -> None:
    assert run("double", beside=True) == ({"double": {"loss": 1.0}}, [])


@pytest.mark.parametrize("leak", ["leak", "quiet_leak"])
def test_a_leak_is_found_and_does_not_reach_other_trials(leak: str) -> None:
    found, leaking = run("double", leak, "nothing")
    assert leaking == [f"{leak}=True"]
    assert found == {"double": {"loss": 1.0}, leak: {"loss": 2.0}, "nothing": "no effect"}


def test_a_crash_is_the_result_of_its_trial_alone() -> None:
    found, leaking = run("double", "crash", "nothing")
    assert leaking == []
    assert found == {"double": {"loss": 1.0}, "crash": "raises exit_code_9", "nothing": "no effect"}


def test_a_hang_ends_its_trial_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BLOCK_SECONDS", 1.0)
    monkeypatch.setattr(runs, "TRIAL_SECONDS", 0.5)
    found, _ = run("double", "hang", "nothing")
    assert found == {"double": {"loss": 1.0}, "hang": "raises TimeoutError", "nothing": "no effect"}


def test_what_the_machine_did_is_no_result() -> None:
    found, _ = run("full_disk", "exits")
    assert found == {"full_disk": "not tried: the machine ended it", "exits": "raises SystemExit"}


def test_an_error_of_the_option_differs_from_a_package_that_is_not_here() -> None:
    found, _ = run("refused", "absent", "renamed")
    assert found == {
        "refused": "raises ValueError",
        "absent": "not tried: needs a package that is not here",
        "renamed": "raises ImportError",
    }


def test_an_option_whose_circumstances_fail_is_not_tried() -> None:
    assert run("double", refused=True)[0] == {
        "double": "not tried: beside {'refused': True}, raises ValueError"
    }


def test_more_trials_than_a_process_takes() -> None:
    names = [f"option_{number}" for number in range(runs.BLOCK + 3)]
    found, _ = run(*names)
    assert found == dict.fromkeys(names, "no effect")


def test_circumstances_come_from_words_and_from_the_table() -> None:
    [trial] = runs._trials(domains.Option(name="eval_steps", values=(1,)), ("text",))
    assert (trial.beside, trial.rows) == ({"evaluated": True, "eval_strategy": "steps"}, "text")


def test_an_option_is_tried_on_the_kinds_of_rows_that_it_concerns() -> None:
    option = domains.Option(name="packing", values=(True,))
    keys = [trial.key for trial in runs._trials(option, ("text", "prompts", "tokenized"))]
    assert keys == [("packing", "True"), ("packing", "True on prompts")]
    [trial] = runs._trials(option, ("pairs",))
    assert (trial.key, trial.rows) == (("packing", "True"), "pairs")
