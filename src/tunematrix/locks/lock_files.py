"""Reads locks of other tools: ``pylock.toml``, ``uv.lock`` and ``poetry.lock``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from tunematrix.base import toml
from tunematrix.base.errors import UsageError
from tunematrix.locks.markers import applies

# Sources of uv.lock entries: the project that the lock belongs to, and what is not a release on an index.
PROJECT_SOURCES: Final = frozenset({"virtual", "editable", "directory"})
OTHER_SOURCES: Final = frozenset({"git", "path", "url"})
ORIGINS: Final = ("vcs", "directory", "archive")  # of pylock.toml
CREDENTIALS: Final = re.compile(r"://[^/@\s]*@")
# The type of a source in poetry.lock whose releases come from an index, as "legacy" is any but PyPI.
INDEX_TYPES: Final = ("legacy", "pypi")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A package of a lock. ``where`` names it in messages, ``version`` is None for what is no release."""

    name: str
    version: str | None
    where: str
    content: Mapping[str, Any]
    source: Mapping[str, Any]

    @property
    def is_project(self) -> bool:
        """Whether it is the project that a uv.lock belongs to, or a member of its workspace."""
        return bool(self.source.keys() & PROJECT_SOURCES)

    @property
    def origin(self) -> str:
        """Where what is no release comes from, to compare; without credentials, which differ by person."""
        parts = {**self.source, **{key: self.content[key] for key in ORIGINS if key in self.content}}
        return CREDENTIALS.sub("://", json.dumps(parts, sort_keys=True, default=str))

    @property
    def is_release(self) -> bool:
        if self.is_project:
            return False
        if "type" in self.source:  # of poetry, which always has a URL
            return self.version is not None and self.source["type"] in INDEX_TYPES
        other = self.content.keys() & {"vcs", "directory"} or self.source.keys() & OTHER_SOURCES
        return self.version is not None and not other


def installed(path: Path, python: str) -> list[Entry]:
    """What a lock installs for a Python version on this platform, its project too; raises ``UsageError``."""
    content = toml.read(path)
    listed = content.get("packages") or content.get("package")
    if not isinstance(listed, list):
        raise UsageError(f"{path}: neither a pylock.toml nor a uv.lock or poetry.lock: it lists no packages")
    groups = content.get("default-groups", [])
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise UsageError(f"{path}: default-groups: must be a list of texts")
    entries = [_entry(entry, f"{path}: package {number}") for number, entry in enumerate(listed, start=1)]
    return _Reachable([entry for entry in entries if _applies(entry, python, groups)], python).entries()


def _entry(content: object, where: str) -> Entry:
    if not isinstance(content, Mapping):
        raise UsageError(f"{where}: must be a table")
    name = _name(content.get("name"), where)
    where = f"{where}, {name}"
    source = content.get("source", {})
    if not isinstance(source, Mapping):
        raise UsageError(f"{where}: source: must be a table")
    version = _version(content["version"], where) if "version" in content else None
    return Entry(name=name, version=version, where=where, content=content, source=source)


def _applies(entry: Entry, python: str, groups: list[str]) -> bool:
    """Whether one of the entry's own markers holds; true of an entry without."""
    markers = [
        *_texts(entry.content.get("resolution-markers", []), entry.where),
        *_texts(entry.content.get("marker", []), entry.where),
        *_texts(entry.content.get("markers", []), entry.where),
    ]
    return not markers or any(applies(marker, python, entry.where, groups) for marker in markers)


def _texts(value: object, where: str) -> list[str]:
    """A marker, a list of them or, in poetry.lock, a marker for each group."""
    values = list(value.values()) if isinstance(value, Mapping) else value
    found = [values] if isinstance(values, str) and values else values or []
    if not isinstance(found, list) or not all(isinstance(marker, str) for marker in found):
        raise UsageError(f"{where}: its markers must be texts")
    return found


class _Reachable:
    """The packages that a project needs on this platform, as the marker of each dependency says.

    A package that only Windows needs has no marker of its own in a uv.lock: the dependencies on it have.
    """

    def __init__(self, entries: Sequence[Entry], python: str) -> None:
        self.all, self.python = entries, python
        self.by_name: dict[str, list[Entry]] = {}
        for entry in entries:
            self.by_name.setdefault(entry.name, []).append(entry)

    def entries(self) -> list[Entry]:
        """In the order of the lock; all, if the lock does not say what its project depends on."""
        projects = [entry for entry in self.all if entry.is_project]
        left = [(entry, dependency) for entry in projects for dependency in _of_project(entry)]
        if not left:
            return list(self.all)
        seen: set[tuple[int, str]] = set()
        while left:
            owner, dependency = left.pop()
            if not self._holds(owner, dependency):
                continue
            for entry in self._entries_of(owner, dependency):
                for extra in ("", *_texts(dependency.get("extra", []), owner.where)):
                    if (id(entry), extra) not in seen:
                        seen.add((id(entry), extra))
                        left += [(entry, each) for each in _of_extra(entry, extra)]
        reached = {identity for identity, _ in seen}
        return [entry for entry in self.all if id(entry) in reached]

    def _holds(self, owner: Entry, dependency: Mapping[str, Any]) -> bool:
        marker = dependency.get("marker")
        return not marker or applies(str(marker), self.python, owner.where, [])

    def _entries_of(self, owner: Entry, dependency: Mapping[str, Any]) -> Iterator[Entry]:
        """The entry that a dependency means: its version and its source tell which, where there are two."""
        name = _name(dependency.get("name"), owner.where)
        for entry in self.by_name.get(name, []):
            if all(dependency.get(key) in (None, entry.content.get(key)) for key in ("version", "source")):
                yield entry


def _of_project(entry: Entry) -> Iterator[Mapping[str, Any]]:
    """What a project depends on, with all its extras and groups."""
    yield from _of_extra(entry, "")
    for key in ("optional-dependencies", "dev-dependencies"):
        for group in _tables(entry, key):
            yield from _dependencies(entry.content[key][group], entry)


def _of_extra(entry: Entry, extra: str) -> Iterator[Mapping[str, Any]]:
    """What a package depends on, or with one of its extras in addition."""
    if not extra:
        yield from _dependencies(entry.content.get("dependencies", []), entry)
    elif extra in (groups := _tables(entry, "optional-dependencies")):
        yield from _dependencies(groups[extra], entry)


def _tables(entry: Entry, key: str) -> Mapping[str, Any]:
    value = entry.content.get(key, {})
    if not isinstance(value, Mapping):
        raise UsageError(f"{entry.where}: {key}: must be a table")
    return value


def _dependencies(value: object, entry: Entry) -> Iterator[Mapping[str, Any]]:
    """The dependencies of a uv.lock; those of a poetry.lock are a table, of which nothing is needed."""
    for dependency in value if isinstance(value, list) else []:
        if not isinstance(dependency, Mapping):
            raise UsageError(f"{entry.where}: its dependencies must be tables")
        yield dependency


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
