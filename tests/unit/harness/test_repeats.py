"""Two runs of one script: noise is how far numbers are apart, and nothing else is noise."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tunematrix.harness.repeats import noise_of, unlike

NAN = math.nan


def test_the_noise_is_how_far_two_runs_of_the_same_are_apart() -> None:
    first = {"loss": [1.0, 2.0], "steps": 2, "batches": ["a"], "same": [1], "sum": 1.0, "nan": [NAN, 1.0]}
    again = {"loss": [1.5, 1.75], "steps": 2, "batches": ["b"], "same": [1], "sum": 1.25, "nan": [NAN, 2.0]}
    assert noise_of(first, again) == {"batches": None, "loss": 0.5, "nan": 1.0, "sum": 0.25}
    assert unlike(first, again) == []


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"x": [1.0]}, {}),
        ({}, {"x": [1.0]}),
        ({"x": [1.0, 2.0]}, {"x": [1.0]}),
        ({"x": ["a", "b"]}, {"x": ["a"]}),
        ({"x": 1}, {"x": 0}),
        ({"x": [NAN]}, {"x": [1.0]}),
    ],
)
def test_a_run_that_does_something_else_is_no_noise(first: dict[str, Any], again: dict[str, Any]) -> None:
    assert unlike(first, again) == ["x"]
    assert noise_of(first, again) == {}
