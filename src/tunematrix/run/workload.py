"""A user's own workload: configurations, data and tests in a folder, and what they read outside it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.base.files import files_below
from tunematrix.run import repository
from tunematrix.run.options import Options
from tunematrix.run.scripts import Scripts

CONFIGURATIONS: Final = ("download.yaml", "finetune.yaml", "align.yaml", "generate.yaml")
TESTS: Final = "test_*.py"
PATH: Final = re.compile(r"[\w.~-]*(?:/[\w.-]+)+|[\w-]+\.\w+")  # anything in a text that may name a file
IMPORT: Final = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?import[ \t]+(\([^)]*\)|[^\n#;]+)", re.MULTILINE
)
CODE: Final = (".py", ".sh", ".yaml", ".yml", ".toml", ".json")  # files that may name others
MAX_FILES: Final = 1000
HUGE: Final = 1_000_000_000  # bytes
SMALL: Final = 1_000_000  # bytes: larger files are data, and name no others


def check(folder: Path) -> None:
    """Raise ``UsageError`` unless ``folder`` has something that a cell can use."""
    if not folder.is_dir():
        raise UsageError(f"--workload {folder}: no such folder")
    if not any((folder / name).is_file() for name in CONFIGURATIONS) and not any(folder.glob(TESTS)):
        raise UsageError(
            f"--workload {folder}: nothing in it is used; put {', '.join(CONFIGURATIONS)} or {TESTS} there"
        )


def digest_of(options: Options) -> str:
    """A hash over the workload of ``options``; empty without one.

    Of scripts, over their commands, all of the repository that a script may read, and the files outside it
    that are named.
    """
    if scripts := options.scripts:
        return _digest_of_scripts(scripts)
    return digest(options.workload) if options.workload else ""


def _digest_of_scripts(scripts: Scripts) -> str:
    folder = scripts.folder.resolve()
    inside, outside = repository.digest(folder)
    named = {path.resolve() for path in (*scripts.named_files(), *outside) if _is_file(path)}
    commands = repr([dataclasses.astuple(stage) for stage in scripts.stages])
    return hashlib.sha256(f"{commands}{inside}{_digest(folder, sorted(named))}".encode()).hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.R_OK)
    except (OSError, ValueError):  # a name that no file system can hold
        return False


def digest(folder: Path) -> str:
    """A hash over all files of the workload, and over the files outside it that they name.

    A script that a test starts, or data beside the folder, decides the result as well.
    """
    return _digest(folder, sorted(files_below(folder)))


def _digest(folder: Path, own: list[Path]) -> str:
    result = hashlib.sha256()
    for file in (*own, *sorted(_reached(folder, own) - {path.resolve() for path in own})):
        name = file.relative_to(folder) if file.is_relative_to(folder) else file.name
        result.update(f"{name}\0{_content(file)}\0".encode())
    return result.hexdigest()


def _content(file: Path) -> str:
    """The hash of a file; of one that takes minutes to read, such as weights, its size and time."""
    if (status := file.stat()).st_size > HUGE:
        return f"{status.st_size} {status.st_mtime_ns}"
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _reached(folder: Path, own: list[Path]) -> set[Path]:
    """The files that the workload's files name or import, and what those name and import in turn."""
    reached: set[Path] = set()
    left = list(own)
    while left and len(reached) < MAX_FILES:
        file = left.pop()
        found = set(_named_files(file, (file.parent, folder, folder.parent, Path.cwd()))) - reached
        reached |= found
        left += [path for path in found if path.suffix in CODE]
    return reached


def _named_files(file: Path, bases: tuple[Path, ...]) -> Iterator[Path]:
    """The existing files whose names, or whose module names, stand in the text of ``file``."""
    if file.stat().st_size > SMALL:
        return
    text = file.read_text(encoding="utf-8", errors="replace")
    modules = set(_modules(text)) if file.suffix == ".py" else set()
    names = {*PATH.findall(text), *(f"{name}{end}" for name in modules for end in (".py", "/__init__.py"))}
    for name in names:
        for base in bases:
            path = base / name
            if len(name) < 255 and path.is_file():
                yield path.resolve()


def _modules(text: str) -> Iterator[str]:
    """The modules that a Python file imports, as paths; each name behind ``from ... import`` may be one."""
    for package, names in IMPORT.findall(text):
        dots = len(package) - len(package.lstrip("."))
        start = "./" + "../" * (dots - 1) if dots else ""
        parent = start + package[dots:].replace(".", "/")
        if package.strip("."):
            yield parent
        for name in re.findall(r"(?:^|,)\s*\(?\s*([\w.]+)", names):
            path = name.replace(".", "/")
            yield f"{parent.rstrip('/')}/{path}" if package else path
