"""Programs of a team: which Python runs, how they run as ``__main__``, and the copy that they run in."""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Folders of tools, and of results: no script reads them.
LEFT_OUT: Final = (
    ".git", ".hg", ".venv", "venv", ".nox", ".tox", ".tunematrix", "node_modules", "results", "__pycache__",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", "wandb", "mlruns",
)  # fmt: skip
LARGEST_COPY: Final = 20_000_000  # bytes; a larger file is linked, since it is data
TAIL: Final = 30  # lines of output


def python_program(words: Sequence[str], folder: Path) -> tuple[str, list[str]] | None:
    """``("train.py", arguments)`` or ``("-m MODULE", arguments)`` if Python runs it; else None."""
    first, rest = words[0], list(words[1:])
    if Path(first).name in ("python", "python3", Path(sys.executable).name):
        if rest[:1] == ["-m"] and len(rest) > 1:
            return f"-m {rest[1]}", rest[2:]
        return (rest[0], rest[1:]) if rest and not rest[0].startswith("-") else None
    script = Path(sys.executable).parent / first
    # Under a long path, an installed program starts with a line for sh, and Python stands in the second.
    if "/" not in first and script.is_file() and b"python" in script.read_bytes()[:1000]:
        return str(script), rest
    return (first, rest) if first.endswith(".py") and (folder / first).is_file() else None


def run_here(program: tuple[str, list[str]], output: int) -> None:
    """Run a program as ``__main__``, with what it prints in the file ``output``."""
    name, arguments = program
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    # What runs the tests may have put something of its own in their place.
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115  # open until the child ends
    try:
        if name.startswith("-m "):
            sys.argv = [name[3:], *arguments]
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(name[3:], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [name, *arguments]
            sys.path.insert(0, str(Path(name).resolve().parent))
            runpy.run_path(name, run_name="__main__")
    finally:
        sys.stdout.flush()


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder without what tools and runs leave in it; large files are linked."""

    def copy(path: str, to: str) -> None:
        if Path(path).stat().st_size > LARGEST_COPY:
            Path(to).symlink_to(Path(path).resolve())
        else:
            shutil.copy2(path, to)

    def leave_out(folder: str, names: list[str]) -> list[str]:
        there = Path(folder)
        return [
            name
            for name in names
            if name in LEFT_OUT
            or (there / name / "pyvenv.cfg").is_file()
            or not ((there / name).is_dir() or (there / name).is_file())
        ]

    shutil.copytree(source, target, ignore=leave_out, copy_function=copy)


def tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
