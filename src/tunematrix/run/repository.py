"""A hash over a team's repository: whatever of it a script may read.

Which files a script reads cannot be known from its text: imports and paths are made at run time. So all that
the cell's copy of the repository has counts. A change that no script reads costs one more run; a change that
is overlooked costs a wrong answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tunematrix.base.store import results_folder
from tunematrix.locks import table
from tunematrix.shared.repositories import LEFT_OUT

ENVIRONMENT: Final = "pyvenv.cfg"
# What people and editors read; if a command names such a file, it counts all the same.
NOT_READ: Final = frozenset({".github", ".gitlab", ".idea", ".vscode", ".DS_Store"})
DOCUMENTATION: Final = re.compile(r".*\.(md|rst)|(LICEN[SC]E|COPYING|NOTICE)(\..*)?", re.IGNORECASE)
ANYWHERE: Final = re.compile(
    r".*\.(log|pyc)|events\.out\.tfevents\..*|(README|CHANGELOG)(\..*)?", re.IGNORECASE
)
DOCUMENTS: Final = "docs"  # a folder at the top, unless the code names it
NAMES_DOCUMENTS: Final = re.compile(rb"""docs["'/]""")
SOURCE: Final = frozenset({
    ".py", ".yaml", ".yml", ".toml", ".json", ".jsonl", ".txt", ".jinja", ".jinja2", ".j2", ".sh", ".cfg",
    ".ini", ".conf", ".env", ".csv", ".tsv",
})  # fmt: skip
CODE: Final = frozenset({".py", ".sh", ".yaml", ".yml", ".toml", ".json", ".cfg", ".ini", ".conf", ".env"})
LARGE: Final = 5_000_000  # bytes: larger ones count by size and time, since all are read for every answer
SMALL: Final = 100_000  # the same for files that are no source, such as images
MAX_NAMING: Final = 1_000_000  # larger files are data, and name no others
# Patterns that start with a letter of the text: a choice or a look behind takes fifty times as long.
ABSOLUTE: Final = re.compile(rb"/[\w.+-]+(?:/[\w.+-]+)+")
INSIDE: Final = re.compile(rb"[\w./:+-]")  # before a slash: the path is relative, or a URL
OURS: Final = (table.FILE, "accepted.toml", "known-issues.toml", "known-changes.toml")


def digest(folder: Path) -> tuple[str, set[Path]]:
    """A hash over what the copy of ``folder`` has, and the files outside it that its files name.

    Outside means by an absolute path: the scripts run in a copy, where no other path leads there.
    """
    root = folder.resolve()
    seen = _Seen(own=_own_places())
    seen.add_folder(root, "")
    if seen.names_documents:
        seen.add_folder(root / DOCUMENTS, f"{DOCUMENTS}/")
    return seen.hash.hexdigest(), {path for path in seen.outside if not path.is_relative_to(root)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file that counts; ``linked`` if a link leads to its folder, where data of any size may lie."""

    name: str
    path: Path
    status: os.stat_result
    linked: bool


@dataclass(slots=True)
class _Seen:
    """What was read so far; ``own`` are the places that do not count."""

    own: set[tuple[int, int]]
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)
    outside: set[Path] = field(default_factory=set)
    names_documents: bool = False

    def add_folder(self, folder: Path, prefix: str) -> None:
        for file in _files(folder, prefix, self.own):
            with contextlib.suppress(OSError):  # what cannot be read, the copy leaves out too
                line = f"{file.name}\0{self._content(file)}\0"
                self.hash.update(line.encode(errors="surrogateescape"))

    def _content(self, file: _File) -> str:
        """What stands for the content of a file: its hash, or size and time."""
        suffix = file.path.suffix.lower()
        if file.linked or file.status.st_size > (LARGE if suffix in SOURCE else SMALL):
            return f"{file.status.st_size} {file.status.st_mtime_ns}"
        content = file.path.read_bytes()
        if suffix in CODE and len(content) <= MAX_NAMING:
            self.outside.update(_absolute_paths(content))
            self.names_documents = self.names_documents or bool(NAMES_DOCUMENTS.search(content))
        return hashlib.sha256(content).hexdigest()


def _absolute_paths(content: bytes) -> Iterator[Path]:
    for match in ABSOLUTE.finditer(content):
        before = content[max(match.start() - 1, 0) : match.start()]
        if before == b"~":
            yield Path.home() / os.fsdecode(match[0][1:])
        elif not INSIDE.match(before):
            yield Path(os.fsdecode(match[0]))


def _own_places() -> set[tuple[int, int]]:
    """What this project writes while it runs: results, cells, and files to which its output goes.

    By device and inode, so that no spelling of a path matters.
    """
    constraints = table.constraints_folder()
    places: list[Path | int] = [results_folder()]
    if table.has_cells(constraints) or any((constraints / name).is_file() for name in OURS):
        places.append(constraints)
    places += [stream.fileno() for stream in (sys.__stdout__, sys.__stderr__) if stream and not stream.closed]
    return {(status.st_dev, status.st_ino) for place in places if (status := _status(place))}


def _status(place: Path | int) -> os.stat_result | None:
    try:
        return os.stat(place)  # noqa: PTH116  # of a descriptor too
    except (OSError, ValueError):
        return None


def _files(root: Path, prefix: str, own: set[tuple[int, int]]) -> Iterator[_File]:
    """Each file that counts, in the order of their names; ``prefix`` is that of all.

    Links are followed, since scripts follow them; one to a folder that it lies in ends there.
    """
    left: list[tuple[Path, str, tuple[tuple[int, int], ...], bool]] = [(root, prefix, (), False)]
    while left:
        folder, start, above, linked = left.pop()
        folders = []
        for name in _names(folder, is_root=not start):
            path = folder / name
            status = _status(path)
            identity = (status.st_dev, status.st_ino) if status else (0, 0)
            if not status or identity in own or identity in above:
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append((path, f"{start}{name}/", (*above, identity), linked or path.is_symlink()))
            elif stat.S_ISREG(status.st_mode) and not ANYWHERE.fullmatch(name):
                yield _File(name=f"{start}{name}", path=path, status=status, linked=linked)
        left += reversed(folders)


def _names(folder: Path, *, is_root: bool) -> list[str]:
    """The names in a folder that count; none of a virtual environment and of one that cannot be read."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  # thousands of names: no path of each
    except OSError:
        return []
    if ENVIRONMENT in names and not is_root:
        return []
    return sorted(
        name
        for name in names
        if name not in LEFT_OUT
        and name not in NOT_READ
        and not (is_root and (name == DOCUMENTS or DOCUMENTATION.fullmatch(name)))
    )
