"""Two records, one verdict: what broke, what was fixed, what moved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.matrix.record import STAGES, Record, Result

# Relative tolerances by the last part of a fingerprint's name. Measured over neighbouring releases:
# the smallest real drift of a first step is 5.8e-5, and what should be equal is equal to 1e-7.
TOLERANCES: Final[Mapping[str, float]] = {
    "training_loss": 1e-6,
    "eval_loss": 1e-6,
    "loss": 1e-5,  # of several steps, transformers before 5.0 logs only 4 decimals
    "grad_norm": 1e-5,
}
ROUNDED: Final = 5e-5  # half of the last decimal that those releases log
BAD: Final = ("failed", "crashed", "timed_out", "unresolvable", "uninstallable")
WORST_FIRST: Final = ("regressed", "unknown", "fixed", "changed", "same")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Something that moved. ``kind``: fingerprint, default, call_site, warning, signature."""

    kind: str
    name: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """The comparison of two records; ``stages`` maps a name to (before, after, verdict)."""

    verdict: str
    stages: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    packages: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


def compare(before: Record | None, after: Record | None) -> Diff:
    """Compare two records; a missing one makes everything unknown, never equal."""
    if before is None or after is None:
        stages = {name: (_outcome(before, name), _outcome(after, name), "unknown") for name in STAGES}
        return Diff(verdict="unknown", stages=stages)
    stages = {
        name: (
            before.stage(name).outcome,
            after.stage(name).outcome,
            stage_verdict(before.stage(name), after.stage(name)),
        )
        for name in STAGES
    }
    changes = (*_fingerprints(before, after), *_call_sites(before, after))
    verdicts = {row[2] for row in stages.values()} | ({"changed"} if changes else set())
    return Diff(
        verdict=next(verdict for verdict in WORST_FIRST if verdict in verdicts),
        stages=stages,
        changes=changes,
        packages=_moved(before.packages, after.packages),
    )


def _outcome(record: Record | None, name: str) -> str:
    return record.stage(name).outcome if record else "unknown"


def stage_verdict(before: Result, after: Result) -> str:
    """``regressed``, ``fixed``, ``changed``, ``same``, or ``unknown`` where either was not tried."""
    states = [
        "passed" if one.outcome == "passed" else "bad" if one.outcome in BAD else ""
        for one in (before, after)
    ]
    if "" in states:
        return "same" if before.outcome == after.outcome == "unavailable" else "unknown"
    if states == ["passed", "bad"]:
        return "regressed"
    if states == ["bad", "passed"]:
        return "fixed"
    kinds = [(one.outcome, one.error.type if one.error else "") for one in (before, after)]
    return "same" if kinds[0] == kinds[1] else "changed"


def _fingerprints(before: Record, after: Record) -> Iterator[Change]:
    """Numbers that moved, of what both runs measured; what only one did is the stages' matter."""
    for name in sorted(before.fingerprint.keys() & after.fingerprint.keys()):
        left, right = before.fingerprint[name], after.fingerprint[name]
        if not close(left, right, TOLERANCES.get(name.rsplit(".", 1)[-1], 0.0)):
            yield Change(kind="fingerprint", name=name, before=left, after=right)


def close(left: Any, right: Any, tolerance: float) -> bool:
    """Equal in kind and, for floats, to a relative ``tolerance``; rounded log values by their rounding."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(
            close(one, other, tolerance) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, (int, float)) and isinstance(right, (int, float)) and tolerance:
        rounded = any(number == round(number, 4) for number in (left, right))
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=ROUNDED if rounded else 0.0)
    return bool(left == right)


def _call_sites(before: Record, after: Record) -> Iterator[Change]:
    """Adaptations that came or went: in user code each is an edit."""
    left, right = (_spellings(record.call_sites) for record in (before, after))
    for call, argument in sorted(left.keys() | right.keys()):
        uses = left.get((call, argument), argument), right.get((call, argument), argument)
        if uses[0] != uses[1]:
            yield Change(kind="call_site", name=f"{call}({argument})", before=uses[0], after=uses[1])


def _spellings(rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str]:
    return {(row["call"], row["argument"]): row["use"] for row in rows}


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    names = sorted(before.keys() | after.keys())
    return {
        name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    }
