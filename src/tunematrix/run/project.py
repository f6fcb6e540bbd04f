"""How a team's repository is imported when it is installed: its import roots, and its own commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.base import toml

FILE: Final = "pyproject.toml"
OTHERS: Final = ("setup.py", "setup.cfg")
SOURCE: Final = "src"
ENTRY_POINT: Final = re.compile(r"\s*([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_]\w*)\s*(?:\[.*\])?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """``roots`` are the folders from which its modules are imported, relative to the repository.

    ``commands`` maps a command that an installation makes to (module, function).
    """

    roots: tuple[str, ...] = ()
    commands: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def read(folder: Path) -> Project:
    """What an editable installation of the repository would bring; nothing if it is no project.

    Raises ``UsageError`` for a ``pyproject.toml`` that cannot be read.
    """
    path = folder / FILE
    content = toml.read(path) if path.is_file() else {}
    tool = _table(content, "tool")
    is_project = content.keys() & {"project", "build-system"} or "poetry" in tool
    if not is_project and not any((folder / name).is_file() for name in OTHERS):
        return Project()
    named = [name for name in _named_roots(tool) if (folder / name).is_dir()]
    source = [SOURCE] if (folder / SOURCE).is_dir() else []
    scripts = {**_table(tool, "poetry", "scripts"), **_table(content, "project", "scripts")}
    entries = {
        name: found
        for name, text in scripts.items()
        if isinstance(text, str) and (found := ENTRY_POINT.fullmatch(text))
    }
    return Project(
        roots=tuple(dict.fromkeys([*named, *source, "."])),
        commands={name: (found[1], found[2]) for name, found in entries.items()},
    )


def _named_roots(tool: Mapping[str, Any]) -> Iterator[str]:
    """The folders that poetry's and setuptools' tables name."""
    packages = _table(tool, "poetry").get("packages", [])
    for each in packages if isinstance(packages, list) else []:
        if isinstance(each, dict) and isinstance(each.get("from"), str):
            yield each["from"]
    where = _table(tool, "setuptools", "packages", "find").get("where", [])
    yield from (each for each in where if isinstance(each, str))
    if isinstance(root := _table(tool, "setuptools", "package-dir").get(""), str):
        yield root


def _table(content: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        content = content.get(key, {})
        if not isinstance(content, dict):
            return {}
    return content
