"""Effects of options: an option that stopped having one, has another one, or is refused now.

The sweep records for each option what a run with it does otherwise than the base run of the same stack, by
value: ``{"True": {"loss": -0.04, "batch_length": 10}}``, ``"no effect"``, ``"raises ValueError"`` or
``"not tried: WHY"``. So a change of the base run is not repeated in every option. Where the base run itself
moved, effects on what rests on it are compared as coarsely; where it sees another batch, not at all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from tunematrix.shared.effects import NO_EFFECT, NOT_TRIED, RAISES
from tunematrix.verdict import tolerances

GONE: Final = "raises: no such value any more"
# An effect is a ratio of two short runs; the last digits of both count in it.
TOLERANCE: Final = 1e-3
FLOOR: Final = 1e-4  # of the smallest effects, only rounding is left
COARSE: Final = 2e-3  # an effect smaller than this may come and go with a base run that moved
SHIFTS: Final = 10  # how much further an effect may move than the base run that it is relative to
NUMBERS: Final = ("loss", "grad_norm", "eval_loss", "weights")
BATCH: Final = ("content", "rows", "length", "attended", "labelled")
ASIDE: Final = ("eval_loss", "evaluations", "given_to_metrics")
BESIDES: Final = ("files", "logged")  # what a run leaves behind, not what it learns
ENUMERATION: Final = 3  # values; with fewer, one may be missing because it is the default now
# The name of the base run among those on other kinds of rows.
BASE: Final = "base"

Moved = Mapping[str, float]  # the fields in which two base runs differ, and how far; infinite if not a number
ONE_SIDED: Final = -1.0  # of a field that only one release passes to the model


def is_option(name: str) -> bool:
    """Whether the fingerprint field ``name`` is the effect of an option."""
    return ".sweep." in name and name.rpartition(".")[0].count(".") == 2  # MODEL.sweep.CLASS.OPTION


def is_leaks(name: str) -> bool:
    """Whether the fingerprint field ``name`` lists the options that leak."""
    return name.endswith(f".{BASE}.leaking_options")


def new_leaks(leaks: Any, others: Mapping[str, Any]) -> list[str]:
    """The options among ``leaks`` that leak in no class of the fingerprint ``others``.

    Which class an option is tried in depends on the release; a leak that only moved there is not new.
    """
    lists = [found for name, found in others.items() if is_leaks(name) and isinstance(found, list)]
    known = {str(item) for found in lists for item in found}
    return [str(item) for item in leaks if str(item) not in known] if isinstance(leaks, list) else []


def runs(name: str) -> tuple[str, str] | None:
    """The class's prefix and the run's name of a field of a base run: ``("x.sweep.SFTConfig", "text")``."""
    parts = name.split(".")
    return (".".join(parts[:3]), parts[3]) if len(parts) == 5 and parts[1] == "sweep" else None


def moved_runs(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """How far the base runs of the sweep differ, by class, run and field; infinite for what is no number."""
    moved: dict[str, dict[str, dict[str, float]]] = {}
    for name in before.keys() | after.keys():
        run = runs(name)
        old, new = (side.get(name) for side in (before, after))
        if run is None or name.endswith((".logged", ".leaking_options")) or tolerances.close(old, new, name):
            continue
        shift = tolerances.shift(old, new)
        fields = moved.setdefault(run[0], {}).setdefault(run[1], {})
        one_sided = old is None or new is None
        size = shift.size if shift else math.inf
        fields[name.rpartition(".")[2]] = ONE_SIDED if one_sided else size
    return moved


def differences(
    before: Any,
    after: Any,
    moved: Mapping[str, Moved] = {},  # only read
    defaults: Collection[str] = (),
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of two effects that differ, by value; both empty if the option does the same.

    ``moved`` is by run. No value is tried that is the default; ``defaults`` are those of the release after.
    """
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return ({}, {}) if before == after else ({"": before}, {"": after})
    old, new = {}, {}
    for value in sorted(before.keys() & after.keys()):
        if pair := _differences(before[value], after[value], moved.get(run_of(value), {})):
            old[value], new[value] = pair
    worked = {value for value, effect in before.items() if not str(effect).startswith(RAISES)}
    gone = worked - after.keys() - {*defaults}
    came = after.keys() - before.keys()
    # Numbers are tried around the default, and follow it.
    if len(before) >= ENUMERATION and not (came and any(map(_is_numeral, gone))):
        old |= {value: before[value] for value in gone}
        new |= dict.fromkeys(gone, GONE)
    return old, new


def run_of(value: str) -> str:
    """The base run that the effect of a value is relative to: ``True on prompts`` to that on prompts."""
    return value.rpartition(" on ")[2] if " on " in value else BASE


def _is_numeral(value: str) -> bool:
    return value.partition(" on ")[0].lstrip("-")[:1].isdigit()


def _differences(old: Any, new: Any, moved: Moved) -> tuple[Any, Any] | None:
    before, after = ({} if side == NO_EFFECT else side for side in (old, new))
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return None if old == new else (old, new)
    if _lasts(before) and not _lasts(after):
        return old, NO_EFFECT
    names = [name for name in sorted(before.keys() | after.keys()) if _differ(name, before, after, moved)]
    if not names:
        return None
    sides = [{name: side.get(name, "as the base run") for name in names} for side in (before, after)]
    return sides[0], sides[1]


def _lasts(effects: Mapping[str, Any]) -> bool:
    return any(_counts(*item) for item in effects.items())


def _counts(facet: str, effect: Any) -> bool:
    """Whether an effect is one on the run itself, and large enough to last."""
    if facet in BESIDES:
        return False
    return not is_number(effect) or facet not in NUMBERS or abs(effect) >= COARSE


def _differ(facet: str, before: Mapping[str, Any], after: Mapping[str, Any], moved: Moved) -> bool:
    none = 0 if _is_relative(facet) else None
    old, new = before.get(facet, none), after.get(facet, none)
    if facet not in NUMBERS:
        other_batch = facet.startswith("batch") and _moved(BATCH, moved)
        unlike = other_batch or facet.removeprefix("batch_") in moved
        return bool(old != new and not _same_list(old, new) and not unlike)
    shift = _shift(facet, moved)
    if math.isinf(shift) or not (is_number(old) and is_number(new)):
        return bool(old != new and not math.isinf(shift))
    size = max(abs(old), abs(new))
    flipped = old * new < 0 and min(abs(old), abs(new)) > max(COARSE, shift)
    return bool(flipped or abs(old - new) > max(FLOOR, TOLERANCE * size, SHIFTS * shift))


def is_another_run(moved: Moved) -> bool:
    """Whether base runs that differ so see other batches or take other steps, so that no effects compare."""
    return _moved((*BATCH, "learning_rate", "steps"), moved)


def _shift(facet: str, moved: Moved) -> float:
    """How far the base runs differ in what an effect on ``facet`` rests on."""
    rests_on = ("loss", "grad_norm", *(("eval_loss",) if facet == "eval_loss" else ()))
    if is_another_run(moved):
        return math.inf
    return max((moved[name] for name in rests_on if name in moved), default=0.0)


def _moved(names: Collection[str], moved: Moved) -> bool:
    return any(moved.get(name, ONE_SIDED) > 0 for name in names)


def _is_relative(facet: str) -> bool:
    """Whether without an effect the value is 0: shifts and differences, but not facts such as the steps."""
    return facet in NUMBERS or facet.startswith("batch_") or facet == "trainable"


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _same_list(old: Any, new: Any) -> bool:
    """Whether two lists, of learning rates, differ only by rounding."""
    if not (isinstance(old, list) and isinstance(new, list) and len(old) == len(new)):
        return False
    numbers = all(map(is_number, [*old, *new]))
    return numbers and all(math.isclose(*pair, rel_tol=1e-5) for pair in zip(old, new, strict=True))


def transition(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The worst that happened to an option: ``stopped``, ``other``, ``raises``, ``works`` or ``details``.

    Takes the two results of ``differences``.
    """
    found = set(_transitions(before, after))
    return next(name for name in ("stopped", "other", "raises", "works", "details") if name in found)


def _transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for value, new in after.items():
        old = before[value]
        if str(new).startswith(RAISES.strip()):
            yield "details" if str(old).startswith(RAISES) else "raises"
        elif str(old).startswith(RAISES):
            yield "works"
        elif any(str(side).startswith(NOT_TRIED) for side in (old, new)) or _only(old, new, BESIDES):
            yield "details"
        else:
            # Without an effect on the training itself, that it is gone may also mean that it was repaired.
            yield "stopped" if new == NO_EFFECT and not _only(old, new, (*ASIDE, *BESIDES)) else "other"


def _only(old: Any, new: Any, facets: Collection[str]) -> bool:
    return all(set(side) <= set(facets) for side in (old, new) if isinstance(side, Mapping))
