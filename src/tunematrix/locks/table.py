"""``matrix.toml``: the tested combinations, and why each is tested."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from tunematrix.base import cells as cell_folders
from tunematrix.base.errors import UsageError
from tunematrix.base.store import CANDIDATES, OTHER_FILES
from tunematrix.base.toml import check_keys, check_schema, read, unreadable_is_usage_error
from tunematrix.shared import reading
from tunematrix.shared.suggest import did_you_mean

SCHEMA: Final = 1
CELL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,79}")
# A cell's name is part of the names of its files and folders, beside others in the same folders.
RESERVED_CELL_NAME: Final = re.compile(
    rf"({'|'.join((*OTHER_FILES, CANDIDATES))})|.*\.(json|txt|lock)", re.IGNORECASE
)
PYTHON_VERSION: Final = re.compile(r"\d{1,2}\.\d{1,3}(\.\d{1,3})?")
# The largest day and number of days for which dates can still be added and subtracted.
LAST_DAY: Final = datetime.date(2999, 12, 31)
MAX_DAYS: Final = 36_500
KEYS: Final[Mapping[str, Mapping[str, type]]] = {
    "": {"schema": int, "baseline": str, "defaults": dict, "policy": dict, "cell": list},
    "defaults": {"python": str, "torch": str},
    "policy": {
        "since": datetime.date,
        "every": int,
        "cool_down": int,
        "prereleases": bool,
        "skews": list,
        "latest": bool,
        "floor": bool,
    },
    "cell": {
        "name": str,
        "why": str,
        "as_of": datetime.date,
        "tags": list,
        "pins": dict,
        "python": str,
        "torch": str,
        "imported_from": str,
        "given": str,  # the name of imported_from before 2026-11-24
        "rule": str,
        "compare": str,
        "over": str,
    },
}
FILE: Final = "matrix.toml"
CORE: Final = ("transformers", "peft", "trl")
RULES: Final = ("diagonal", "skew", "latest", "latest-floor")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The cells that ``lock --populate`` keeps in ``matrix.toml``; days are release days in UTC.

    The diagonal has the minor releases of trl from day ``since`` on: the last one of each period of
    ``every`` days, or all if ``every`` is 0. A release younger than ``cool_down`` days does not count yet.
    """

    since: datetime.date
    every: int = 0
    cool_down: int = 0
    prereleases: bool = False
    skews: tuple[str, ...] = ()
    latest: bool = True
    floor: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One pinned combination. ``pins`` maps canonical package names to exact versions, torch included.

    ``imported_from`` names the file from which the lock was imported; such a lock is never made from the
    pins. ``rule`` is the policy rule that generated the cell; None for a hand-written cell. ``over`` is
    another cell whose packages this one has too, each in the same release where the pins allow it.
    """

    name: str
    why: str = ""
    python: str = "3.11"
    pins: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime.date | None = None
    tags: tuple[str, ...] = ()
    imported_from: str | None = None
    rule: str | None = None
    compare: str | None = None
    over: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """The cells, in chronological order, and the folder of their locks."""

    folder: Path
    cells: tuple[Cell, ...]
    baseline: str | None = None
    python: str = "3.11"
    torch: str | None = None
    policy: Policy | None = None

    def cell(self, name: str) -> Cell:
        """The cell ``name``; raises ``UsageError`` that names the closest one."""
        for cell in self.cells:
            if cell.name == name:
                return cell
        names = [cell.name for cell in self.cells]
        raise UsageError(f"no cell '{name}' in {self.folder}{did_you_mean(name, names)}")

    def lock_path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.name}.txt"


def constraints_folder() -> Path:
    """``TUNEMATRIX_CONSTRAINTS``, by default ``constraints`` in the current folder; raises ``UsageError``."""
    with unreadable_is_usage_error():
        return reading.expand_path(os.environ.get("TUNEMATRIX_CONSTRAINTS") or "constraints")


def has_cells(folder: Path) -> bool:
    """Whether the folder defines cells: by a ``matrix.toml``, or by locks alone."""
    return cell_folders.has_cells(folder)


def load(folder: Path | None = None) -> Matrix:
    """Read ``matrix.toml`` in ``folder``; without that file, every lock in ``folder`` is a cell.

    Raises ``UsageError`` that names the file, the key and the closest valid key.
    """
    folder = folder or constraints_folder()
    path = folder / FILE
    if not path.is_file():
        locks = sorted(folder.glob("*.txt"))
        if not locks:
            raise UsageError(
                f"{folder}: no {FILE} and no locks (*.txt); "
                "run from the project's root, or set TUNEMATRIX_CONSTRAINTS to a folder that has either"
            )
        cells = tuple(Cell(name=check_name(lock.stem, str(lock)), imported_from=lock.name) for lock in locks)
        check_unique([cell.name for cell in cells], str(folder))
        return Matrix(folder=folder, cells=cells)
    return parse(read(path), folder)


def parse(content: Mapping[str, Any], folder: Path) -> Matrix:
    """Check the content of a ``matrix.toml`` and make a matrix of it; raises ``UsageError``."""
    path = str(folder / FILE)
    check_schema(content, SCHEMA, path)
    check_keys(KEYS[""], content, path)
    defaults = content.get("defaults", {})
    check_keys(KEYS["defaults"], defaults, f"{path}: [defaults]")
    cells = tuple(_cell(entry, defaults, path) for entry in content.get("cell", []))
    names = [cell.name for cell in cells]
    if not cells:
        raise UsageError(f"{path}: no [[cell]]; add one with a name and pins")
    check_unique(names, path)
    baseline = content.get("baseline")
    if baseline is not None and baseline not in names:
        raise UsageError(f"{path}: baseline: no cell '{baseline}'{did_you_mean(baseline, names)}")
    for cell in cells:
        if cell.compare is not None and (cell.compare not in names or cell.compare == cell.name):
            others = [name for name in names if name != cell.name]
            where = f"{path}: [[cell]] {cell.name}: compare"
            raise UsageError(f"{where}: no other cell '{cell.compare}'{did_you_mean(cell.compare, others)}")
        if cell.over is not None:
            imported = [each.name for each in cells if each.imported_from and each is not cell]
            where = f"{path}: [[cell]] {cell.name}: over"
            if cell.over not in imported:  # of others, the order in which locks are made would matter
                hint = did_you_mean(cell.over, imported)
                raise UsageError(f"{where}: no other cell with an imported lock '{cell.over}'{hint}")
            if cell.imported_from or cell.as_of:
                raise UsageError(f"{where}: goes neither with imported_from nor with as_of")
    return Matrix(
        folder=folder,
        cells=cells,
        baseline=baseline,
        python=_python(defaults, f"{path}: [defaults]") or "3.11",
        torch=defaults.get("torch"),
        policy=_policy(content["policy"], path) if "policy" in content else None,
    )


def _policy(table: Any, path: str) -> Policy:
    where = f"{path}: [policy]"
    check_keys(KEYS["policy"], table, where)
    if "since" not in table:
        raise UsageError(f"{where}: since is missing; set it to the first release day of the diagonal")
    _check_day(table["since"], f"{where}: since")
    for key in ("every", "cool_down"):
        if not 0 <= table.get(key, 0) <= MAX_DAYS:
            raise UsageError(f"{where}: {key}: must be a number of days from 0 to {MAX_DAYS}")
    for package in table.get("skews", []):
        if package not in CORE:
            raise UsageError(f"{where}: skews: no package '{package}'{did_you_mean(str(package), CORE)}")
    return Policy(**{**table, "skews": tuple(table.get("skews", []))})


def _cell(entry: Any, defaults: Mapping[str, Any], path: str) -> Cell:
    where = f"{path}: [[cell]] {entry.get('name', '') if isinstance(entry, Mapping) else ''}".rstrip()
    check_keys(KEYS["cell"], entry, where)
    name = check_name(entry.get("name"), where)
    imported_from = entry.get("imported_from") or entry.get("given")
    # An imported lock has the torch that its file says.
    torch = entry.get("torch") or (None if imported_from else defaults.get("torch"))
    pins = _pins({"torch": torch} if torch else {}, where) | _pins(entry.get("pins", {}), where)
    if not entry.get("pins") and not imported_from:
        raise UsageError(f"{where}: no pins; name at least transformers, peft and trl in [cell.pins]")
    if "as_of" in entry:
        _check_day(entry["as_of"], f"{where}: as_of")
    if "rule" in entry and entry["rule"] not in RULES:
        raise UsageError(f"{where}: rule: no rule '{entry['rule']}'{did_you_mean(entry['rule'], RULES)}")
    if not all(isinstance(tag, str) for tag in entry.get("tags", [])):
        raise UsageError(f"{where}: tags must be a list of texts")
    return Cell(
        name=name,
        why=entry.get("why", ""),
        python=_python(entry, where) or _python(defaults, f"{path}: [defaults]") or "3.11",
        pins=dict(sorted(pins.items())),
        as_of=entry.get("as_of"),
        tags=tuple(entry.get("tags", [])),
        imported_from=imported_from,
        rule=entry.get("rule"),
        compare=entry.get("compare"),
        over=entry.get("over"),
    )


def _pins(table: Mapping[str, Any], where: str) -> dict[str, str]:
    """The versions in ``table`` by canonical package name; raises ``UsageError``."""
    pins: dict[str, str] = {}
    for package, version in table.items():
        try:
            pins[canonicalize_name(package, validate=True)] = version.strip()
            Version(version)
        except InvalidName:
            raise UsageError(f"{where}: pins: {package!r} is not the name of a package") from None
        except (ValueError, TypeError, AttributeError):  # Version raises all ValueErrors that int() does
            raise UsageError(
                f"{where}: pins.{package}: {version!r} is not a version, such as '4.57.6'"
            ) from None
    return pins


def _python(table: Mapping[str, Any], where: str) -> str | None:
    version: str | None = table.get("python")
    if version is not None and not PYTHON_VERSION.fullmatch(version):
        raise UsageError(f"{where}: python: {version!r} is not a Python version, such as '3.11'")
    return version


def _check_day(day: datetime.date, where: str) -> None:
    if day > LAST_DAY:
        raise UsageError(f"{where}: {day} is too late; the last possible day is {LAST_DAY}")


def check_name(name: object, where: str) -> str:
    """``name`` if it is a valid cell name; otherwise raises ``UsageError`` that starts with ``where``."""
    shown = repr(name)[:80]
    if not isinstance(name, str) or not CELL_NAME.fullmatch(name):
        raise UsageError(
            f"{where}: the name {shown} must consist of letters, digits, dots and dashes, 80 at most, "
            "and start with a letter or digit"
        )
    if RESERVED_CELL_NAME.fullmatch(name):
        raise UsageError(f"{where}: the name {shown} is that of another file; choose another, such as 'ours'")
    return name


def check_unique(names: Sequence[str], where: str) -> None:
    """Raise ``UsageError`` if two cells have one name, or names that are one file where case is ignored."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.lower(), name)) != name or names.count(name) > 1:
            twice = "is used twice" if other == name else f"differs from '{other}' in case only"
            raise UsageError(f"{where}: the name '{name}' {twice}; rename one")
