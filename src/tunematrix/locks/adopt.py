"""Take cells and locks that another machine made, as data: resolving may run code of packages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.base.files import check_inside, write_atomic
from tunematrix.base.toml import read_text
from tunematrix.locks import lock, table
from tunematrix.locks.table import CORE, Cell

# A package of a lock that uv made for a table: a release of an index, no address and no option.
LINE: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+(?: ; [^#@:/]*)?)?\s*(?:#.*)?")


def adopt(source: Path, target: Path) -> list[str]:
    """Replace ``matrix.toml`` and the locks in ``target`` by those in ``source``; returns what changes.

    The locks of cells that are there no more are deleted. Imported and hand-made locks stay as they are.
    Raises ``UsageError``, before anything is written, for a file that is no such table or lock.
    """
    old, new = table.load(target), table.load(source)
    names = {cell.name for cell in new.cells}
    texts = {target / table.FILE: read_text(check_inside(source / table.FILE, source))}
    gone = [cell.name for cell in old.cells if cell.rule and cell.name not in names]
    for cell in new.cells:
        if os.path.lexists(path := new.lock_path(cell)) and not cell.imported_from:
            texts[target / path.name] = _lock(check_inside(path, source))
        elif cell.rule:  # it could not be resolved
            gone.append(cell.name)
    changes = [*_changes({cell.name: cell for cell in old.cells}, new.cells, source, target)]
    for path, text in texts.items():
        if not path.is_file() or read_text(path) != text:
            write_atomic(path, text, masked=False)
    for name in gone:
        (target / f"{name}.txt").unlink(missing_ok=True)
    return changes


def _lock(path: Path) -> str:
    """The text of a lock with nothing but releases in it."""
    text = lock.read(path)
    for number, line in enumerate(text.splitlines(), start=1):
        if not LINE.fullmatch(line):
            raise UsageError(f"{path}: line {number}: {line[:80]!r} is not 'package==version'; not adopted")
    return text


def _changes(before: dict[str, Cell], cells: Sequence[Cell], source: Path, target: Path) -> Iterator[str]:
    """A line for each cell that comes, goes, or moves, with the versions of the stack."""
    for cell in cells:
        own = target / f"{cell.name}.txt"
        old = lock.read_versions(own) if cell.name in before and own.is_file() else {}
        path = own if cell.imported_from else source / f"{cell.name}.txt"
        if not path.is_file():
            yield f"{cell.name}: no lock"
            continue
        new = lock.read_versions(path)
        if old == new:
            continue
        core = [f"{name} {old.get(name, '(none)')} -> {new[name]}" for name in CORE if _moves(name, old, new)]
        moved = sum(old.get(name) != new.get(name) for name in {*old, *new})
        yield f"{cell.name}: {', '.join([*core, f'{moved} packages move'])}"
    gone = before.keys() - {cell.name for cell in cells}
    yield from (f"{name}: removed" for name in sorted(gone))


def _moves(name: str, old: dict[str, str], new: dict[str, str]) -> bool:
    return name in new and old.get(name) != new[name]
