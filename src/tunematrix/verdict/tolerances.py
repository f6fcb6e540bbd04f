"""When is a number another number: tolerances of the fingerprint, by size and by bias."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

# Relative tolerances by the last part of a number's name; what is not here must be equal. Measured: the same
# lock twice is bit-equal on one thread, two threads move gradient norms by 1e-7, neighbouring releases are
# equal to 1e-7 where nothing changed, and the smallest real drift of a first step was 5.8e-5.
TOLERANCES: Final[Mapping[str, float]] = {
    "training_loss*": 1e-6,
    "*_training_losses": 1e-6,
    "eval_loss": 1e-6,
    "logps_*": 1e-6,
    "*_abs_sum": 1e-6,
    "loss_ratio_*": 1e-6,
    "grad_norm": 1e-5,
    "grad_norm_ratio_*": 1e-5,
    "loss": 1e-5,
    "rewards_*": 2e-4,
    "entropy": 2e-4,
}
# What tells how something was done, not what came out: shown, but no change of behaviour by itself.
INFORMATIVE: Final = (
    "*.batch_keys",
    "*.config_*",
    "*.files",
    "*.log_keys",
    "*.merged_files",
    "*.names",
    "*.rng_state_names",
    "*.tie_word_embeddings",
    "bare.*",
    "exchange.*",
    "import.*",
)
ROUNDED: Final = 5e-5  # half of the last decimal that transformers before 5.0 logs of a loss
MANY: Final = 4  # numbers, from which on a shift of all of them to one side counts by itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """How far numbers moved: the largest relative difference, and the mean of them with its sign."""

    size: float
    bias: float


def tolerance(name: str) -> float:
    """The relative tolerance of the number called ``name``; 0.0 where it must be equal."""
    last = name.rsplit(".", 1)[-1]
    return next((value for pattern, value in TOLERANCES.items() if fnmatchcase(last, pattern)), 0.0)


def measures_behaviour(name: str) -> bool:
    """Whether a number of this name ought not to move."""
    return not any(fnmatchcase(name, pattern) for pattern in INFORMATIVE)


def corrected(name: str, before: Any, after: Any) -> bool:
    """Whether a value that must be true, one or zero was not, and is now."""
    last = name.rsplit(".", 1)[-1]
    if "ratio_" in last:
        return math.isclose(after, 1.0, rel_tol=tolerance(name)) and not math.isclose(
            before, 1.0, rel_tol=1e-3
        )
    if last.endswith("_difference"):
        return bool(after == 0 != before)
    return (before, after) == (False, True)


def close(left: Any, right: Any, name: str) -> bool:
    """Whether two values of the field ``name`` are the same in kind and, for numbers, within tolerance.

    Of several numbers also their mean shift must be: at most half of the tolerance, to either side.
    """
    allowed = tolerance(name)
    found = shift(left, right)
    if not allowed or found is None:
        return bool(left == right) or _both_nan(left, right)
    if name.rsplit(".", 1)[-1] == "loss" and _rounded(left, right):
        return True
    biased = len(list(flatten(left))) >= MANY and abs(found.bias) > allowed / 2
    return found.size <= allowed and not biased


def shift(left: Any, right: Any) -> Shift | None:
    """How far numbers of one shape moved; None where they are not numbers of one shape."""
    pairs = list(zip(flatten(left), flatten(right), strict=False))
    if not pairs or _shape(left) != _shape(right):
        return None
    moved = [_relative(one, other) for one, other in pairs]
    return Shift(size=max(abs(one) for one in moved), bias=sum(moved) / len(moved))


def flatten(value: Any) -> Iterator[float]:
    """All numbers in a value, in order."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from flatten(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)


def _relative(left: float, right: float) -> float:
    if left == right or (math.isnan(left) and math.isnan(right)):
        return 0.0
    return (right - left) / abs(left) if left and math.isfinite(left) else math.inf


def _shape(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_shape(item) for item in value]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else repr(value)


def _rounded(left: Any, right: Any) -> bool:
    """Equal but for the rounding of a log, where either side is rounded."""
    pairs = list(zip(flatten(left), flatten(right), strict=True))
    return all(
        any(number == round(number, 4) for number in pair) and abs(pair[0] - pair[1]) <= ROUNDED
        for pair in pairs
    )


def _both_nan(left: Any, right: Any) -> bool:
    return all(isinstance(one, float) and math.isnan(one) for one in (left, right))
