"""``matrix.toml``: which combinations are tested, and why each one."""

from __future__ import annotations

import datetime
import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tunematrix.matrix.errors import UsageError, nearest
from tunematrix.matrix.files import write_atomic

SCHEMA: Final = 1
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
KEYS: Final[Mapping[str, Mapping[str, type]]] = {
    "": {"schema": int, "baseline": str, "defaults": dict, "cell": list},
    "defaults": {"python": str, "torch": str},
    "cell": {
        "name": str,
        "why": str,
        "as_of": datetime.date,
        "tags": list,
        "pins": dict,
        "python": str,
        "torch": str,
        "given": str,
    },
}
WORDS: Final[Mapping[type, str]] = {
    int: "a whole number",
    str: "text",
    dict: "a table",
    list: "a list",
    datetime.date: "a day such as 2024-12-10",
}
FILE: Final = "matrix.toml"
CORE: Final = ("transformers", "peft", "trl")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One pinned combination. ``pins`` maps canonical package names to exact versions, torch included.

    ``given`` names the file that its lock was brought from; such a lock is never remade from the pins.
    """

    name: str
    why: str = ""
    python: str = "3.11"
    pins: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime.date | None = None
    tags: tuple[str, ...] = ()
    given: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """The cells, in order of time, and the folder of their locks."""

    folder: Path
    cells: tuple[Cell, ...]
    baseline: str | None = None
    python: str = "3.11"

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
        cells = tuple(Cell(name=check_name(lock.stem, str(lock)), given=lock.name) for lock in locks)
        return Matrix(folder=folder, cells=cells)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    return parse(content, folder)


def parse(content: Mapping[str, Any], folder: Path) -> Matrix:
    """Check the content of a ``matrix.toml``."""
    path = str(folder / FILE)
    _check("", content, path)
    if content.get("schema") != SCHEMA:
        raise UsageError(f"{path}: schema is {content.get('schema')!r}; this release reads schema = {SCHEMA}")
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
    python = defaults.get("python", "3.11")
    return Matrix(folder=folder, cells=cells, baseline=baseline, python=python)


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
    if not all(isinstance(tag, str) for tag in row.get("tags", [])):
        raise UsageError(f"{where}: tags must be a list of texts")
    return Cell(
        name=name,
        why=row.get("why", ""),
        python=row.get("python") or defaults.get("python", "3.11"),
        pins=dict(sorted(pins.items())),
        as_of=row.get("as_of"),
        tags=tuple(row.get("tags", [])),
        given=row.get("given"),
    )


def check_name(name: object, where: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"{where}: the name {name!r} must be letters, digits, dots and dashes")
    return name


def _check(kind: str, content: Any, where: str) -> None:
    """Unknown keys and wrong types are errors that name the nearest valid key."""
    if not isinstance(content, Mapping):
        raise UsageError(f"{where}: must be a table")
    known = KEYS[kind]
    for key, value in content.items():
        if key not in known:
            raise UsageError(f"{where}: unknown key '{key}'{nearest(key, known)}")
        if not isinstance(value, known[key]) or isinstance(value, (bool, datetime.datetime)):
            raise UsageError(f"{where}: {key}: must be {WORDS[known[key]]}")


def append(folder: Path, cell: Cell) -> None:
    """Add a row to ``matrix.toml``, as text: the comments people wrote there stay."""
    lines = [
        "",
        "[[cell]]",
        f'name = "{cell.name}"',
        f"why = {_quote(cell.why)}",
        f'python = "{cell.python}"',
    ]
    lines += [f"given = {_quote(cell.given)}"] if cell.given else []
    lines += ["[cell.pins]", *(f'{_key(name)} = "{version}"' for name, version in cell.pins.items()), ""]
    path = folder / FILE
    write_atomic(path, path.read_text(encoding="utf-8").rstrip("\n") + "\n" + "\n".join(lines))


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quote(name)
