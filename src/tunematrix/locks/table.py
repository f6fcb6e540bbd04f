"""``matrix.toml``: which combinations are tested, and why each one."""

from __future__ import annotations

import datetime
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tomlkit
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tunematrix.base.errors import UsageError, nearest
from tunematrix.base.files import write_atomic

SCHEMA: Final = 1
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
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
        "given": str,  # its name in files of before 2026-11-24
        "rule": str,
    },
}
WORDS: Final[Mapping[type, str]] = {
    int: "a whole number",
    bool: "true or false",
    str: "text",
    dict: "a table",
    list: "a list",
    datetime.date: "a day such as 2024-12-10",
}
FILE: Final = "matrix.toml"
CORE: Final = ("transformers", "peft", "trl")
RULES: Final = ("diagonal", "skew", "latest", "latest-floor")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Which cells ``lock --populate`` keeps in the table; days are of the release in UTC.

    The diagonal takes the minor releases of trl ``since`` a day, of those in each period of ``every`` days
    the last one (0: all of them). A release younger than ``cool_down`` days does not count yet.
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

    ``imported_from`` names the file that its lock was imported from; it is never remade from the pins.
    ``rule`` is the rule of the policy that made the cell; None for one that somebody wrote.
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
    """The cells, in order of time, and the folder of their locks."""

    folder: Path
    cells: tuple[Cell, ...]
    baseline: str | None = None
    python: str = "3.11"
    torch: str | None = None
    policy: Policy | None = None

    def cell(self, name: str) -> Cell:
        """The cell called ``name``; raises ``UsageError`` naming the nearest one."""
        for cell in self.cells:
            if cell.name == name:
                return cell
        names = [cell.name for cell in self.cells]
        raise UsageError(f"no cell '{name}' in {self.folder}{nearest(name, names)}")

    def lock(self, cell: Cell) -> Path:
        return self.folder / f"{cell.name}.txt"


def constraints_folder() -> Path:
    """``TUNEMATRIX_CONSTRAINTS``, or ``constraints`` of the project in the current folder."""
    return Path(os.environ.get("TUNEMATRIX_CONSTRAINTS") or "constraints")


def load(folder: Path | None = None) -> Matrix:
    """Read ``matrix.toml`` of ``folder``; where there is none, every lock there is a cell.

    Raises ``UsageError`` with file, key, and the nearest valid key.
    """
    folder = folder or constraints_folder()
    path = folder / FILE
    if not path.is_file():
        locks = sorted(folder.glob("*.txt"))
        if not locks:
            raise UsageError(
                f"{folder}: no {FILE} and no locks (*.txt) there; "
                "run from the project's root, or set TUNEMATRIX_CONSTRAINTS to a folder with either"
            )
        cells = tuple(Cell(name=check_name(lock.stem, str(lock)), imported_from=lock.name) for lock in locks)
        return Matrix(folder=folder, cells=cells)
    return parse(read(path), folder)


def read(path: Path) -> dict[str, Any]:
    """The content of a TOML file; raises ``UsageError``."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None


def check_schema(content: Mapping[str, Any], wanted: int, path: Path | str) -> None:
    """Raise ``UsageError`` for a file of another schema than ``wanted``."""
    if content.get("schema") != wanted:
        raise UsageError(f"{path}: schema is {content.get('schema')!r}; this release reads schema = {wanted}")


def parse(content: Mapping[str, Any], folder: Path) -> Matrix:
    """Check the content of a ``matrix.toml``."""
    path = str(folder / FILE)
    _check("", content, path)
    check_schema(content, SCHEMA, path)
    defaults = content.get("defaults", {})
    _check("defaults", defaults, f"{path}: [defaults]")
    cells = tuple(_cell(row, defaults, path) for row in content.get("cell", []))
    names = [cell.name for cell in cells]
    if not cells:
        raise UsageError(f"{path}: no [[cell]]; add one with a name and pins")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{path}: the name '{twice[0]}' is used twice; rename one")
    baseline = content.get("baseline")
    if baseline is not None and baseline not in names:
        raise UsageError(f"{path}: baseline: no cell '{baseline}'{nearest(baseline, names)}")
    return Matrix(
        folder=folder,
        cells=cells,
        baseline=baseline,
        python=defaults.get("python", "3.11"),
        torch=defaults.get("torch"),
        policy=_policy(content["policy"], path) if "policy" in content else None,
    )


def _policy(row: Any, path: str) -> Policy:
    where = f"{path}: [policy]"
    _check("policy", row, where)
    if "since" not in row:
        raise UsageError(f"{where}: needs since, the day of the first release of the diagonal")
    for number in ("every", "cool_down"):
        if row.get(number, 0) < 0:
            raise UsageError(f"{where}: {number}: days, 0 or more")
    for package in row.get("skews", []):
        if package not in CORE:
            raise UsageError(f"{where}: skews: no package '{package}' to skew{nearest(str(package), CORE)}")
    return Policy(**{**row, "skews": tuple(row.get("skews", []))})


def _cell(row: Any, defaults: Mapping[str, Any], path: str) -> Cell:
    where = f"{path}: [[cell]] {row.get('name', '') if isinstance(row, Mapping) else ''}".rstrip()
    _check("cell", row, where)
    name = check_name(row.get("name"), where)
    torch = row.get("torch") or defaults.get("torch")
    pins: dict[str, str] = {"torch": torch} if torch else {}
    pins |= {canonicalize_name(package): version for package, version in row.get("pins", {}).items()}
    for package, version in pins.items():
        try:
            Version(version)
        except (InvalidVersion, TypeError):
            raise UsageError(
                f"{where}: pins.{package}: {version!r} is not a version, such as '4.57.6'"
            ) from None
    if not row.get("pins"):
        raise UsageError(f"{where}: no pins; name at least transformers, peft and trl in [cell.pins]")
    if "rule" in row and row["rule"] not in RULES:
        raise UsageError(f"{where}: rule: no rule '{row['rule']}'{nearest(row['rule'], RULES)}")
    if not all(isinstance(tag, str) for tag in row.get("tags", [])):
        raise UsageError(f"{where}: tags must be a list of texts")
    return Cell(
        name=name,
        why=row.get("why", ""),
        python=row.get("python") or defaults.get("python", "3.11"),
        pins=dict(sorted(pins.items())),
        as_of=row.get("as_of"),
        tags=tuple(row.get("tags", [])),
        imported_from=row.get("imported_from") or row.get("given"),
        rule=row.get("rule"),
    )


def check_name(name: object, where: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"{where}: the name {name!r} must be letters, digits, dots and dashes")
    return name


def _check(kind: str, content: Any, where: str) -> None:
    """Unknown keys and wrong types are errors that name the nearest valid key."""
    check(KEYS[kind], content, where)


def check(known: Mapping[str, type], content: Any, where: str) -> None:
    """Hold a table of some TOML file to its ``known`` keys; raises ``UsageError`` naming the nearest one."""
    if not isinstance(content, Mapping):
        raise UsageError(f"{where}: must be a table")
    for key, value in content.items():
        if key not in known:
            raise UsageError(f"{where}: unknown key '{key}'{nearest(key, known)}")
        # True is an int and a time is a date, to isinstance
        odd = isinstance(value, bool) is not (known[key] is bool) or isinstance(value, datetime.datetime)
        if odd or not isinstance(value, known[key]):
            raise UsageError(f"{where}: {key}: must be {WORDS[known[key]]}")


def edit(folder: Path, *, drop: Iterable[str] = (), put: Iterable[tuple[Cell, str | None]] = ()) -> None:
    """Take cells out of ``matrix.toml`` and put others in, each before the cell named beside it.

    None beside a cell puts it last. What people wrote around the cells stays as it is.
    """
    path = folder / FILE
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    rows: Any = document["cell"]
    for name in drop:
        del rows[_at(rows, name)]
    for cell, before in put:
        python = cell.python if cell.python != document.get("defaults", {}).get("python", "3.11") else None
        rows.insert(len(rows) if before is None else _at(rows, before), _table(cell, python))
    write_atomic(path, tomlkit.dumps(document).rstrip("\n") + "\n")


def _at(rows: Any, name: str) -> int:
    return next(at for at, row in enumerate(rows) if row["name"] == name)


def _table(cell: Cell, python: str | None) -> Any:
    table, pins = tomlkit.table(), tomlkit.table()
    keys = {"name": cell.name, "why": cell.why, "python": python, "as_of": cell.as_of}
    for key, value in {
        **keys,
        "rule": cell.rule,
        "imported_from": cell.imported_from,
        "tags": list(cell.tags) or None,
    }.items():
        if value is not None:
            table.add(key, value)
    for package, version in cell.pins.items():
        pins.add(package, version)
    pins.add(tomlkit.nl())
    table.add("pins", pins)
    return table
