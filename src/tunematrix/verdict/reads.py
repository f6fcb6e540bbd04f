"""A saved folder in several stacks: where it loads, where it is read otherwise, where it fails and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.base.versions import parse_version
from tunematrix.shared.stages import is_infrastructure

LOADS: Final = "loads"
DIFFERS: Final = "differs"
FAILS: Final = "fails"
UNTESTED: Final = "untested"
WORST_FIRST: Final = (FAILS, DIFFERS, UNTESTED, LOADS)
# Relative to the largest number: releases sum in another order, which gave 4e-6 and, in larger models, more.
TOLERANCE: Final = 1e-4
MAX_SHOWN: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What one cell left: a result for each part of the folder, or the reason why there is none."""

    cell: str
    packages: Mapping[str, str]
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a cell reads one part, or, as the worst of those, the folder; ``reason`` unless it ``loads``."""

    outcome: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The outcome of each part by cell, and the cells with which each part was compared."""

    parts: Mapping[str, Mapping[str, Outcome]]
    references: Mapping[str, str]

    def cell(self, name: str) -> Outcome:
        """The worst outcome of a cell, with its part."""
        outcomes = self.parts[name]
        part = min(outcomes, key=lambda part: WORST_FIRST.index(outcomes[part].outcome))
        worst = outcomes[part]
        if worst.outcome == LOADS:
            return worst
        return Outcome(outcome=worst.outcome, reason=f"{part}: {worst.reason}" if part else worst.reason)

    def cells(self, outcome: str) -> list[str]:
        return [name for name in self.parts if self.cell(name).outcome == outcome]


def judge(readings: Sequence[Reading], parts: Sequence[str], written: Mapping[str, str]) -> Verdict:
    """Compare what the cells read of each of ``parts`` with what the reference read.

    ``written`` are the versions that the folder names. The reference is the newest stack that loads the part
    and is not newer than they are, else the oldest; of a folder without versions, what most stacks read.
    """
    references = {part: _reference(readings, part, written) for part in parts}
    by_name = {reading.cell: reading for reading in readings}
    judged: dict[str, dict[str, Outcome]] = {}
    for reading in readings:
        if reading.reason:
            judged[reading.cell] = {"": Outcome(outcome=UNTESTED, reason=reading.reason)}
            continue
        judged[reading.cell] = {
            part: _outcome(
                reading.results.get(part, {}), by_name[reference].results[part] if reference else {}
            )
            for part, reference in references.items()
        }
    return Verdict(parts=judged, references={part: name for part, name in references.items() if name})


def _outcome(result: Mapping[str, Any], reference: Mapping[str, Any]) -> Outcome:
    outcome = result.get("outcome", "unavailable")
    if outcome in ("fails", "unavailable"):
        error = result.get("error") or {"type": "", "message": "the process ended before it was read"}
        text = f"{error.get('type', '')}: {' '.join(str(error.get('message', '')).split())}"
        reason = str(error.get("cause") or text.removeprefix(": ").removeprefix("Unavailable: "))
        is_machine = is_infrastructure(str(error.get("type")), str(error.get("message")))
        return Outcome(outcome=FAILS if outcome == "fails" and not is_machine else UNTESTED, reason=reason)
    if told := result.get("difference"):
        size = f"off by {told['size']:.2g} of its size" if told.get("size") is not None else _change(told)
        return Outcome(outcome=DIFFERS, reason=f"{told['name']} not as in the files: {size}")
    difference = next(_differences(reference.get("facts", {}), result.get("facts", {})), "")
    return Outcome(outcome=DIFFERS if difference else LOADS, reason=difference)


def _change(told: Mapping[str, Any]) -> str:
    return f"{_short(told.get('before'))} -> {_short(told.get('after'))}"


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name, value in before.items():
        other = after.get(name)
        if isinstance(other, list) and _is_numbers(value) and _is_numbers(other) and len(value) == len(other):
            size = max(abs(number) for number in (*value, *other))
            distances = [abs(left - right) for left, right in zip(value, other, strict=True)]
            if not all(distance <= TOLERANCE * size for distance in distances):  # NaN is not
                yield f"{name} off by {max(distances) / size:.2g} of their size"
        elif value != other:
            yield f"{name} {_short(value)} -> {_short(other)}"


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, float) for item in value)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _reference(readings: Sequence[Reading], part: str, written: Mapping[str, str]) -> str:
    """The cell with which ``part`` is compared; empty if it loads in none."""
    loading = [reading for reading in readings if _is_good(reading.results.get(part, {}))]
    package = next((name for name in ("transformers", "peft") if parse_version(written.get(name))), "")
    if not loading:
        return ""
    if not package:
        return max(loading, key=lambda reading: _agreeing(reading, loading, part)).cell
    target = parse_version(written[package])
    assert target
    by_age = sorted(loading, key=lambda reading: _age(reading, package))
    not_newer = [reading for reading in by_age if _age(reading, package)[0] <= target]
    return (not_newer[-1] if not_newer else by_age[0]).cell


def _is_good(result: Mapping[str, Any]) -> bool:
    return result.get("outcome") == LOADS and not result.get("difference")


def _age(reading: Reading, package: str) -> tuple[Any, ...]:
    names = (package, "transformers", "peft", "trl")
    oldest = parse_version("0")
    return tuple(parse_version(reading.packages.get(name)) or oldest for name in names)


def _agreeing(reading: Reading, loading: Sequence[Reading], part: str) -> int:
    """How many stacks read the same."""
    facts = reading.results[part].get("facts", {})
    return sum(not any(_differences(facts, other.results[part].get("facts", {}))) for other in loading)
