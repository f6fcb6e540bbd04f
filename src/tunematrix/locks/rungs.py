"""Rungs: a chain of locks in which each differs from the one before by one release, and what it forces.

The chain starts with what the resolver takes on its first day. Then the releases of ``PACKAGES`` join one by
one, in the order of their days. One that the bounds of the others refuse waits until it can join, alone or
together with what lets it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.version import Version

from tunematrix.base.errors import UnresolvableError
from tunematrix.base.files import write_atomic
from tunematrix.locks import lock, uv
from tunematrix.locks.releases import releases
from tunematrix.locks.table import CORE, Cell

PACKAGES: Final = (
    "accelerate",
    "datasets",
    "huggingface-hub",
    "peft",
    "safetensors",
    "tokenizers",
    "transformers",
    "trl",
)
Progress = Callable[[str], None]
Moves = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, order=True, slots=True)
class Step:
    """A release that is to join the chain."""

    day: datetime.date
    package: str
    version: Version

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung:
    """A lock of the chain. ``package`` moved from ``before`` to ``after``; ``also`` is what moved with it.

    The first rung of a chain has no package.
    """

    name: str
    day: datetime.date
    path: Path
    packages: Mapping[str, str]
    package: str = ""
    before: str = ""
    after: str = ""
    also: Moves = field(default_factory=dict)


def steps(since: datetime.date, until: datetime.date) -> list[Step]:
    """The final releases of all packages after ``since``, the oldest first."""
    return sorted(
        Step(release.day, package, release.version)
        for package in PACKAGES
        for release in releases(package)
        if since < release.day <= until and release.final
    )


def chain(
    folder: Path, since: datetime.date, until: datetime.date, base: Cell, progress: Progress
) -> Iterator[Rung]:
    """Yield the rungs as their locks are made in ``folder``; those that are there are not made again.

    ``base`` names the Python and the torch of all rungs. ``progress`` receives the releases that never join:
    those not newer than what is there, and those that others refuse up to the end.
    """
    rung = _start(folder, since, base)
    yield rung
    waiting: list[Step] = []
    for step in steps(since, until):
        if not _is_newer(step, rung):
            progress(f"{step}: not newer than {rung.packages[step.package]}, left out")
            continue
        following = _join(folder, rung, step, step.day, base.python, alone=False)
        if following is None:
            if _exists_for(step, base.python):
                waiting.append(step)
            else:
                progress(f"{step}: not for Python {base.python}")
        while following is not None:
            rung = following
            yield rung
            waiting = [each for each in waiting if _is_newer(each, rung)]
            tries = (
                _join(folder, rung, each, step.day, base.python, alone=alone)
                for alone in (True, False)
                for each in waiting
            )
            following = next((found for found in tries if found is not None), None)
    for each in waiting:
        progress(f"{each}: what else is there refuses it")


def _start(folder: Path, since: datetime.date, base: Cell) -> Rung:
    """The newest release of each package on the first day, as far as they go together, the core first."""
    path = folder / f"{since}-start.txt"
    origin = f"# Python {base.python}, {dict(base.pins)}\n"
    if not (path.is_file() and path.read_text().startswith(origin)):
        today = datetime.datetime.now(datetime.UTC).date()
        pins, text = dict(base.pins), ""
        for package in (*CORE, *(name for name in PACKAGES if name not in CORE)):
            final = (release for release in releases(package) if release.final and release.day <= since)
            newest = max(final, default=None)
            wanted = {**pins, package: str(newest.version)} if newest else pins
            with contextlib.suppress(UnresolvableError):
                text = lock.resolve(dataclasses.replace(base, pins=wanted, as_of=since), today)
                pins = wanted
        write_atomic(path, origin + (text or lock.resolve(dataclasses.replace(base, as_of=since), today)))
    return Rung(name=path.stem, day=since, path=path, packages=lock.read_versions(path))


def _is_newer(step: Step, rung: Rung) -> bool:
    return step.version > Version(rung.packages.get(step.package, "0"))


def _exists_for(step: Step, python: str) -> bool:
    """Whether the release has files for this Python version; one without would wait for ever."""
    requirement = f"{step.package}=={step.version}\n"
    options = ["--quiet", "--no-deps", "--python-version", python]
    completed = uv.run("pip", "compile", *options, "-", stdin=requirement)
    return not completed.returncode or uv.is_infrastructure(completed.stderr)


def _join(
    folder: Path, rung: Rung, step: Step, day: datetime.date, python: str, *, alone: bool
) -> Rung | None:
    """The rung on which ``step`` joins, or None; unless ``alone``, others may move with it."""
    name = f"{day}-{step.package}-{step.version}"
    path = folder / f"{name}.txt"
    origin = f"# after {rung.name} {lock.digest(rung.path.read_text())}\n"
    if not (path.is_file() and path.read_text().startswith(origin)):
        exactly = {package: f"=={version}" for package, version in _core(rung).items()}
        text = _compile(rung, step, day, exactly, python)
        if text is None and not alone:
            at_least = {package: f">={version}" for package, version in _core(rung).items()}
            text = _compile(rung, step, day, at_least, python)
        if text is None:
            return None
        write_atomic(path, origin + text)
    packages = lock.read_versions(path)
    also = {
        other: (rung.packages.get(other, ""), packages.get(other, ""))
        for other in sorted(rung.packages.keys() | packages.keys())
        if rung.packages.get(other) != packages.get(other) and other != step.package
    }
    before = rung.packages.get(step.package, "")
    return Rung(
        name=name,
        day=day,
        path=path,
        packages=packages,
        package=step.package,
        before=before,
        after=str(step.version),
        also=also,
    )


def _core(rung: Rung) -> dict[str, str]:
    return {package: rung.packages[package] for package in PACKAGES if package in rung.packages}


def _compile(
    rung: Rung, step: Step, day: datetime.date, others: Mapping[str, str], python: str
) -> str | None:
    """The lock with ``step``, with what is there kept where that is possible; None if it is refused."""
    torch = rung.packages["torch"]
    pins = {**others, "torch": f"=={lock.public_version(torch)}", step.package: f"=={step.version}"}
    wanted = [*pins, *(name for name in (*lock.WORKFLOW_PACKAGES, *lock.TEST_TOOLS) if name not in pins)]
    extra = ["rich"] if "rich" in rung.packages else []
    requirements = [*(f"{name}{pins.get(name, '')}" for name in wanted), *extra]
    options = ["--no-annotate", "--python-version", python, "--exclude-newer", lock.end_of_day(day)]
    # By itself uv takes a prerelease where nothing else fits; such a release then waits for the final one.
    options += ["--prerelease", "disallow"]
    for package in lock.PLATFORM:
        options += ["--exclude-newer-package", f"{package}=2999-01-01"]
    platform = uv.torch_options(pins["torch"], python)
    try:
        text = uv.compile_over(rung.packages, requirements, options, platform)
    except UnresolvableError:
        return None
    kept = lock.versions(text)
    backwards = [
        name
        for name, requirement in others.items()
        if name in kept and requirement.startswith(">=") and Version(kept[name]) < Version(requirement[2:])
    ]
    return None if backwards else text
