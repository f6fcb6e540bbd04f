"""Comparing a resumed run with an uninterrupted one: every difference is found and described."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunematrix.harness import checkpoint
from tunematrix.harness.checkpoint import compare_checkpoints, largest_difference, last_log_entry


class Tensor(np.ndarray[tuple[int], np.dtype[Any]]):
    """The part of torch's interface that the comparison uses."""

    def double(self) -> Tensor:
        return self.astype(np.float64).view(Tensor)

    def abs(self) -> Tensor:
        return np.abs(self).view(Tensor)

    def numel(self) -> int:
        return self.size


def tensor(*values: float) -> Tensor:
    return np.array(values, dtype=np.float32).view(Tensor)


def test_equal_values_have_no_difference() -> None:
    left = {"a": tensor(1, 2), "state": {0: [1, "x", None]}}
    right = {"a": tensor(1, 2), "state": {0: [1, "x", None]}}

    assert largest_difference(left, right, "weights") is None


def test_a_change_of_the_last_bit_is_a_difference() -> None:
    next_float = np.nextafter(np.float32(1), np.float32(2))

    difference = largest_difference({"a": tensor(1)}, {"a": tensor(next_float)}, "weights")

    assert difference is not None
    assert difference.startswith("weights.a: max difference 1.19e-07")


def test_the_largest_of_several_differences_is_described() -> None:
    left, right = {"a": tensor(1), "b": tensor(1)}, {"a": tensor(1.1), "b": tensor(2)}

    assert (largest_difference(left, right, "weights") or "").startswith("weights.b: max difference 1 ")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": tensor(1)}, {"b": tensor(1)}),
        ({"a": tensor(1)}, {"a": tensor(1, 2)}),
        ([1, 2], [1]),
        ({"loss": 1.0}, {"loss": None}),
        (["x"], ["y"]),
        ({"loss": float("nan")}, {"loss": 1.0}),
    ],
)
def test_different_shapes_names_and_types_are_differences(left: object, right: object) -> None:
    assert largest_difference(left, right, "log") is not None


def test_the_log_is_compared_without_run_times(tmp_path: Path) -> None:
    entry = {"step": 2, "loss": 1.5, "grad_norm": 0.1, "learning_rate": 0.0, "total_flos": 5}
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": 2, "log_history": [entry]}))

    assert last_log_entry(tmp_path) == {
        "global_step": 2,
        "step": 2,
        "loss": 1.5,
        "grad_norm": 0.1,
        "learning_rate": 0.0,
    }


@pytest.mark.parametrize("different", ["log", "weights", "optimizer", "scheduler"])
def test_a_difference_in_one_component_makes_the_runs_differ(
    monkeypatch: pytest.MonkeyPatch, different: str
) -> None:
    """As in the releases whose resumed DPO run has the right step count but another adapter."""

    def loader(component: str) -> Callable[[Path], Any]:
        return lambda folder: {"x": tensor(1 if folder.name == "whole" or component != different else 2)}

    monkeypatch.setattr(checkpoint, "last_log_entry", loader("log"))
    monkeypatch.setattr(checkpoint, "load_weights", loader("weights"))
    monkeypatch.setattr(checkpoint, "load_torch", lambda path: loader(path.stem)(path.parent))

    assert compare_checkpoints(Path("whole"), Path("whole")) == []
    differences = compare_checkpoints(Path("whole"), Path("resumed"))
    assert len(differences) == 1
    assert differences[0].startswith(f"{different}.x: max difference 1 ")
