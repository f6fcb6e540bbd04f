"""Version bounds: the widest range of each package around the baseline in which every stage passes."""

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
    """The range of ``package`` that works, and why the nearest release outside each end fails."""

    package: str
    lowest: str
    highest: str
    below: str | None = None
    above: str | None = None
    why_below: str = ""
    why_above: str = ""

    @property
    def specifier(self) -> str:
        """The range as written in ``pyproject.toml``, without an upper bound if the newest release works."""
        return f">={self.lowest}" + (f",<{self.above}" if self.above else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Corner:
    """All packages at their lowest, or all at their highest; ``wrong`` is the first failure, if any."""

    pins: dict[str, str]
    wrong: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The ranges, both corners as tested, and the errors in the ranges that upstream declares."""

    ranges: list[Range]
    lowest: Corner
    highest: Corner
    upstream: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class Prober:
    """Runs pins over the baseline, each combination once; ``failures`` maps requests to what failed."""

    base: Baseline
    options: Options
    store: Store
    progress: Progress
    allow_drift: bool = True  # whether numbers and defaults may change
    failures: dict[tuple[str, ...], str] = field(default_factory=dict)
    reference: Record | None = None

    def failure(self, pins: dict[str, str]) -> str:
        """Why these pins fail, in one line; empty if they work."""
        requests = tuple(f"{name}=={version}" for name, version in sorted(pins.items()))
        if requests not in self.failures:
            self.failures[requests] = self._run(requests)
            self.progress(f"{', '.join(requests)}: {self.failures[requests] or 'works'}")
        return self.failures[requests]

    def _run(self, requests: tuple[str, ...]) -> str:
        if self.reference is None:
            self.reference = candidates.run_baseline(self.base, self.options)
        try:
            candidate = candidates.resolve(self.base, requests, self.store)
        except UnresolvableError:
            return REFUSED
        record = candidates.run(candidate, self.options, self.store)
        if record.error:
            return record.error.one_line
        for name in STAGES:
            stage = record.stage(name)
            if self.reference.stage(name).outcome == "passed" and stage.outcome != "passed":
                return f"{name}: {stage.error.one_line if stage.error else stage.outcome}"
        changes = diff.compare(self.reference, record).changes
        drift = [change.name for change in changes if upgrade.changes_behaviour(change)]
        return (
            f"{len(drift)} changes in behaviour, such as {drift[0]}" if drift and not self.allow_drift else ""
        )


def find_bounds(base: Baseline, packages: Sequence[str], prober: Prober) -> Bounds:
    """Search each package alone, then test both corners; raises ``UsageError`` for unknown packages."""
    names = [canonicalize_name(name) for name in packages]
    for name in names:
        if name not in base.packages:
            raise UsageError(f"{base.cell.name} has no package '{name}'; name one that its lock contains")
    ranges = [_find_range(base, name, prober) for name in names]
    lowest, ranges = _find_corner(base, ranges, prober, lowest=True)
    highest, ranges = _find_corner(base, ranges, prober, lowest=False)
    return Bounds(ranges=ranges, lowest=lowest, highest=highest, upstream=list(upstream_errors(base, ranges)))


def minor_releases(package: str, baseline_version: str) -> list[str]:
    """The newest final release of each minor version, ascending; the baseline's version replaces its own."""
    newest: dict[tuple[int, int], Version] = {}
    for release in releases.releases(package):
        if release.final:
            newest[release.version.major, release.version.minor] = release.version
    baseline = Version(lock.public_version(baseline_version))
    newest[baseline.major, baseline.minor] = baseline
    return [str(version) for version in sorted(newest.values())]


def _find_range(base: Baseline, package: str, prober: Prober) -> Range:
    versions = minor_releases(package, base.packages[package])
    start = versions.index(str(Version(lock.public_version(base.packages[package]))))

    def failure(index: int) -> str:
        return prober.failure({package: versions[index]})

    low = _last_working(start, -1, len(versions), failure)
    high = _last_working(start, 1, len(versions), failure)
    below = versions[low - 1] if low > 0 else None
    above = versions[high + 1] if high + 1 < len(versions) else None
    return Range(
        package=package,
        lowest=versions[low],
        highest=versions[high],
        below=below,
        above=above,
        why_below=failure(low - 1) if below else "",
        why_above=failure(high + 1) if above else "",
    )


def _last_working(start: int, direction: int, count: int, failure: Callable[[int], str]) -> int:
    """The last index from ``start`` in ``direction`` before the first that fails.

    Goes one release at a time: a range must be contiguous, and a binary search could skip a failure.
    """
    index = start
    while 0 <= index + direction < count and not failure(index + direction):
        index += direction
    return index


def _find_corner(
    base: Baseline, ranges: list[Range], prober: Prober, *, lowest: bool
) -> tuple[Corner, list[Range]]:
    """All packages at one end together; while that fails, the range that reaches farthest is narrowed."""
    first_failure = ""
    while True:
        pins = {
            package_range.package: package_range.lowest if lowest else package_range.highest
            for package_range in ranges
        }
        failure = prober.failure(pins)
        first_failure = first_failure or failure
        if not failure:
            return Corner(pins=pins, wrong=first_failure), ranges
        wider = [
            package_range
            for package_range in ranges
            if pins[package_range.package] != lock.public_version(base.packages[package_range.package])
        ]
        if not wider:
            return Corner(pins=pins, wrong=failure), ranges
        farthest = max(
            wider, key=lambda package_range: _distance(package_range, base, pins[package_range.package])
        )
        ranges = [
            _narrow(package_range, base, first_failure, lowest=lowest)
            if package_range is farthest
            else package_range
            for package_range in ranges
        ]


def _distance(package_range: Range, base: Baseline, end: str) -> int:
    """The number of minor releases between the baseline and ``end``."""
    versions = minor_releases(package_range.package, base.packages[package_range.package])
    return abs(
        versions.index(end) - versions.index(lock.public_version(base.packages[package_range.package]))
    )


def _narrow(package_range: Range, base: Baseline, failure: str, *, lowest: bool) -> Range:
    versions = minor_releases(package_range.package, base.packages[package_range.package])
    reason = f"fails with the other packages at their {'lowest' if lowest else 'highest'}: {failure}"
    if lowest:
        index = versions.index(package_range.lowest)
        return replace(
            package_range, lowest=versions[index + 1], below=package_range.lowest, why_below=reason
        )
    index = versions.index(package_range.highest)
    return replace(package_range, highest=versions[index - 1], above=package_range.highest, why_above=reason)


def upstream_errors(base: Baseline, ranges: list[Range]) -> Iterator[str]:
    """Where a package of the stack declares support for a release with which it fails, a line each."""
    for dependent in (name for name in CORE if name in base.packages):
        declared = populate.declared_requirements(f"{dependent}=={base.packages[dependent]}")
        for package_range in ranges:
            for bound, version, failure in (
                ("lower", package_range.below, package_range.why_below),
                ("upper", package_range.above, package_range.why_above),
            ):
                if version and failure != REFUSED and _allows(declared, package_range.package, version):
                    yield (
                        f"{dependent} {base.packages[dependent]} allows {package_range.package} {version}, "
                        f"but its {bound} bound is wrong: {failure}"
                    )


def _allows(declared: Sequence[Requirement], package: str, version: str) -> bool:
    matches = [requirement for requirement in declared if canonicalize_name(requirement.name) == package]
    return bool(matches) and all(requirement.specifier.contains(version) for requirement in matches)


def pyproject_fragment(bounds: Bounds) -> str:
    """The ranges as dependencies in ``pyproject.toml``, with a comment for the failure outside each end."""
    lines = ["[project]", "dependencies = ["]
    for package_range in bounds.ranges:
        lines += [f"    # {package_range.below}: {package_range.why_below}"] if package_range.below else []
        lines += [f"    # {package_range.above}: {package_range.why_above}"] if package_range.above else []
        lines.append(f'    "{package_range.package}{package_range.specifier}",')
    return "\n".join([*lines, "]", ""])
