"""The comparison of a resumed run with an uninterrupted one can fail, and says by what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunematrix.harness import checkpoint
from tunematrix.harness.checkpoint import differences, first_difference, last_step


class Tensor(np.ndarray[tuple[int], np.dtype[Any]]):
    """Just what the comparison uses of torch's."""

    def double(self) -> Tensor:
        return self.astype(np.float64).view(Tensor)

    def abs(self) -> Tensor:
        return np.abs(self).view(Tensor)

    def numel(self) -> int:
        return self.size


def tensor(*values: float) -> Tensor:
    return np.array(values, dtype=np.float32).view(Tensor)


def test_equal_things_have_no_difference() -> None:
    one = {"a": tensor(1, 2), "state": {0: [1, "x", None]}}
    other = {"a": tensor(1, 2), "state": {0: [1, "x", None]}}

    assert first_difference(one, other, "weights") is None


def test_the_smallest_bit_is_a_difference() -> None:
    moved = np.nextafter(np.float32(1), np.float32(2))

    found = first_difference({"a": tensor(1)}, {"a": tensor(moved)}, "weights")

    assert found is not None
    assert found.startswith("weights.a: max difference 1.19e-07")


def test_the_largest_difference_is_told() -> None:
    one, other = {"a": tensor(1), "b": tensor(1)}, {"a": tensor(1.1), "b": tensor(2)}

    assert (first_difference(one, other, "weights") or "").startswith("weights.b: max difference 1 ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": tensor(1)}, {"b": tensor(1)}),
        ({"a": tensor(1)}, {"a": tensor(1, 2)}),
        ([1, 2], [1]),
        ({"loss": 1.0}, {"loss": None}),
        (["x"], ["y"]),
        ({"loss": float("nan")}, {"loss": 1.0}),
    ],
)
def test_other_shapes_names_and_kinds_are_differences(one: object, other: object) -> None:
    assert first_difference(one, other, "log") is not None


def test_the_log_is_compared_without_run_times(tmp_path: Path) -> None:
    row = {"step": 2, "loss": 1.5, "grad_norm": 0.1, "learning_rate": 0.0, "total_flos": 5}
    (tmp_path / "trainer_state.json").write_text(json.dumps({"global_step": 2, "log_history": [row]}))

    assert last_step(tmp_path) == {
        "global_step": 2,
        "step": 2,
        "loss": 1.5,
        "grad_norm": 0.1,
        "learning_rate": 0.0,
    }


@pytest.mark.parametrize("part", ["log", "weights", "optimizer", "scheduler"])
def test_a_run_is_the_same_only_if_all_its_parts_are(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """As in the releases whose resumed DPO run has the right step, and another adapter."""

    def read(of: str) -> Callable[[Path], Any]:
        return lambda folder: {"x": tensor(1 if folder.name == "whole" or of != part else 2)}

    monkeypatch.setattr(checkpoint, "last_step", read("log"))
    monkeypatch.setattr(checkpoint, "weights", read("weights"))
    monkeypatch.setattr(checkpoint, "torch_load", lambda path: read(path.stem)(path.parent))

    assert differences(Path("whole"), Path("whole")) == []
    found = differences(Path("whole"), Path("resumed"))
    assert len(found) == 1
    assert found[0].startswith(f"{part}.x: max difference 1 ")
