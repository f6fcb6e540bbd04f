"""Locks: every package of a cell pinned, made by uv from ``matrix.toml``."""

from __future__ import annotations

import datetime
import hashlib
import re
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.locks import uv
from tunematrix.locks.table import CORE, FILE, Cell

# The tools that the tests need inside a cell; nothing else of ours is installed there.
TOOLS: Final = ("pytest", "pytest-timeout", "pytest-reportlog", "click", "pyyaml")
INPUTS: Final = "# inputs: "
# Packages the workflow needs, whether or not the pins name them.
NEEDED: Final = (*CORE, "accelerate", "datasets")
# What old releases import without declaring it: trl before 0.12 had rich from tyro, which no longer brings
# it. Without it such a cell would end there, and not where those do who still have it installed.
UNDECLARED: Final = {"rich": Requirement("trl<0.12")}
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
    undeclared = [
        name
        for name, of in UNDECLARED.items()
        if of.name in cell.pins and of.specifier.contains(cell.pins[of.name])
    ]
    free = [name for name in (*NEEDED, *undeclared, *TOOLS) if name not in cell.pins]
    return "\n".join([*(f"{name}=={version}" for name, version in cell.pins.items()), *free, ""])


def resolve(cell: Cell, today: datetime.date, *options: str) -> str:
    """The packages of the cell's lock; raises ``UnresolvableError`` with uv's own explanation.

    ``options`` are more of uv's, such as ``--prerelease=allow``.
    """
    style = ["--python-version", cell.python, "--no-header", "--annotation-style", "line"]
    days = ["--exclude-newer", end_of(cell.as_of or today)]
    if cell.as_of:
        for package in PLATFORM:
            days += ["--exclude-newer-package", f"{package}={end_of(today)}"]
    done = uv.run(
        "pip",
        "compile",
        "--quiet",
        *style,
        *days,
        *uv.torch_source(),
        *options,
        "-",
        stdin=requirements(cell),
    )
    return uv.checked(done, UnresolvableError).stdout


def header(cell: Cell, today: datetime.date) -> str:
    """How the lock was made, and how to make it again."""
    version = uv.run("--version").stdout.split()[1]
    day = f"as of {cell.as_of}, torch and what it needs as of {today}" if cell.as_of else f"as of {today}"
    return (
        "# Every package of this cell, installed exactly as written. Made from matrix.toml; to remake it:\n"
        f"#   nox -s lock -- {cell.name}\n# {day}; uv {version}\n{INPUTS}{inputs(cell)}\n"
    )


def inputs(cell: Cell) -> str:
    """A hash over all that the cell's row says about its lock."""
    asked = f"{cell.python}\n{cell.as_of}\n{requirements(cell)}"
    return digest(asked)


def public(version: str) -> str:
    """A version without its local part: ``2.13.0+cpu`` is a build of ``2.13.0``."""
    return version.split("+", maxsplit=1)[0]


def digest(text: str) -> str:
    """A short hash, for headers and names."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stale(cell: Cell, path: Path) -> str | None:
    """Why the lock at ``path`` is not what the cell's row asks for, or None.

    A lock without our header was made or edited by hand: it is held to the pins alone.
    """
    if not path.is_file():
        return "there is no lock"
    text = path.read_text(encoding="utf-8")
    found = versions(text, str(path))
    for name, wanted in cell.pins.items():
        if public(has := found.get(name, "no version")) != public(wanted):
            return f"{name} is {has} there, {wanted} in {FILE}"
    made = re.search(f"^{INPUTS}(.*)$", text, re.MULTILINE)
    return f"its row in {FILE} has changed since" if made and made[1] != inputs(cell) else None


def end_of(day: datetime.date) -> str:
    """uv takes a bare day as its end in the local zone; say the zone, so that all machines agree."""
    return f"{day + datetime.timedelta(days=1)}T00:00:00Z"


def write(cell: Cell, path: Path, today: datetime.date | None = None) -> bool:
    """Bring the lock at ``path`` up to date; returns whether it changed.

    A lock whose packages come out the same keeps every byte, its days included. An unresolvable cell
    leaves what is there as it was.
    """
    if cell.imported_from:
        raise UsageError(
            f"{cell.name} has a lock that was given, from {cell.imported_from}; "
            f"bring a newer one: nox -s lock -- --from FILE --name {cell.name}"
        )
    today = today or datetime.datetime.now(datetime.UTC).date()
    # What an unchanged cell of the past may still move is its platform: keep that of the day of its lock.
    current = stale(cell, path) is None
    packages = resolve(cell, (_platform_day(path) if current and cell.as_of else None) or today)
    if current and path.read_text().endswith(f"\n{packages}"):
        return False
    write_atomic(path, header(cell, today) + packages)
    return True


def _platform_day(path: Path) -> datetime.date | None:
    """The day of the platform layer in the header of a lock of ours."""
    made = re.search(
        r"^# as of [\d-]+, torch and what it needs as of ([\d-]+)", path.read_text(), re.MULTILINE
    )
    return datetime.date.fromisoformat(made[1]) if made else None


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
