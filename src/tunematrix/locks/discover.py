"""The environment of a repository that knows nothing of this project: its lock, its pins, or its packages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.locks import package_files, uv
from tunematrix.locks.table import CORE

LOCKS: Final = ("uv.lock", "pylock.toml", "poetry.lock")
ENVIRONMENTS: Final = (".venv", "venv")
FREEZE: Final = "environment.txt"


def find(folder: Path, state: Path, python: str) -> tuple[Path, str]:
    """The file that pins the stack, and what it is, for people: also what is skipped, and what it lacks.

    In this order: ``uv.lock``, ``pylock.toml``, ``poetry.lock``, a ``requirements*.txt`` that names the
    stack, and for a ``pyproject.toml`` the packages that are installed, written to the folder ``state``.
    A lock that names nothing of the stack, such as that of the documentation, is skipped. Raises
    ``UsageError`` if there is none of them.
    """
    skipped: list[str] = []
    for path, stack in _candidates(folder):
        listed = package_files.read(path, python)
        if {item.name for item in listed.requirements} & stack or {*listed.others} & stack:
            return path, _described(path, listed.others, skipped)
        if path.name in LOCKS:
            skipped.append(path.name)
    if (folder / "pyproject.toml").is_file() and (environment := _environment(folder)):
        path = state / FREEZE
        freeze = _releases_of(uv.freeze(environment))
        if any(line.startswith(tuple(f"{name}==" for name in CORE)) for line in freeze.splitlines()):
            write_atomic(path, freeze)
            return path, f"what is installed in {environment}{_skipped(skipped)}"
    tried = ", ".join((*LOCKS, "requirements*.txt", "an environment beside pyproject.toml"))
    raise UsageError(
        f"nothing here pins {', '.join(CORE)} (looked for {tried}); name a lock or a freeze with --baseline"
    )


def _candidates(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    """Files that may pin the stack, each with the packages of which it must name one."""
    for name in LOCKS:
        if (folder / name).is_file():
            yield folder / name, {*CORE, "torch"}
    for path in sorted(folder.glob("requirements*.txt"), key=lambda path: (len(path.name), path.name)):
        yield path, {*CORE}


def _described(path: Path, others: Sequence[str], skipped: Sequence[str]) -> str:
    lacks = f", without its {', '.join(others)} (no release on an index)" if others else ""
    return f"{path.name}{lacks}{_skipped(skipped)}"


def _skipped(names: Sequence[str]) -> str:
    return f", since {' and '.join(names)} names nothing of the stack" if names else ""


def _releases_of(text: str) -> str:
    """The lines of a freeze that are releases; editable installs and paths are the team's own code."""
    return "".join(f"{line}\n" for line in text.splitlines() if "==" in line)


def _environment(folder: Path) -> Path | None:
    """The environment beside the project, else the active one."""
    names = [folder / name for name in ENVIRONMENTS]
    if active := os.environ.get("VIRTUAL_ENV"):
        names.append(Path(active))
    return next((path for path in names if (path / "pyvenv.cfg").is_file()), None)
