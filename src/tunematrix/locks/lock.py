"""Lock files: uv pins every package of a cell from its entry in ``matrix.toml``."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tunematrix.base import toml
from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.locks import uv
from tunematrix.locks.table import CORE, FILE, Cell

# What the tests need inside a cell; no other tool of this project is installed there.
TEST_TOOLS: Final = ("pytest", "pytest-timeout", "pytest-reportlog", "click", "pyyaml")
INPUTS_PREFIX: Final = "# inputs: "
CONTENT_PREFIX: Final = "# content: "
IMPORTED_PREFIX: Final = "# Imported from "
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


def resolve(cell: Cell, today: datetime.date, *options: str, over: Mapping[str, str] | None = None) -> str:
    """The packages of the cell's lock; raises ``UnresolvableError`` with uv's explanation.

    ``options`` are further options of ``uv pip compile``, such as ``--prerelease=allow``. The lock has the
    packages ``over`` too.
    """
    if over:
        return _resolve_over(cell, today, over)
    style = ["--python-version", cell.python, "--no-header", "--annotation-style", "line"]
    cutoffs = ["--exclude-newer", end_of_day(cell.as_of or today)]
    if cell.as_of:
        for package in PLATFORM:
            cutoffs += ["--exclude-newer-package", f"{package}={end_of_day(today)}"]
    torch = f"=={cell.pins['torch']}" if "torch" in cell.pins else ""
    # Not as a constraint: uv would write the name of its temporary file into the lock.
    torch_requirement = [] if torch else uv.torch_constraints(python=cell.python)
    completed = uv.run(
        "pip",
        "compile",
        "--quiet",
        *style,
        *cutoffs,
        *uv.torch_options(torch, cell.python),
        *options,
        "-",
        stdin="\n".join([*torch_requirement, requirements(cell)]),
    )
    return uv.checked(completed, UnresolvableError).stdout


def _resolve_over(cell: Cell, today: datetime.date, over: Mapping[str, str]) -> str:
    torch = cell.pins.get("torch") or public_version(over.get("torch", ""))
    pins = {**({"torch": torch} if torch else {}), **cell.pins}
    kept = [name for name in over if name not in pins]
    wanted = [*(f"{name}=={version}" for name, version in pins.items()), *kept, *TEST_TOOLS]
    specifier = f"=={torch}" if torch else ""
    return compile_over(over, wanted, cell.python, specifier, "--exclude-newer", end_of_day(today))


def compile_over(
    packages: Mapping[str, str], requirements: Sequence[str], python: str, torch: str, *options: str
) -> str:
    """The lock of ``requirements`` in which uv keeps the versions of ``packages`` where it can.

    ``torch`` is the specifier of its release, if any. Raises ``UnresolvableError``.
    """
    style = ["--annotation-style", "line", "--python-version", python]
    # An imported environment may have a CUDA build of torch; what is resolved over it then has one too.
    platform = [] if uv.has_cuda(packages) else uv.torch_options(torch, python)
    return uv.compile_over(packages, requirements, [*style, *options], platform)


def read_over(cell: Cell, path: Path) -> dict[str, str]:
    """The packages of the cell that ``cell`` is resolved over, whose lock lies beside its own at ``path``."""
    return read_versions(path.parent / f"{cell.over}.txt") if cell.over else {}


def header(cell: Cell, today: datetime.date, inputs: str) -> str:
    """The comment at the top of a lock: how it was made, and the command that remakes it."""
    version = uv.run("--version").stdout.split()[1]
    day = f"as of {cell.as_of}, torch and what it needs as of {today}" if cell.as_of else f"as of {today}"
    return (
        "# Every package of this cell, installed exactly as written. Made from matrix.toml; to remake it:\n"
        f"#   nox -s lock -- {cell.name}\n# {day}; uv {version}\n{INPUTS_PREFIX}{inputs}\n"
    )


def sealed(header: str, packages: str) -> str:
    """A lock with a hash of its content in the header, so that a later edit by hand is noticed."""
    return f"{header}{CONTENT_PREFIX}{digest(header + packages)}\n{packages}"


def input_hash(cell: Cell, over: Mapping[str, str] | None = None) -> str:
    """A hash of the cell's entry and the packages ``over``: what determines its lock, but for the day."""
    beside = f"\n{sorted(over.items())}" if over else ""
    return digest(f"{cell.python}\n{cell.as_of}\n{requirements(cell)}{beside}")


def public_version(version: str) -> str:
    """A version without its local part: ``2.13.0+cpu`` is a build of ``2.13.0``."""
    return version.split("+", maxsplit=1)[0]


def digest(text: str) -> str:
    """A short hash, for headers and names."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read(path: Path) -> str:
    """The text of a lock, with line feeds as line ends; raises ``UsageError``."""
    return toml.read_text(path).replace("\r\n", "\n")


def read_versions(path: Path) -> dict[str, str]:
    """The versions in the lock at ``path`` by canonical package name; raises ``UsageError``."""
    return versions(read(path), str(path))


def is_edited(path: Path) -> bool:
    """Whether people made or edited the lock at ``path``."""
    text = read(path)
    if match := re.search(f"^{CONTENT_PREFIX}(.*)\n", text, re.MULTILINE):
        return digest(text.replace(match[0], "", 1)) != match[1]
    # Locks made before 2026-11-24 have no hash of their content.
    return INPUTS_PREFIX not in text and not text.startswith(IMPORTED_PREFIX)


def is_imported(path: Path) -> bool:
    """Whether the header of the file at ``path`` says that it was imported."""
    with contextlib.suppress(UsageError):
        return re.search(f"^{IMPORTED_PREFIX}", read(path), re.MULTILINE) is not None
    return False


def stale_reason(cell: Cell, path: Path) -> str | None:
    """Why the lock at ``path`` does not match the cell in ``matrix.toml``; None if it matches.

    Of a lock that was imported or made by hand only the pins are checked.
    """
    if not path.is_file():
        return "it has no lock"
    text = read(path)
    locked = versions(text, str(path))
    for name, pin in cell.pins.items():
        if public_version(version := locked.get(name, "missing")) != public_version(pin):
            return f"{name} is {version} in the lock, {pin} in {FILE}"
    inputs = re.search(f"^{INPUTS_PREFIX}(.*)$", text, re.MULTILINE)
    changed = inputs and not cell.imported_from and inputs[1] != input_hash(cell, read_over(cell, path))
    what = f"{cell.over} or its entry in {FILE}" if cell.over else f"its entry in {FILE}"
    return f"{what} changed after it was locked" if changed else None


def end_of_day(day: datetime.date) -> str:
    """The end of ``day`` in UTC; uv would read a day without a time zone in the local zone."""
    return f"{day + datetime.timedelta(days=1)}T00:00:00Z"


def write(cell: Cell, path: Path, today: datetime.date | None = None, *, force: bool = False) -> bool:
    """Make or update the lock at ``path``; returns whether the file changed.

    If the packages stay the same, so does the file, with the days in its header. If the cell is
    unresolvable, an existing lock stays. Raises ``UsageError`` for a lock that people made or edited, unless
    ``force``.
    """
    if cell.imported_from:
        raise UsageError(
            f"{cell.name}: its lock is imported from {cell.imported_from} and cannot be remade; "
            f"import a newer file: nox -s lock -- --from FILE --name {cell.name}"
        )
    edited = path.is_file() and is_edited(path)
    if edited and not force:
        raise UsageError(
            f"{cell.name}: {path} was edited by hand and stays as it is; "
            f"to remake it: nox -s lock -- {cell.name} --force"
        )
    today = today or datetime.datetime.now(datetime.UTC).date()
    current = not edited and stale_reason(cell, path) is None
    text = read(path) if current else ""
    # With as_of only the platform packages can still move: keep the day on which they were resolved.
    beside = read_over(cell, path)
    packages = resolve(cell, (_platform_day(text) if cell.as_of else None) or today, over=beside)
    if text.endswith(f"\n{packages}"):
        return False
    write_atomic(path, sealed(header(cell, today, input_hash(cell, beside)), packages))
    return True


def _platform_day(text: str) -> datetime.date | None:
    """The day in a lock's header on which its platform packages were resolved."""
    match = re.search(r"^# as of [\d-]+, torch and what it needs as of ([\d-]+)", text, re.MULTILINE)
    with contextlib.suppress(ValueError):
        return datetime.date.fromisoformat(match[1]) if match else None
    return None


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
            pins[canonicalize_name(requirement.name)] = _exact_version(exact[0], f"{source}: line {number}")
    return dict(sorted(pins.items()))


def _exact_version(text: str, where: str) -> str:
    try:
        Version(text)
    except ValueError:
        raise UsageError(f"{where}: {text!r} is not an exact version such as '4.57.6'") from None
    return text
