"""What a run does otherwise than the base run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tunematrix.harness.measures.sweep.effects import Observation, effect

BASE = Observation(
    numbers={"loss": 2.0, "grad_norm": 1.0},
    learning_rates=[0.01, 0.005],
    facts={"steps": 2},
    batch={"rows": 2, "length": 8},
    content="a",
    logged=["loss"],
    files=["checkpoint-2/a.bin", "checkpoint-2/b.bin"],
    start=np.zeros(3),
    end=np.ones(3),
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "no effect"),
        ({"numbers": {"loss": 1.0, "grad_norm": 1.0}}, {"loss": -0.5}),
        ({"numbers": {"loss": 2.0 + 1e-6, "grad_norm": 1.0}}, "no effect"),
        ({"numbers": {"loss": float("nan"), "grad_norm": 1.0}}, {"loss": "nan"}),
        ({"learning_rates": [0.01]}, {"learning_rate": [0.01]}),
        ({"facts": {"steps": 3}}, {"steps": 3}),
        ({"batch": {"rows": 1, "length": 8, "position_ids": 1}}, {"batch_rows": -1, "batch_position_ids": 1}),
        ({"content": "b"}, {"batch": "other content"}),
        ({"logged": ["entropy"]}, {"logged": ["-loss", "+entropy"]}),
        ({"files": []}, {"files": ["-checkpoint-2/"]}),
        ({"files": ["checkpoint-2/a.bin"]}, {"files": ["-checkpoint-2/b.bin"]}),
        ({"end": np.ones(3) * 1.5}, {"weights": 0.5}),
        ({"end": np.ones(5)}, {"trainable": 2}),
        ({"end": np.full(3, np.nan)}, {"weights": "nan"}),
        ({"numbers": {"grad_norm": 1.0}}, {"loss": "nan"}),
        ({"facts": {"steps": 2, "evaluations": 1}}, {"evaluations": 1}),
    ],
)
def test_each_part_of_a_run_shows_where_it_differs(changes: dict[str, Any], expected: Any) -> None:
    assert effect(BASE, replace(BASE, **changes)) == expected


def test_two_runs_that_do_not_move_are_the_same() -> None:
    still = replace(BASE, end=BASE.start, numbers={"loss": float("inf"), "grad_norm": float("nan")})
    assert effect(still, still) == "no effect"
