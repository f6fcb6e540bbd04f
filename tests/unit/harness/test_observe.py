"""What a trainer does, from the events that it sends to its callbacks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunematrix.harness import observe
from tunematrix.harness.observe import Observation


def state(*losses: float, step: int = 0) -> Any:
    return SimpleNamespace(global_step=step, log_history=[{"loss": loss} for loss in losses])


def test_a_training_is_recorded_with_the_steps_that_it_trained() -> None:
    numbers: dict[str, Any] = {}
    observation = Observation(numbers, "", "SFTTrainer")
    now = state(2.0, step=1)  # it goes on after the first step
    observation.train_begin(now, None)
    assert numbers == {"trainers": 1, "trainings_started": 1}, "nothing to compare yet"
    now.global_step = 3
    now.log_history.append({"loss": 1.0})
    observation.batches += [str(number) for number in range(100)]
    observation.train_end(now, None)
    assert (numbers["trainer"], numbers["loss"]) == ("SFTTrainer", [2.0, 1.0])
    assert (numbers["began_at"], numbers["steps"], numbers["steps_trained"]) == (1, 3, 2)
    assert numbers["trainings_ended"] == 1
    assert (numbers["batch_count"], numbers["batches"][-1], numbers["last_batches"][-1]) == (100, "63", "99")


def test_evaluations_before_and_after_a_training_are_recorded() -> None:
    numbers: dict[str, Any] = {}
    observation = Observation(numbers, "", "Trainer")
    before, training = state(), state(step=2)
    before.log_history.append({"eval_loss": 3.0})
    observation.evaluated(before)
    assert (numbers["eval_loss"], numbers["trainers"], "trainings_started" in numbers) == ([3.0], 1, False)
    observation.train_begin(training, None)
    observation.train_end(training, None)
    training.log_history.append({"eval_loss": 2.0})
    observation.logged(training)
    observation.evaluated(training)
    observation.predicted(training, {"test_loss": 1.5, "test_runtime": 9.0})
    assert (numbers["eval_loss"], numbers["test_loss"], numbers["trainers"]) == ([3.0, 2.0], [1.5], 1)
    again = state(0.5, step=1)
    observation.train_begin(again, None)
    observation.train_end(again, None)
    assert (numbers["eval_loss"], numbers["loss"], numbers["trainings_ended"]) == ([3.0, 2.0], [0.5], 2)


def test_a_training_that_ends_by_an_error_is_one_that_started() -> None:
    numbers: dict[str, Any] = {}
    Observation(numbers, "", "Trainer").train_begin(state(), None)
    assert observe.merged([numbers])["trainings_ended"] == 0
    assert observe.merged([numbers])["trainings_started"] == 1


def test_counts_of_several_processes_are_added_and_are_always_there() -> None:
    assert observe.merged([{}]) == {"trainers": 0, "trainings_started": 0, "trainings_ended": 0}
    parts: list[dict[str, Any]] = [{"trainers": 1, "loss": [1.0]}, {"trainers": 2, "trainings_ended": 1}]
    assert observe.merged(parts) == {
        "trainers": 3, "trainings_started": 0, "trainings_ended": 1, "loss": [1.0],
    }  # fmt: skip


def test_a_process_writes_what_it_saw_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be killed, or end by ``os._exit``."""
    (tmp_path / "trainer_module.py").write_text("X = 1\n")
    (tmp_path / "arguments_module.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(observe, "TRAINER", "trainer_module")
    monkeypatch.setattr(observe, "ARGUMENTS", "arguments_module")
    done: list[str] = []
    monkeypatch.setattr(observe, "use_cpu", lambda: done.append("cpu"))
    monkeypatch.setattr(observe, "seed", lambda: done.append("seed"))
    monkeypatch.setattr(
        observe,
        "install",
        lambda numbers, changed: Observation(numbers, "", "T", changed).train_begin(state(), None),
    )
    observe.install_when_imported(tmp_path)
    __import__("arguments_module")
    assert done == ["cpu"], "a script may make its arguments before it imports a trainer"
    __import__("trainer_module")
    assert done == ["cpu", "seed"]
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text()) == {"trainers": 1, "trainings_started": 1}


def test_a_log_becomes_a_series_for_each_key() -> None:
    history: list[dict[str, object]] = [
        {"loss": 2.0, "epoch": 0.1, "step": 1, "rewards/chosen": 1},
        {"loss": 1.0, "epoch": 0.2, "step": 2, "rewards/chosen": 2},
        {
            "train_runtime": 3.0,
            "train_loss": 1.5,
            "train_steps_per_second": 4,
            "total_flos": 5.0,
            "note": "x",
        },
    ]
    assert observe.series(history) == {"loss": [2.0, 1.0], "rewards_chosen": [1, 2], "train_loss": [1.5]}
