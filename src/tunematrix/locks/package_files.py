"""Reads files that list packages: requirements, a ``pip freeze``, ``pylock.toml`` and ``uv.lock``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from tunematrix.base import toml
from tunematrix.base.errors import UsageError
from tunematrix.base.versions import parse_requirement

COMMENT: Final = re.compile(r"(^|\s)#.*")
INCLUDE: Final = re.compile(r"(?:-(r|c)\s*|--(r|c)(?:equirement|onstraint)(?:\s+|=))(.+)")
EDITABLE: Final = re.compile(r"(?:-e\s*|--editable(?:\s+|=))(.+)")
REQUIREMENT_OPTION: Final = re.compile(r"\s--[a-z][a-z-]*(?:=|\s+)\S+")  # such as --hash=sha256:...
LOCATION: Final = re.compile(r"[./~]|[a-z+]+:|\S*\.(?:whl|zip|tar\.gz)$", re.IGNORECASE)
CREDENTIALS: Final = re.compile(r"://[^/@\s]*@")
MAX_INCLUDES: Final = 50
# Sources of uv.lock entries: the project that the lock belongs to, and what is not a release on an index.
PROJECT_SOURCES: Final = frozenset({"virtual", "editable", "directory"})
OTHER_SOURCES: Final = frozenset({"git", "path", "url"})


@dataclass(kw_only=True, slots=True)
class PackageFile:
    """What a file lists. ``others`` are packages that are not releases on an index, by name or by URL."""

    requirements: list[Requirement] = field(default_factory=list)
    constraints: list[Requirement] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def read(path: Path, python: str) -> PackageFile:
    """The packages that ``path`` lists for a Python version; raises ``UsageError``."""
    result = PackageFile()
    if path.suffix in (".toml", ".lock"):
        _read_lock(path, python, result)
    else:
        _Requirements(python, result).read(path, result.requirements)
    return result


def _read_lock(path: Path, python: str, result: PackageFile) -> None:
    """Read a ``pylock.toml`` or, with the key ``package``, a ``uv.lock``."""
    content = toml.read(path)
    entries = content.get("packages") or content.get("package")
    if not isinstance(entries, list):
        raise UsageError(f"{path}: neither a pylock.toml nor a uv.lock: it lists no packages")
    groups = content.get("default-groups", [])
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise UsageError(f"{path}: default-groups: must be a list of texts")
    for number, entry in enumerate(entries, start=1):
        where = f"{path}: package {number}"
        if not isinstance(entry, Mapping):
            raise UsageError(f"{where}: must be a table")
        _read_entry(entry, python, groups, where, result)


def _read_entry(
    entry: Mapping[str, Any], python: str, groups: list[str], where: str, result: PackageFile
) -> None:
    name = _name(entry.get("name"), where)
    where = f"{where}, {name}"
    markers = entry.get("resolution-markers") or ([entry["marker"]] if entry.get("marker") else [])
    if not isinstance(markers, list) or not all(isinstance(marker, str) for marker in markers):
        raise UsageError(f"{where}: its markers must be texts")
    source = entry.get("source", {})
    if not isinstance(source, Mapping):
        raise UsageError(f"{where}: source: must be a table")
    if markers and not any(_applies(marker, python, where, groups) for marker in markers):
        return
    if source.keys() & PROJECT_SOURCES:
        return
    if "version" not in entry or entry.keys() & {"vcs", "directory"} or source.keys() & OTHER_SOURCES:
        result.others.append(name)
    else:
        result.requirements.append(Requirement(f"{name}=={_version(entry['version'], where)}"))


def _name(name: object, where: str) -> str:
    try:
        return canonicalize_name(str(name) if isinstance(name, str) else "", validate=True)
    except InvalidName:
        raise UsageError(f"{where}: name: {name!r} is not the name of a package") from None


def _version(version: object, where: str) -> str:
    try:
        return str(Version(version if isinstance(version, str) else ""))
    except ValueError:
        raise UsageError(f"{where}: version: {version!r} is not a version") from None


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

    def _read_line(self, line: str, path: Path, where: str, target: list[Requirement]) -> None:
        if include := INCLUDE.fullmatch(line):
            if "://" in include[3]:
                raise UsageError(f"{where}: a file at a URL cannot be included; download it first")
            constraint = "c" in (include[1], include[2])
            self.read(path.parent / include[3], self.result.constraints if constraint else target)
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
        if requirement.marker is None or _applies(str(requirement.marker), self.python, where, []):
            if requirement.url:
                self._add_other(canonicalize_name(requirement.name), target)
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


def _applies(marker: str, python: str, where: str, groups: list[str]) -> bool:
    """Whether an environment marker holds for a Python version, of which the newest patch is assumed."""
    release = python.split(".")
    full_version = python if len(release) > 2 else f"{python}.99"
    environment: dict[str, str | frozenset[str]] = {
        "python_version": ".".join(release[:2]),
        "python_full_version": full_version,
        "implementation_version": full_version,
        "extra": "",
        "extras": frozenset(),
        "dependency_groups": frozenset(groups),
    }
    try:
        return Marker(marker).evaluate(environment, context="lock_file")
    except (ValueError, UndefinedComparison, UndefinedEnvironmentName):
        raise UsageError(f"{where}: {marker[:200]!r} is not an environment marker") from None
