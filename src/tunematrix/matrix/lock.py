"""Locks: every package of a cell pinned, made by uv from ``matrix.toml``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tunematrix.matrix import uv
from tunematrix.matrix.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.matrix.store import write_atomic
from tunematrix.matrix.table import Cell

# The tools that the tests need inside a cell; nothing else of ours is installed there.
TOOLS: Final = ("pytest", "pytest-timeout", "pytest-reportlog", "click", "pyyaml")
# Packages the workflow needs that the pins may not bring with them.
NEEDED: Final = ("accelerate", "datasets")
# Torch, what it needs itself, and setuptools are of today in every cell: the machine's, not the day's.
PLATFORM: Final = (
    "torch",
    "filelock",
    "fsspec",
    "jinja2",
    "markupsafe",
    "mpmath",
    "networkx",
    "setuptools",
    "sympy",
    "typing-extensions",
)


def requirements(cell: Cell) -> str:
    """What uv is asked to resolve: the pins, the workflow's needs and the test tools."""
    free = [name for name in (*NEEDED, *TOOLS) if name not in cell.pins]
    return "\n".join([*(f"{name}=={version}" for name, version in cell.pins.items()), *free, ""])


def resolve(cell: Cell, today: datetime.date) -> str:
    """The text of the cell's lock; raises ``UnresolvableError`` with uv's own explanation."""
    options = ["--python-version", cell.python, "--no-header", "--annotation-style", "line"]
    options += ["--exclude-newer", _end_of(cell.as_of or today), *uv.torch_source()]
    if cell.as_of:
        for package in PLATFORM:
            options += ["--exclude-newer-package", f"{package}={_end_of(today)}"]
    done = uv.run("pip", "compile", "--quiet", *options, "-", stdin=requirements(cell))
    if done.returncode:
        kind = InfrastructureError if uv.is_trouble(done.stderr) else UnresolvableError
        raise kind(done.stderr.strip())
    return header(cell, today) + done.stdout


def header(cell: Cell, today: datetime.date) -> str:
    """How the lock was made, and how to make it again."""
    version = uv.run("--version").stdout.split()[1]
    as_of = f"other packages as of {cell.as_of}" if cell.as_of else f"as of {today}"
    return (
        "# Every package of this cell, installed exactly as written. Made from matrix.toml; to remake it:\n"
        f"#   nox -s lock -- {cell.name}\n# {as_of}; resolved {today} by uv {version}\n"
    )


def _end_of(day: datetime.date) -> str:
    """uv takes a bare day as its end in the local zone; say the zone, so that all machines agree."""
    return f"{day + datetime.timedelta(days=1)}T00:00:00Z"


def write(cell: Cell, path: Path, today: datetime.date | None = None) -> str:
    """Make the lock at ``path``; an unresolvable cell leaves what is there as it was."""
    text = resolve(cell, today or datetime.datetime.now(datetime.UTC).date())
    write_atomic(path, text)
    return text


def versions(text: str, name: str = "the lock") -> dict[str, str]:
    """The packages of a lock and their versions, by canonical name."""
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.split(" #")[0].strip().rstrip("\\").strip()
        if not bare or bare.startswith(("#", "--")):
            continue
        try:
            requirement = Requirement(bare)
        except InvalidRequirement:
            raise UsageError(f"{name}: line {number}: {bare!r} is not 'package==version'") from None
        pinned = [item.version for item in requirement.specifier if item.operator in ("==", "===")]
        if pinned:
            found[canonicalize_name(requirement.name)] = pinned[0]
    return dict(sorted(found.items()))
