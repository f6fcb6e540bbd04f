"""Tolerances of the fingerprint: whether two values count as equal, by size and by bias."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

# Relative tolerances by the last part of a number's name; all other values must be equal. Measured: two runs
# of the same lock are bit-equal on one thread, two threads change gradient norms by 1e-7, neighbouring
# releases agree to 1e-7 where nothing changed, and the smallest real drift of a first step is 5.8e-5.
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
# Fields about how a result was computed, not about the result: a difference is shown, but does not count as
# a change of behaviour.
INFORMATIVE: Final = (
    "*.base.logged",
    "*.batch_keys",
    "*.config_*",
    "*.files",
    "*.log_keys",
    "*.merged_files",
    "*.module",
    "*.named",
    "*.names",
    "*.rng_state_names",
    "*.saved_files",
    "*.tie_word_embeddings",
    "*.tokenizer_class",
    "bare.*",
    "exchange.*",
    "import.*",
)
ROUNDING: Final = 5e-5  # transformers before 5.0 logs a loss with four decimals
MIN_NUMBERS_FOR_BIAS: Final = 4  # with fewer numbers, a common direction may be chance


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """How far numbers moved: the largest relative difference (``size``), and their signed mean (``bias``)."""

    size: float
    bias: float


@functools.cache
def tolerance(name: str) -> float:
    """The relative tolerance of the field ``name``; 0.0 if its values must be equal."""
    last_part = name.rsplit(".", 1)[-1]
    return next((value for pattern, value in TOLERANCES.items() if fnmatchcase(last_part, pattern)), 0.0)


@functools.cache
def measures_behaviour(name: str) -> bool:
    """Whether a difference in the field ``name`` is a change of behaviour."""
    return not any(fnmatchcase(name, pattern) for pattern in INFORMATIVE)


def corrected(name: str, before: Any, after: Any) -> bool:
    """Whether a value that must be true, one or zero was wrong before and is right after."""
    last_part = name.rsplit(".", 1)[-1]
    if "ratio_" in last_part:
        if not all(isinstance(value, (int, float)) for value in (before, after)):
            return False
        return math.isclose(after, 1.0, rel_tol=tolerance(name)) and not math.isclose(
            before, 1.0, rel_tol=1e-3
        )
    if last_part.endswith("_difference"):
        return bool(after == 0 != before)
    return before is False and after is True


def close(before: Any, after: Any, name: str) -> bool:
    """Whether two values of the field ``name`` are equal or, for numbers, within tolerance.

    Four numbers or more must also have a mean shift of at most half the tolerance, in either direction.
    """
    if before == after:  # most values, for which a shift need not be found
        return True
    allowed = tolerance(name)
    moved = shift(before, after)
    if not allowed or moved is None:
        return _both_nan(before, after)
    if name.rsplit(".", 1)[-1] == "loss" and _equal_when_rounded(before, after):
        return True
    biased = len(list(flatten(before))) >= MIN_NUMBERS_FOR_BIAS and abs(moved.bias) > allowed / 2
    return moved.size <= allowed and not biased


def shift(before: Any, after: Any) -> Shift | None:
    """How far numbers moved; None unless both values are numbers, or lists of numbers of the same shape."""
    pairs = list(zip(flatten(before), flatten(after), strict=False))
    if not pairs or _shape(before) != _shape(after):
        return None
    differences = [_relative_difference(*pair) for pair in pairs]
    return Shift(
        size=max(abs(difference) for difference in differences), bias=sum(differences) / len(differences)
    )


def flatten(value: Any) -> Iterator[float]:
    """All numbers in a value or a nested list, in order."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from flatten(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)


def _relative_difference(before: float, after: float) -> float:
    if before == after or (math.isnan(before) and math.isnan(after)):
        return 0.0
    # NaN compares as neither more nor less, so it must not reach a maximum or a mean.
    if math.isnan(after) or not math.isfinite(before) or not before:
        return math.inf
    return (after - before) / abs(before)


def _shape(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_shape(item) for item in value]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else repr(value)


def _equal_when_rounded(before: Any, after: Any) -> bool:
    """Whether, in every pair of numbers, one is rounded to four decimals and that explains the difference."""
    pairs = list(zip(flatten(before), flatten(after), strict=True))
    return all(
        any(number == round(number, 4) for number in pair) and abs(pair[0] - pair[1]) <= ROUNDING
        for pair in pairs
    )


def _both_nan(before: Any, after: Any) -> bool:
    return all(isinstance(value, float) and math.isnan(value) for value in (before, after))
