"""Version bounds: the widest range of each package around the baseline in which every stage passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks import lock, populate, releases, table
from tunematrix.locks.table import CORE
from tunematrix.questions import candidate as candidates
from tunematrix.questions.candidate import Baseline, Progress
from tunematrix.run.options import Options
from tunematrix.verdict.answer import Knowledge, judge

REFUSED: Final = "the resolver refuses it"
LONGEST: Final = 120


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
    """All packages at their lowest, or all at their highest.

    ``wrong`` is the first failure on the way there, ``works`` whether the pins themselves pass.
    """

    pins: dict[str, str]
    wrong: str = ""
    works: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The ranges, both corners as tested, and the errors in the ranges that upstream declares."""

    ranges: list[Range]
    lowest: Corner
    highest: Corner
    upstream: list[str] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)  # stages that the baseline itself does not pass
    workload: str = "the pipeline of tunematrix"


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
        if error := record.machine_error:
            raise InfrastructureError(f"{', '.join(requests)}: {error.one_line}; run the command again")
        if record.error:
            return _brief(record.error.one_line)
        for name in record.stage_names:
            stage = record.stage(name)
            if self.reference.stage(name).outcome == "passed" and stage.outcome != "passed":
                return _brief(f"{name}: {stage.error.one_line if stage.error else stage.outcome}")
        return "" if self.allow_drift else self._drift(self.reference, record)

    def _drift(self, reference: Record, record: Record) -> str:
        """The first change of behaviour that nobody accepted, as ``upgrade`` finds it."""
        knowledge = Knowledge.load(table.constraints_folder())
        found = judge(reference, record, knowledge).of("broken", "wrong", "training", "default")
        return _brief(found[0].title) if found else ""


def _brief(text: str) -> str:
    """An error in at most 120 characters, since it becomes a comment in ``pyproject.toml``."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def find_bounds(base: Baseline, packages: Sequence[str], prober: Prober) -> Bounds:
    """Search each package alone, then test both corners; raises ``UsageError`` for unknown packages."""
    names = [canonicalize_name(name) for name in packages]
    for name in names:
        if name not in base.packages:
            raise UsageError(f"{base.cell.name} has no package '{name}'; name one that its lock contains")
    ranges = [_find_range(base, name, prober) for name in names]
    lowest, ranges = _find_corner(base, ranges, prober, lowest=True)
    highest, ranges = _find_corner(base, ranges, prober, lowest=False)
    reference = prober.reference or candidates.run_baseline(base, prober.options)
    return Bounds(
        ranges=ranges,
        lowest=lowest,
        highest=highest,
        upstream=list(upstream_errors(base, ranges)),
        untested=[name for name in reference.stage_names if reference.stage(name).outcome != "passed"],
        workload=str(prober.options.workload or "the pipeline of tunematrix"),
    )


def final_releases(base: Baseline, package: str) -> list[str]:
    """Every final release and the baseline's own version, ascending."""
    versions = {release.version for release in releases.releases(package) if release.final}
    return [str(version) for version in sorted(versions | {_own_version(base, package)})]


def newest_patches(base: Baseline, package: str) -> list[str]:
    """The newest final release of each minor version, ascending; the baseline's version replaces its own."""
    newest = {
        (version.major, version.minor): version for version in map(Version, final_releases(base, package))
    }
    own = _own_version(base, package)
    newest[own.major, own.minor] = own
    return [str(version) for version in sorted(newest.values())]


def _own_version(base: Baseline, package: str) -> Version:
    return Version(lock.public_version(base.packages[package]))


def _find_range(base: Baseline, package: str, prober: Prober) -> Range:
    """Walk the minor versions, then every patch release next to each end.

    Without the second walk the range would include every patch release between the last good and the first
    bad minor version, though one of them may be the first bad release.
    """

    def failure(version: str) -> str:
        return prober.failure({package: version})

    coarse, fine = newest_patches(base, package), final_releases(base, package)
    own = str(_own_version(base, package))
    ends = []
    for step in (-1, 1):
        good, bad = _walk(coarse, own, step, failure)
        inside = fine[fine.index(good) :: step] if bad is None else _between(fine, good, bad)
        ends.append(_walk(inside, good, 1, failure) if bad is not None or step < 0 else (good, bad))
    (lowest, below), (highest, above) = ends
    return Range(
        package=package,
        lowest=lowest,
        highest=highest,
        below=below,
        above=above,
        why_below=failure(below) if below else "",
        why_above=failure(above) if above else "",
    )


def _between(versions: Sequence[str], good: str, bad: str) -> list[str]:
    """The releases from ``good`` to ``bad``, both included, in this direction."""
    first, last = versions.index(good), versions.index(bad)
    return list(versions[first : last + 1]) if first < last else list(versions[last : first + 1])[::-1]


def _walk(
    versions: Sequence[str], start: str, step: int, failure: Callable[[str], str]
) -> tuple[str, str | None]:
    """The last version from ``start`` on that works, and the one after it, which fails; None if all work.

    Goes one release at a time: a range must be contiguous, and a binary search could skip a failure.
    """
    index = versions.index(start)
    while 0 <= index + step < len(versions):
        if failure(versions[index + step]):
            return versions[index], versions[index + step]
        index += step
    return versions[index], None


def _find_corner(
    base: Baseline, ranges: list[Range], prober: Prober, *, lowest: bool
) -> tuple[Corner, list[Range]]:
    """All packages at one end together; while that fails, the range that reaches farthest is narrowed."""
    first_failure = ""
    while True:
        pins = {item.package: item.lowest if lowest else item.highest for item in ranges}
        failure = prober.failure(pins)
        first_failure = first_failure or failure
        wider = [item for item in ranges if Version(pins[item.package]) != _own_version(base, item.package)]
        if not failure or not wider:
            return Corner(pins=pins, wrong=first_failure, works=not failure), ranges
        farthest = max(wider, key=lambda item: len(_steps(base, item, pins[item.package])))
        ranges = [
            _narrow(base, item, first_failure, lowest=lowest) if item is farthest else item for item in ranges
        ]


def _steps(base: Baseline, item: Range, end: str) -> list[str]:
    """The minor versions from the baseline's to ``end``, which may be a patch release itself."""
    own = str(_own_version(base, item.package))
    versions = sorted({*newest_patches(base, item.package), end}, key=Version)
    return _between(versions, own, end)


def _narrow(base: Baseline, item: Range, failure: str, *, lowest: bool) -> Range:
    """``item`` with one end a step closer to the baseline."""
    reason = f"fails with the other packages at their {'lowest' if lowest else 'highest'}: {failure}"
    end = item.lowest if lowest else item.highest
    closer = _steps(base, item, end)[-2]
    if lowest:
        return replace(item, lowest=closer, below=end, why_below=reason)
    return replace(item, highest=closer, above=end, why_above=reason)


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
    lines = [f"# Every stage of {bounds.workload} passes in these ranges.", "[project]", "dependencies = ["]
    for package_range in bounds.ranges:
        lines += [f"    # {package_range.below}: {package_range.why_below}"] if package_range.below else []
        lines += [f"    # {package_range.above}: {package_range.why_above}"] if package_range.above else []
        lines.append(f'    "{package_range.package}{package_range.specifier}",')
    return "\n".join([*lines, "]", ""])
