"""Two runs of one script with one stack: how far their numbers are apart, and what cannot be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def noise_of(first: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, float | None]:
    """How far two runs are apart, by number that differs; None where that is no distance: other batches.

    Leaves out what ``unlike`` names.
    """
    noise: dict[str, float | None] = {}
    for name in sorted(first.keys() & again.keys()):
        left, right = first[name], again[name]
        if not _equal(left, right) and _alike(left, right):
            distances = [_distance(*pair) for pair in zip(_items(left), _items(right))]  # noqa: B905  # of one length; strict= needs Python 3.10
            noise[name] = None if None in distances else max(filter(None, distances))
    return noise


def unlike(first: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    """The numbers that only one run has, or has more of, and counts that differ.

    That is no noise: one of the two did something else, for instance since the other one had run.
    """
    shared = first.keys() & again.keys()
    others = {
        name
        for name in shared
        if not _equal(first[name], again[name]) and not _alike(first[name], again[name])
    }
    return sorted((first.keys() ^ again.keys()) | others)


def _alike(left: Any, right: Any) -> bool:
    """Whether two values are of one shape; a single integer is a count, and a number no NaN."""
    if isinstance(left, int) or isinstance(right, int) or isinstance(left, list) != isinstance(right, list):
        return False
    pairs = list(zip(_items(left), _items(right)))  # noqa: B905  # as above
    return len(_items(left)) == len(_items(right)) and not any(_is_nan(a) != _is_nan(b) for a, b in pairs)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _equal(left: Any, right: Any) -> bool:
    pairs = zip(_items(left), _items(right))  # noqa: B905  # as above
    return len(_items(left)) == len(_items(right)) and all(
        a == b or (_is_nan(a) and _is_nan(b)) for a, b in pairs
    )


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _distance(left: Any, right: Any) -> float | None:
    if left == right or (_is_nan(left) and _is_nan(right)):
        return 0.0
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(left - right)
    return None
