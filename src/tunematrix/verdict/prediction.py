"""What is known to change between two sets of packages, from the rungs between them, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunematrix.base.versions import parse_version
from tunematrix.verdict.diff import moved_packages
from tunematrix.verdict.findings import SEVERITIES
from tunematrix.verdict.releases import Moved, Rung, between


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """A finding of a rung that is expected again; ``undone`` where the move goes back over the rung."""

    rung: Rung
    severity: str
    title: str
    action: str = ""
    undone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The expected findings, worst first, from ``rungs`` rungs; ``moved`` are packages of the ladder alone.

    ``beyond`` are moves that reach further than the ladder: what is out there is not known.
    """

    moved: Moved
    found: tuple[Expected, ...]
    rungs: int
    beyond: Mapping[str, str]


def predict(before: Mapping[str, str], after: Mapping[str, str], rungs: Sequence[Rung]) -> Prediction:
    """Compare two sets of versions by package.

    A rung whose changes later rungs between the two undo is left out.
    """
    names = {rung.package for rung in rungs}
    moved = {name: pair for name, pair in moved_packages(before, after).items() if name in names}
    crossed = between(moved, rungs)
    lasting = _lasting_fields([rung for rung, _ in crossed])
    found = [
        Expected(
            rung=rung,
            severity=finding["severity"],
            title=finding["title"],
            action=finding.get("action", ""),
            undone=direction < 0,
        )
        for rung, direction in crossed
        if not rung.changes or lasting & rung.changes.keys()
        for finding in rung.findings
    ]
    ordered = sorted(found, key=lambda each: each.rung.day, reverse=True)
    return Prediction(
        moved=moved,
        found=tuple(sorted(ordered, key=lambda each: SEVERITIES.index(each.severity))),
        rungs=len(crossed),
        beyond=_beyond(moved, rungs),
    )


def _lasting_fields(rungs: Sequence[Rung]) -> set[str]:
    """The fields that the last of ``rungs`` does not leave as the first found them."""
    first: dict[str, object] = {}
    last: dict[str, object] = {}
    for rung in rungs:
        for name, (old, new) in rung.changes.items():
            first.setdefault(name, old)
            last[name] = new
    return {name for name, value in last.items() if value != first[name]}


def _beyond(moved: Moved, rungs: Sequence[Rung]) -> dict[str, str]:
    """By package, the versions that a move touches and no rung has: older ones, newer ones, or both."""
    found = {}
    for name, pair in moved.items():
        own = [rung for rung in rungs if rung.package == name]
        versions = [version for text in pair if (version := parse_version(text)) is not None]
        first, last = parse_version(own[0].before), parse_version(own[-1].after)
        if not versions or first is None or last is None:
            continue
        parts = [f"before {first}"] if min(versions) < first else []
        parts += [f"after {last}"] if max(versions) > last else []
        if parts:
            found[name] = " and ".join(parts)
    return found
