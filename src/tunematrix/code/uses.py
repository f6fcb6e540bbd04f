"""The names, calls and arguments of the stack that Python files use, read without running them."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.code import configurations
from tunematrix.code.modules import Modules
from tunematrix.code.reader import Reader, Use

LEFT_OUT: Final = (
    ".git", ".hg", ".venv", "venv", ".nox", ".tox", ".tunematrix", "node_modules", "results", "__pycache__",
    "site-packages", "build", "dist",
)  # fmt: skip
MAX_BYTES: Final = 2_000_000  # of a file; larger ones are data
MAX_FILES: Final = 20_000
MAX_CHAIN: Final = 4  # modules from which one imports what the next one got from the stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """The uses in ``files`` Python files; ``unreadable`` are those that cannot be parsed, with the reason.

    ``path`` is the file or the folder that was read, where there is one.
    """

    uses: tuple[Use, ...]
    files: int
    unreadable: tuple[str, ...] = ()
    path: Path | None = None


def read(path: Path) -> Code:
    """The uses in a Python file, or in all below a folder and its configurations; no environments.

    Raises ``UsageError`` if there is nothing to read.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    root = path if path.is_dir() else path.parent
    files = {file.relative_to(root).as_posix(): file for file in python_files(path)}
    found: dict[str, Iterable[Use]] = {}
    unreadable: list[str] = []
    modules, left, number = Modules(), list(files), len(files)
    for _ in range(MAX_CHAIN):  # files that import from others are read again once those are known
        before = dict(modules.offered)
        for name in left:
            try:
                found[name] = _uses(files[name].read_bytes(), name, modules)
            except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                unreadable.append(f"{name}: {reason}")
        left = [name for name in modules.newly_served(before) if name in found]
    uses = [use for name in files for use in found.get(name, ())]
    if path.is_dir():
        uses += configurations.find(files_below(path, configurations.is_configuration), root, uses)
    if not (number or uses):
        raise UsageError(f"{path}: no Python file and no configuration of a training in it")
    return Code(uses=tuple(sorted(uses)), files=number, unreadable=tuple(unreadable), path=path)


def python_files(path: Path) -> Iterator[Path]:
    """The Python files of a folder in the order of their names; no environments, caches and large files."""
    return files_below(path, lambda name: name.endswith(".py"))


def files_below(path: Path, wanted: Callable[[str], bool]) -> Iterator[Path]:
    """The files whose names are ``wanted``, in the order of names, no environments; or the file ``path``."""
    if path.is_file():
        yield path
        return
    found = 0
    for folder, folders, files in os.walk(path):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders if name not in LEFT_OUT and not (here / name / "pyvenv.cfg").is_file()
        )
        for name in sorted(files):
            file = here / name
            if wanted(name) and file.is_file() and file.stat().st_size <= MAX_BYTES:
                found += 1
                if found > MAX_FILES:
                    raise UsageError(f"{path}: more than {MAX_FILES} files; name the folder of yours")
                yield file


def _uses(content: bytes, file: str, modules: Modules) -> Iterable[Use]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in somebody's code
        tree = ast.parse(content)
    return uses_of(tree, file, modules)


def uses_of(tree: ast.Module, file: str, modules: Modules | None = None) -> Iterable[Use]:
    """The uses in a parsed file; ``modules`` are those that it may import from, to which it is added."""
    return Reader(file, modules).read(tree)
