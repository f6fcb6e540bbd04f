"""Whether what people wrote into ``known-changes.toml`` agrees with what the ladder measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tunematrix.base.versions import parse_version
from tunematrix.verdict.causes import KnownChange
from tunematrix.verdict.releases import Rung


def disagreements(known: Iterable[KnownChange], rungs: Sequence[Rung]) -> Iterator[str]:
    """A line for each known change whose release is a rung in which none of its fields moved, or no rung.

    Releases older or newer than the ladder's of their package say nothing. One that was yanked is no rung of
    its own: the next one has what it brought.
    """
    for change in known:
        own = [rung for rung in rungs if rung.package == change.package]
        versions = sorted(filter(None, (parse_version(rung.after) for rung in own)))
        if not versions or not versions[0] <= change.since <= versions[-1]:
            continue
        moved_at = [rung for rung in own if any(map(change.matches, (*rung.changes, *rung.stages)))]
        if not any(_brought(rung, change) for rung in moved_at):
            there = any(_brought(rung, change) for rung in own)
            what = "moved none of its fields" if there else "is no rung of the ladder"
            nearest = ", ".join(rung.after for rung in moved_at) or "none of its releases did"
            yield f"{change.id}: {change.package} {change.since} {what}; these fields moved in: {nearest}"


def _brought(rung: Rung, change: KnownChange) -> bool:
    """Whether the release of the change is the rung's, or lies between it and the one before."""
    before, after = parse_version(rung.before), parse_version(rung.after)
    return before is not None and after is not None and before < change.since <= after
