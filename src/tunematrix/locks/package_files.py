"""Reads files that list packages: requirements, a ``pip freeze``, and the locks of other tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tunematrix.base import toml
from tunematrix.base.errors import UsageError
from tunematrix.base.versions import exact_version, parse_requirement
from tunematrix.locks import lock_files, markers
from tunematrix.locks.lock_files import CREDENTIALS

COMMENT: Final = re.compile(r"(^|\s)#.*")
INCLUDE: Final = re.compile(r"(?:-(r|c)\s*|--(r|c)(?:equirement|onstraint)(?:\s+|=))(.+)")
EDITABLE: Final = re.compile(r"(?:-e\s*|--editable(?:\s+|=))(.+)")
REQUIREMENT_OPTION: Final = re.compile(r"\s--[a-z][a-z-]*(?:=|\s+)\S+")  # such as --hash=sha256:...
LOCATION: Final = re.compile(r"[./~]|[a-z+]+:|\S*\.(?:whl|zip|tar\.gz)$", re.IGNORECASE)
MAX_INCLUDES: Final = 50
PROJECT: Final = "pyproject.toml"


@dataclass(kw_only=True, slots=True)
class PackageFile:
    """What a file lists. ``others`` are packages that are not releases on an index, by name or by URL.

    ``sources`` says of those with a name where they come from. ``files`` are the file itself and those that
    it includes.
    """

    requirements: list[Requirement] = field(default_factory=list)
    constraints: list[Requirement] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    @property
    def pins(self) -> dict[str, str]:
        """The packages with one version, by name."""
        pairs = ((str(canonicalize_name(item.name)), exact_version(item)) for item in self.requirements)
        return {name: version for name, version in pairs if version}

    @property
    def loose(self) -> set[str]:
        """The packages without one version, by name."""
        return {str(canonicalize_name(item.name)) for item in self.requirements} - self.pins.keys()

    def pins_beside(self, other: PackageFile) -> dict[str, str]:
        """The pins, without the packages that ``other`` lists without one version: these are not gone."""
        listed = {str(canonicalize_name(item.name)) for item in other.requirements} | {*other.others}
        return {name: pin for name, pin in self.pins.items() if name in other.pins or name not in listed}

    @property
    def unpinned(self) -> list[str]:
        """What has no version to compare: ranges, and what is no release on an index."""
        return [*(str(item) for item in self.requirements if not exact_version(item)), *self.others]


def read(path: Path, python: str) -> PackageFile:
    """The packages that ``path`` lists for a Python version; raises ``UsageError``."""
    result = PackageFile(files=[path])
    if path.name == PROJECT:
        _read_project(path, python, result)
    elif path.suffix in (".toml", ".lock"):
        _read_lock(path, python, result)
    else:
        _Requirements(python, result).read(path, result.requirements)
    return result


def _read_project(path: Path, python: str, result: PackageFile) -> None:
    project = toml.read(path).get("project")
    dependencies = project.get("dependencies") if isinstance(project, Mapping) else None
    if not isinstance(dependencies, list) or not all(isinstance(line, str) for line in dependencies):
        raise UsageError(
            f"{path}: has no list of [project] dependencies; name a lock, or a freeze of its environment"
        )
    _Requirements(python, result).add(dependencies, f"{path}: dependencies")


def _read_lock(path: Path, python: str, result: PackageFile) -> None:
    for entry in lock_files.installed(path, python):
        if entry.is_release:
            result.requirements.append(Requirement(f"{entry.name}=={entry.version}"))
        elif not entry.is_project:
            result.others.append(entry.name)
            result.sources[entry.name] = entry.origin


@dataclass(slots=True)
class _Requirements:
    """Reads a requirements file and those it includes; ``active`` leads from the first to the current."""

    python: str
    result: PackageFile
    active: list[Path] = field(default_factory=list)
    done: set[tuple[Path, bool]] = field(default_factory=set)

    def read(self, path: Path, target: list[Requirement]) -> None:
        """Add the entries of ``path`` to ``target``, requirements or constraints."""
        text, key = toml.read_text(path), path.resolve()
        if key in self.active:
            raise UsageError(f"{path}: includes itself, in {self.active[-1].name}; remove that line")
        if len(self.active) > MAX_INCLUDES:
            raise UsageError(f"{path}: included through more than {MAX_INCLUDES} files")
        if (key, target is self.result.constraints) in self.done:
            return
        self.done.add((key, target is self.result.constraints))
        self.active.append(key)
        for number, line in _lines(text):
            self._read_line(line, path, f"{path}: line {number}", target)
        self.active.pop()

    def add(self, entries: Iterable[str], where: str) -> None:
        """Add ``entries``, a requirement each."""
        for entry in entries:
            self._add(entry, where, self.result.requirements)

    def _read_line(self, line: str, path: Path, where: str, target: list[Requirement]) -> None:
        if include := INCLUDE.fullmatch(line):
            if "://" in include[3]:
                raise UsageError(f"{where}: a file at a URL cannot be included; download it first")
            constraint = "c" in (include[1], include[2])
            included = path.parent / include[3]
            if included not in self.result.files:
                self.result.files.append(included)
            self.read(included, self.result.constraints if constraint else target)
        elif editable := EDITABLE.fullmatch(line):
            self._add_other(editable[1], target)
        elif not line.startswith("-"):  # an option, such as -i URL, is for the installer
            self._add(line, where, target)

    def _add(self, line: str, where: str, target: list[Requirement]) -> None:
        entry = REQUIREMENT_OPTION.sub("", line).strip()
        if LOCATION.match(entry):
            self._add_other(entry, target)
            return
        requirement = _requirement(entry, where)
        if requirement.marker is None or markers.applies(str(requirement.marker), self.python, where, []):
            if requirement.url:
                self._add_other(canonicalize_name(requirement.name), target)
                self.result.sources[canonicalize_name(requirement.name)] = CREDENTIALS.sub(
                    "://", requirement.url
                )
            else:
                target.append(requirement)

    def _add_other(self, name: str, target: list[Requirement]) -> None:
        if target is not self.result.constraints:
            self.result.others.append(CREDENTIALS.sub("://", name))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line with an entry; a line that ends with a backslash goes on in the next."""
    start, joined = 1, ""
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            joined += line[:-1] + " "
            continue
        if entry := COMMENT.sub("", joined + line).strip():
            yield start, entry
        start, joined = number + 1, ""


def _requirement(entry: str, where: str) -> Requirement:
    try:
        return parse_requirement(entry)
    except ValueError:
        shown = CREDENTIALS.sub("://", entry)[:200]
        raise UsageError(f"{where}: {shown!r} is not a requirement") from None
