"""``matrix.toml``: the tested combinations, and why each is tested."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomlkit
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tunematrix.base.errors import UsageError, did_you_mean
from tunematrix.base.files import write_atomic
from tunematrix.base.toml import check_keys, check_schema, read

SCHEMA: Final = 1
CELL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
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
    pins. ``rule`` is the policy rule that generated the cell; None for a hand-written cell.
    """

    name: str
    why: str = ""
    python: str = "3.11"
    pins: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime.date | None = None
    tags: tuple[str, ...] = ()
    imported_from: str | None = None
    rule: str | None = None


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
    """``TUNEMATRIX_CONSTRAINTS``, by default ``constraints`` in the current folder."""
    return Path(os.environ.get("TUNEMATRIX_CONSTRAINTS") or "constraints")


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
        return Matrix(folder=folder, cells=cells)
    return parse(read(path), folder)


def parse(content: Mapping[str, Any], folder: Path) -> Matrix:
    """Check the content of a ``matrix.toml`` and make a matrix of it; raises ``UsageError``."""
    path = str(folder / FILE)
    check_keys(KEYS[""], content, path)
    check_schema(content, SCHEMA, path)
    defaults = content.get("defaults", {})
    check_keys(KEYS["defaults"], defaults, f"{path}: [defaults]")
    cells = tuple(_cell(entry, defaults, path) for entry in content.get("cell", []))
    names = [cell.name for cell in cells]
    if not cells:
        raise UsageError(f"{path}: no [[cell]]; add one with a name and pins")
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: the name '{duplicates[0]}' is used twice; rename one")
    baseline = content.get("baseline")
    if baseline is not None and baseline not in names:
        raise UsageError(f"{path}: baseline: no cell '{baseline}'{did_you_mean(baseline, names)}")
    return Matrix(
        folder=folder,
        cells=cells,
        baseline=baseline,
        python=defaults.get("python", "3.11"),
        torch=defaults.get("torch"),
        policy=_policy(content["policy"], path) if "policy" in content else None,
    )


def _policy(table: Any, path: str) -> Policy:
    where = f"{path}: [policy]"
    check_keys(KEYS["policy"], table, where)
    if "since" not in table:
        raise UsageError(f"{where}: since is missing; set it to the first release day of the diagonal")
    for key in ("every", "cool_down"):
        if table.get(key, 0) < 0:
            raise UsageError(f"{where}: {key}: must be a number of days, 0 or more")
    for package in table.get("skews", []):
        if package not in CORE:
            raise UsageError(f"{where}: skews: no package '{package}'{did_you_mean(str(package), CORE)}")
    return Policy(**{**table, "skews": tuple(table.get("skews", []))})


def _cell(entry: Any, defaults: Mapping[str, Any], path: str) -> Cell:
    where = f"{path}: [[cell]] {entry.get('name', '') if isinstance(entry, Mapping) else ''}".rstrip()
    check_keys(KEYS["cell"], entry, where)
    name = check_name(entry.get("name"), where)
    torch = entry.get("torch") or defaults.get("torch")
    pins: dict[str, str] = {"torch": torch} if torch else {}
    pins |= {canonicalize_name(package): version for package, version in entry.get("pins", {}).items()}
    for package, version in pins.items():
        try:
            Version(version)
        except (InvalidVersion, TypeError):
            raise UsageError(
                f"{where}: pins.{package}: {version!r} is not a version, such as '4.57.6'"
            ) from None
    if not entry.get("pins"):
        raise UsageError(f"{where}: no pins; name at least transformers, peft and trl in [cell.pins]")
    if "rule" in entry and entry["rule"] not in RULES:
        raise UsageError(f"{where}: rule: no rule '{entry['rule']}'{did_you_mean(entry['rule'], RULES)}")
    if not all(isinstance(tag, str) for tag in entry.get("tags", [])):
        raise UsageError(f"{where}: tags must be a list of texts")
    return Cell(
        name=name,
        why=entry.get("why", ""),
        python=entry.get("python") or defaults.get("python", "3.11"),
        pins=dict(sorted(pins.items())),
        as_of=entry.get("as_of"),
        tags=tuple(entry.get("tags", [])),
        imported_from=entry.get("imported_from") or entry.get("given"),
        rule=entry.get("rule"),
    )


def check_name(name: object, where: str) -> str:
    """``name`` if it is a valid cell name; otherwise raises ``UsageError`` that starts with ``where``."""
    if not isinstance(name, str) or not CELL_NAME.fullmatch(name):
        raise UsageError(f"{where}: the name {name!r} must consist of letters, digits, dots and dashes")
    return name


def edit(folder: Path, *, remove: Iterable[str] = (), add: Iterable[tuple[Cell, str | None]] = ()) -> None:
    """Remove and add cells in ``matrix.toml``; comments and all other text stay.

    With each added cell comes the name of the cell before which it goes, or None to append it.
    """
    path = folder / FILE
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    entries: Any = document["cell"]
    for name in remove:
        del entries[_index_of(entries, name)]
    for cell, before in add:
        python = cell.python if cell.python != document.get("defaults", {}).get("python", "3.11") else None
        index = len(entries) if before is None else _index_of(entries, before)
        entries.insert(index, _to_entry(cell, python))
    write_atomic(path, tomlkit.dumps(document).rstrip("\n") + "\n")


def _index_of(entries: Any, name: str) -> int:
    return next(index for index, entry in enumerate(entries) if entry["name"] == name)


def _to_entry(cell: Cell, python: str | None) -> Any:
    """The ``[[cell]]`` table of ``cell``; ``python`` is None if it is the default."""
    entry, pins = tomlkit.table(), tomlkit.table()
    for key, value in {
        "name": cell.name,
        "why": cell.why,
        "python": python,
        "as_of": cell.as_of,
        "rule": cell.rule,
        "imported_from": cell.imported_from,
        "tags": list(cell.tags) or None,
    }.items():
        if value is not None:
            entry.add(key, value)
    for package, version in cell.pins.items():
        pins.add(package, version)
    pins.add(tomlkit.nl())
    entry.add("pins", pins)
    return entry
