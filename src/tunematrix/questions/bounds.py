"""What may I declare? The widest range of each package around the baseline in which everything passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks import lock, populate, releases
from tunematrix.locks.table import CORE
from tunematrix.questions import candidate as candidates
from tunematrix.questions import upgrade
from tunematrix.questions.candidate import Baseline, Progress
from tunematrix.run.options import Options
from tunematrix.shared.stages import STAGES
from tunematrix.verdict import diff

REFUSED: Final = "the resolver refuses it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """The releases of ``package`` that were found to work, and why the first outside each end does not."""

    package: str
    lowest: str
    highest: str
    below: str | None = None
    above: str | None = None
    why_below: str = ""
    why_above: str = ""

    @property
    def specifier(self) -> str:
        """As ``pyproject.toml`` declares it; open above where the newest release works."""
        return f">={self.lowest}" + (f",<{self.above}" if self.above else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Corner:
    """All packages at one of their ends together; ``wrong`` is empty where that works."""

    pins: dict[str, str]
    wrong: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The ranges, both corners as they were verified, and where upstream's own ranges are wrong."""

    ranges: list[Range]
    lowest: Corner
    highest: Corner
    upstream: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Prober:
    """Tries pins over the baseline; each combination once."""

    base: Baseline
    options: Options
    store: Store
    note: Progress
    drift: bool = True  # whether numbers and defaults may move
    seen: dict[tuple[str, ...], str] = field(default_factory=dict)
    reference: Record | None = None

    def wrong(self, pins: dict[str, str]) -> str:
        """Why these pins do not do, in a line; empty where they do."""
        requests = tuple(f"{name}=={version}" for name, version in sorted(pins.items()))
        if requests not in self.seen:
            self.seen[requests] = self._wrong(requests)
            self.note(f"{', '.join(requests)}: {self.seen[requests] or 'works'}")
        return self.seen[requests]

    def _wrong(self, requests: tuple[str, ...]) -> str:
        if self.reference is None:
            self.reference = candidates.run_baseline(self.base, self.options)
        try:
            made = candidates.resolve(self.base, requests, self.store)
        except UnresolvableError:
            return REFUSED
        record = candidates.run(made, self.options, self.store)
        if record.error:
            return record.error.line
        for name in STAGES:
            stage = record.stage(name)
            if self.reference.stage(name).outcome == "passed" and stage.outcome != "passed":
                return f"{name}: {stage.error.line if stage.error else stage.outcome}"
        found = diff.compare(self.reference, record)
        moved = [change.name for change in found.changes if upgrade.changes_behaviour(change)]
        return f"{len(moved)} moved, {moved[0]} among them" if moved and not self.drift else ""


def find(base: Baseline, packages: Sequence[str], prober: Prober) -> Bounds:
    """Search each package alone, then verify both corners; raises ``UsageError`` for unknown packages."""
    names = [canonicalize_name(name) for name in packages]
    for name in names:
        if name not in base.packages:
            raise UsageError(f"{base.cell.name} has no package '{name}'; it is not in its lock")
    ranges = [_range(base, name, prober) for name in names]
    low, ranges = _corner(base, ranges, prober, lowest=True)
    high, ranges = _corner(base, ranges, prober, lowest=False)
    return Bounds(ranges=ranges, lowest=low, highest=high, upstream=list(upstream(base, ranges)))


def versions(package: str, own: str) -> list[str]:
    """The newest final release of each minor one, and the baseline's own, in order."""
    newest: dict[tuple[int, int], Version] = {}
    for one in releases.releases(package):
        if one.final:
            newest[one.version.major, one.version.minor] = one.version
    current = Version(lock.public(own))
    newest[current.major, current.minor] = current
    return [str(version) for version in sorted(newest.values())]


def _range(base: Baseline, package: str, prober: Prober) -> Range:
    points = versions(package, base.packages[package])
    own = points.index(str(Version(lock.public(base.packages[package]))))

    def wrong(at: int) -> str:
        return prober.wrong({package: points[at]})

    low = _edge(own, -1, len(points), wrong)
    high = _edge(own, 1, len(points), wrong)
    below = points[low - 1] if low > 0 else None
    above = points[high + 1] if high + 1 < len(points) else None
    return Range(
        package=package,
        lowest=points[low],
        highest=points[high],
        below=below,
        above=above,
        why_below=wrong(low - 1) if below else "",
        why_above=wrong(high + 1) if above else "",
    )


def _edge(own: int, direction: int, count: int, wrong: Callable[[int], str]) -> int:
    """The last place from ``own`` on before one that does not work.

    Step by step: a search by halves would leap over a hole, and a range with a hole in it is none.
    """
    at = own
    while 0 <= at + direction < count and not wrong(at + direction):
        at += direction
    return at


def _corner(
    base: Baseline, ranges: list[Range], prober: Prober, *, lowest: bool
) -> tuple[Corner, list[Range]]:
    """All at their ends together; where that fails, ends are moved in by turns until it does not."""
    first = ""
    while True:
        pins = {one.package: one.lowest if lowest else one.highest for one in ranges}
        wrong = prober.wrong(pins)
        first = first or wrong
        if not wrong:
            return Corner(pins=pins, wrong=first), ranges
        wider = [one for one in ranges if pins[one.package] != lock.public(base.packages[one.package])]
        if not wider:
            return Corner(pins=pins, wrong=wrong), ranges
        widest = max(wider, key=lambda one: _distance(one, base, pins[one.package]))
        ranges = [_narrowed(one, base, first, lowest=lowest) if one is widest else one for one in ranges]


def _distance(one: Range, base: Baseline, end: str) -> int:
    points = versions(one.package, base.packages[one.package])
    return abs(points.index(end) - points.index(lock.public(base.packages[one.package])))


def _narrowed(one: Range, base: Baseline, why: str, *, lowest: bool) -> Range:
    points = versions(one.package, base.packages[one.package])
    told = f"not with the others at their ends: {why}"
    if lowest:
        at = points.index(one.lowest)
        return replace(one, lowest=points[at + 1], below=one.lowest, why_below=told)
    at = points.index(one.highest)
    return replace(one, highest=points[at - 1], above=one.highest, why_above=told)


def upstream(base: Baseline, ranges: list[Range]) -> Iterator[str]:
    """Where a package of the stack allows a release with which it does not work."""
    for owner in (name for name in CORE if name in base.packages):
        declared = populate.declared(f"{owner}=={base.packages[owner]}")
        for one in ranges:
            for end, version, why in (
                ("floor", one.below, one.why_below),
                ("ceiling", one.above, one.why_above),
            ):
                if version and why != REFUSED and _allows(declared, one.package, version):
                    yield (
                        f"{owner} {base.packages[owner]} allows {one.package} {version}, "
                        f"but its {end} does not hold: {why}"
                    )


def _allows(declared: Sequence[Requirement], package: str, version: str) -> bool:
    found = [one for one in declared if canonicalize_name(one.name) == package]
    return bool(found) and all(one.specifier.contains(version) for one in found)


def fragment(found: Bounds) -> str:
    """The ranges as a part of ``pyproject.toml``, with what lies outside each end."""
    lines = ["[project]", "dependencies = ["]
    for one in found.ranges:
        lines += [f"    # {one.below}: {one.why_below}"] if one.below else []
        lines += [f"    # {one.above}: {one.why_above}"] if one.above else []
        lines.append(f'    "{one.package}{one.specifier}",')
    return "\n".join([*lines, "]", ""])
