"""Effects of options: an option that stopped having one, has another one, or raises now.

The sweep records for each option what a run with it does otherwise than the base run of the same stack, by
value: ``{"True": {"loss": -0.04, "batch_length": 10}}``, ``"no effect"``, ``"raises ValueError"`` or
``"not tried: WHY"``. So a change of the base run is not repeated in every option; and an effect on what the
base run itself changed (its numbers, its batch) is not compared, because it is one of other data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

NO_EFFECT: Final = "no effect"
RAISES: Final = "raises "
NOT_TRIED: Final = "not tried"
# An effect is a ratio of two short runs; the last digits of both count in it.
TOLERANCE: Final = 1e-3
FLOOR: Final = 1e-4  # of the smallest effects, only rounding is left
COARSE: Final = 2e-3  # an effect smaller than this may come and go with a base run that moved
NUMBERS: Final = ("loss", "grad_norm", "eval_loss", "weights", "trainable")
ASIDE: Final = ("eval_loss", "evaluations", "given_to_metrics")
# What makes the effects of options worth comparing: the numbers and the batch of the base run.
BASE: Final = "base"


def is_option(name: str) -> bool:
    """Whether the fingerprint field ``name`` is the effect of an option."""
    return ".sweep." in name and name.rpartition(".")[0].count(".") == 2  # MODEL.sweep.CLASS.OPTION


def is_leaks(name: str) -> bool:
    """Whether the fingerprint field ``name`` lists the options that leak."""
    return name.endswith(f".{BASE}.leaking_options")


def comparable_leaks(leaks: Any, name: str, fingerprints: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options among ``leaks`` that the sweeps of both records have tried; ``name`` is the field's."""
    prefix = name.partition(f".{BASE}.")[0]
    options = leaks if isinstance(leaks, list) else []
    return [
        str(option)
        for option in options
        if all(
            isinstance(fingerprint.get(f"{prefix}.{str(option).partition('=')[0]}"), Mapping)
            for fingerprint in fingerprints
        )
    ]


def base_of(name: str) -> str:
    """The prefix of the fields of the base run that the option ``name`` is compared with."""
    return f"{name.rpartition('.')[0]}.{BASE}."


def differences(before: Any, after: Any, moved: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of two effects that differ, by value; both empty if the option does the same.

    ``moved`` names the fields in which the two base runs differ.
    """
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return ({}, {}) if before == after else ({"": before}, {"": after})
    old, new = {}, {}
    for value in sorted(before.keys() & after.keys()):
        pair = _differences(before[value], after[value], moved)
        if pair:
            old[value], new[value] = pair
    return old, new


def _differences(old: Any, new: Any, moved: frozenset[str]) -> tuple[Any, Any] | None:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = [
            name
            for name in sorted(old.keys() | new.keys())
            if not _uncomparable(name, moved) and not _close(old.get(name, 0), new.get(name, 0))
        ]
        sides = [{name: side.get(name, 0) for name in names} for side in (old, new)]
        return (sides[0], sides[1]) if names else None
    if old == new or (moved and any(_small(side) for side in (old, new)) and NO_EFFECT in (old, new)):
        return None
    return old, new


def _uncomparable(facet: str, moved: frozenset[str]) -> bool:
    """Whether the effect on ``facet`` is one of other data: the base runs differ in what it rests on."""
    if facet in moved:
        return True
    batch_moved = any(name in moved for name in ("content", "length", "rows", "attended", "labelled"))
    if facet.startswith("batch"):
        return batch_moved
    return facet in NUMBERS and (batch_moved or any(name in moved for name in NUMBERS))


def _close(old: Any, new: Any) -> bool:
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return all(_close(*pair) for pair in zip(old, new, strict=True))
    if all(isinstance(side, (int, float)) and math.isfinite(side) for side in (old, new)):
        return bool(abs(old - new) <= max(FLOOR, TOLERANCE * max(abs(old), abs(new))))
    return bool(old == new)


def _small(effect: Any) -> bool:
    return isinstance(effect, Mapping) and all(
        isinstance(shift, (int, float)) and abs(shift) < COARSE for shift in effect.values()
    )


def transition(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The worst that happened to an option: ``stopped``, ``other``, ``raises``, ``works`` or ``details``.

    Takes the two results of ``differences``.
    """
    found = set(_transitions(before, after))
    return next(name for name in ("stopped", "other", "raises", "works", "details") if name in found)


def _transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for value, new in after.items():
        old = before[value]
        if NOT_TRIED in (str(old)[: len(NOT_TRIED)], str(new)[: len(NOT_TRIED)]):
            yield "details"
        elif str(new).startswith(RAISES):
            yield "details" if str(old).startswith(RAISES) else "raises"
        elif str(old).startswith(RAISES):
            yield "works"
        elif all(set(side) <= {"logged"} for side in (old, new) if isinstance(side, Mapping)):
            yield "details"  # a key of the log that came or went
        else:
            # Without an effect on the training itself, that it is gone may also mean that it was repaired.
            aside = isinstance(old, Mapping) and set(old) <= {*ASIDE, "logged"}
            yield "stopped" if new == NO_EFFECT and not aside else "other"
