"""Lock files: uv pins every package of a cell from its entry in ``matrix.toml``."""

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

# What the tests need inside a cell; no other tool of this project is installed there.
TEST_TOOLS: Final = ("pytest", "pytest-timeout", "pytest-reportlog", "click", "pyyaml")
INPUTS_PREFIX: Final = "# inputs: "
# Every lock has these packages, also when the pins do not name them.
WORKFLOW_PACKAGES: Final = (*CORE, "accelerate", "datasets")
# Packages that old releases import but do not declare. trl before 0.12 got rich through tyro, which no longer
# depends on it. Without rich such a cell would fail at its import, unlike for users who still have rich.
UNDECLARED: Final = {"rich": Requirement("trl<0.12")}
# Torch, its dependencies and setuptools belong to the machine: ``as_of`` does not apply to them.
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
    """The input of the resolver: the pins, the workflow's packages and the test tools."""
    undeclared = [
        name
        for name, importer in UNDECLARED.items()
        if importer.name in cell.pins and importer.specifier.contains(cell.pins[importer.name])
    ]
    unpinned = [name for name in (*WORKFLOW_PACKAGES, *undeclared, *TEST_TOOLS) if name not in cell.pins]
    return "\n".join([*(f"{name}=={version}" for name, version in cell.pins.items()), *unpinned, ""])


def resolve(cell: Cell, today: datetime.date, *options: str) -> str:
    """The packages of the cell's lock; raises ``UnresolvableError`` with uv's explanation.

    ``options`` are further options of ``uv pip compile``, such as ``--prerelease=allow``.
    """
    style = ["--python-version", cell.python, "--no-header", "--annotation-style", "line"]
    cutoffs = ["--exclude-newer", end_of_day(cell.as_of or today)]
    if cell.as_of:
        for package in PLATFORM:
            cutoffs += ["--exclude-newer-package", f"{package}={end_of_day(today)}"]
    completed = uv.run(
        "pip",
        "compile",
        "--quiet",
        *style,
        *cutoffs,
        *uv.torch_options(),
        *options,
        "-",
        stdin=requirements(cell),
    )
    return uv.checked(completed, UnresolvableError).stdout


def header(cell: Cell, today: datetime.date) -> str:
    """The comment at the top of a lock: how it was made, and the command that remakes it."""
    version = uv.run("--version").stdout.split()[1]
    day = f"as of {cell.as_of}, torch and what it needs as of {today}" if cell.as_of else f"as of {today}"
    return (
        "# Every package of this cell, installed exactly as written. Made from matrix.toml; to remake it:\n"
        f"#   nox -s lock -- {cell.name}\n# {day}; uv {version}\n{INPUTS_PREFIX}{input_hash(cell)}\n"
    )


def input_hash(cell: Cell) -> str:
    """A hash of everything in ``matrix.toml`` that determines the cell's lock."""
    return digest(f"{cell.python}\n{cell.as_of}\n{requirements(cell)}")


def public_version(version: str) -> str:
    """A version without its local part: ``2.13.0+cpu`` is a build of ``2.13.0``."""
    return version.split("+", maxsplit=1)[0]


def digest(text: str) -> str:
    """A short hash, for headers and names."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stale_reason(cell: Cell, path: Path) -> str | None:
    """Why the lock at ``path`` does not match the cell in ``matrix.toml``; None if it matches.

    A lock without an input hash was imported or edited by hand: only its pins are checked.
    """
    if not path.is_file():
        return "it has no lock"
    text = path.read_text(encoding="utf-8")
    locked = versions(text, str(path))
    for name, pin in cell.pins.items():
        if public_version(version := locked.get(name, "missing")) != public_version(pin):
            return f"{name} is {version} in the lock, {pin} in {FILE}"
    inputs = re.search(f"^{INPUTS_PREFIX}(.*)$", text, re.MULTILINE)
    changed = inputs and inputs[1] != input_hash(cell)
    return f"its entry in {FILE} changed after it was locked" if changed else None


def end_of_day(day: datetime.date) -> str:
    """The end of ``day`` in UTC; uv would read a day without a time zone in the local zone."""
    return f"{day + datetime.timedelta(days=1)}T00:00:00Z"


def write(cell: Cell, path: Path, today: datetime.date | None = None) -> bool:
    """Make or update the lock at ``path``; returns whether the file changed.

    If the packages stay the same, so does the file, with the days in its header. If the cell is
    unresolvable, an existing lock stays.
    """
    if cell.imported_from:
        raise UsageError(
            f"{cell.name}: its lock is imported from {cell.imported_from} and cannot be remade; "
            f"import a newer file: nox -s lock -- --from FILE --name {cell.name}"
        )
    today = today or datetime.datetime.now(datetime.UTC).date()
    # With as_of only the platform packages can still move: keep the day on which they were resolved.
    current = stale_reason(cell, path) is None
    packages = resolve(cell, (_platform_day(path) if current and cell.as_of else None) or today)
    if current and path.read_text().endswith(f"\n{packages}"):
        return False
    write_atomic(path, header(cell, today) + packages)
    return True


def _platform_day(path: Path) -> datetime.date | None:
    """The day in a lock's header on which its platform packages were resolved."""
    match = re.search(
        r"^# as of [\d-]+, torch and what it needs as of ([\d-]+)", path.read_text(), re.MULTILINE
    )
    return datetime.date.fromisoformat(match[1]) if match else None


def versions(text: str, source: str = "the lock") -> dict[str, str]:
    """The versions in a lock by canonical package name; raises ``UsageError`` that names ``source``."""
    pins = {}
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.split(" #")[0].strip().rstrip("\\").strip()
        if not entry or entry.startswith(("#", "--")):
            continue
        try:
            requirement = Requirement(entry)
        except InvalidRequirement:
            raise UsageError(f"{source}: line {number}: {entry!r} is not 'package==version'") from None
        exact = [clause.version for clause in requirement.specifier if clause.operator in ("==", "===")]
        if exact:
            pins[canonicalize_name(requirement.name)] = exact[0]
    return dict(sorted(pins.items()))
