"""Edits the lines of ``matrix.toml``; comments, formatting, line ends and all other text stay."""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from tunematrix.base import toml
from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.locks import table
from tunematrix.locks.table import FILE, Cell, Matrix

HEADER: Final = re.compile(r"\s*\[{1,2}[^\[\]]+\]{1,2}\s*(#.*)?$")
CELL_HEADER: Final = re.compile(r"\s*\[\[\s*[\"']?cell[\"']?\s*\]\]")
PART_HEADER: Final = re.compile(r"\s*\[\s*[\"']?cell[\"']?\s*\.")
MULTILINE_QUOTES: Final = re.compile(r"\"\"\"|'''")


@dataclass(frozen=True, kw_only=True, slots=True)
class Edits:
    """Changes to the cells of a matrix, made in this order.

    With each cell in ``add`` comes the name of the cell before which it goes, or None to append it. The
    cells in ``replace`` get other pins, and the name of the file from which they were imported.
    """

    remove: Sequence[str] = ()
    add: Sequence[tuple[Cell, str | None]] = ()
    replace: Sequence[Cell] = ()


def edit(folder: Path, edits: Edits) -> None:
    """Write ``edited_text`` to ``matrix.toml`` in ``folder``; raises ``UsageError`` before that."""
    path = folder / FILE
    text = edited_text(folder, edits)
    byte_order_mark = "\ufeff" if path.read_bytes().startswith(codecs.BOM_UTF8) else ""
    # The file itself, if this is a link to it.
    write_atomic(path.resolve(), byte_order_mark + text, masked=False)


def edited_text(folder: Path, edits: Edits) -> str:
    """The text of ``matrix.toml`` after ``edits``.

    Raises ``UsageError`` if that text could not be read again, or would have other cells than it should.
    """
    path = folder / FILE
    text = toml.read_text(path)
    before = table.parse(toml.parse(text, path), folder)
    try:
        after_text = _apply(text, edits, before.python)
        after = table.parse(toml.parse(after_text, path), folder)
    # The lines of a cell may be cut where a value of several lines goes on; what that raises is any of these.
    except (UsageError, TOMLKitError, ValueError, KeyError, TypeError, AttributeError):
        after = None
    if after is None or not _is_expected(before, after, edits):
        raise UsageError(
            f"{path}: cannot be edited because of how its cells are written; "
            "write each cell as a table: [[cell]], its keys, [cell.pins], its pins"
        )
    return after_text


def _apply(text: str, edits: Edits, default_python: str) -> str:
    """Make the edits one by one, with the line ends that most lines have."""
    windows = text.count("\r\n") * 2 > text.count("\n")
    end = "\r\n" if windows else "\n"
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1:] = [lines[-1].rstrip("\n") + end] if lines[-1].strip() else []
    for name in edits.remove:
        _remove(lines, name)
    for cell, before in edits.add:
        python = None if cell.python == default_python else cell.python
        _insert(lines, [line + end for line in _to_entry(cell, python)], before)
    for cell in edits.replace:
        start, stop = _find(lines, cell.name)
        entry = tomlkit.parse("".join(lines[start:stop]).replace("\r\n", "\n"))
        _replace_pins(entry["cell"][0], cell)
        lines[start:stop] = [line + end for line in tomlkit.dumps(entry).rstrip("\n").split("\n")]
    return "".join(lines)


def _remove(lines: list[str], name: str) -> None:
    """Remove a cell with the blank lines after it; the comments above it and after it stay."""
    start, stop = _find(lines, name)
    while stop < len(lines) and not lines[stop].strip():
        stop += 1
    del lines[start:stop]


def _insert(lines: list[str], entry: list[str], before: str | None) -> None:
    """Insert a cell before another, above the comments of that one; or at the end."""
    blank = entry[-1][len(entry[-1].rstrip("\r\n")) :]
    if before is None:
        lines += [*([blank] if lines and lines[-1].strip() else []), *entry]
        return
    start, _ = _find(lines, before)
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    lines[start:start] = [*entry, blank]


def _find(lines: list[str], name: str) -> tuple[int, int]:
    """The lines of the cell ``name``, without the comments and blank lines after it."""
    for start, stop in _spans(lines):
        entries = toml.parse("".join(lines[start:stop]), Path(FILE))["cell"]
        if entries[0]["name"] == name:
            return start, stop
    raise KeyError(name)


def _spans(lines: Iterable[str]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    inside_cell = inside_text = False
    for number, line in enumerate(lines):
        if not inside_text and HEADER.match(line):
            if CELL_HEADER.match(line):
                spans.append((number, number + 1))
            inside_cell = bool(CELL_HEADER.match(line) or (inside_cell and PART_HEADER.match(line)))
        if inside_cell and (inside_text or (line.strip() and not line.lstrip().startswith("#"))):
            spans[-1] = (spans[-1][0], number + 1)
        inside_text ^= len(MULTILINE_QUOTES.findall(line)) % 2 == 1
    return spans


def _to_entry(cell: Cell, python: str | None) -> list[str]:
    """The lines of a new cell; ``python`` is None if it is the default."""
    keys = {
        "name": cell.name,
        "why": cell.why,
        "python": python,
        "as_of": cell.as_of,
        "rule": cell.rule,
        "compare": cell.compare,
        "imported_from": cell.imported_from,
        "tags": list(cell.tags) or None,
    }
    lines = ["[[cell]]", *_assignments({key: value for key, value in keys.items() if value is not None})]
    return [*lines, "", "[cell.pins]", *_assignments(cell.pins)] if cell.pins else lines


def _assignments(values: Any) -> list[str]:
    return [
        f"{tomlkit.key(key).as_string()} = {tomlkit.item(value).as_string()}" for key, value in values.items()
    ]


def _replace_pins(entry: Any, cell: Cell) -> None:
    entry["given" if "given" in entry else "imported_from"] = cell.imported_from
    entry.pop("torch", None)  # is among the pins
    pins = entry.setdefault("pins", {})
    for package in [package for package in pins if package not in cell.pins]:
        del pins[package]
    for package, version in cell.pins.items():
        if pins.get(package) != version:
            pins[package] = version


def _is_expected(before: Matrix, after: Matrix, edits: Edits) -> bool:
    """Whether exactly the requested cells changed, and nothing else."""
    written = [*(cell for cell, _ in edits.add), *edits.replace]
    kept = [cell.name for cell in before.cells if cell.name not in edits.remove]
    expected = {cell.name: cell for cell in before.cells if cell.name in kept}
    expected |= {cell.name: _as_read(cell, before.torch) for cell in written}
    return (
        {cell.name: cell for cell in after.cells} == expected
        and [cell.name for cell in after.cells if cell.name in kept] == kept
        and (after.baseline, after.policy, after.torch) == (before.baseline, before.policy, before.torch)
    )


def _as_read(cell: Cell, default_torch: str | None) -> Cell:
    """The cell as ``table.parse`` reads it, with the default torch among its pins."""
    if cell.imported_from or not default_torch:
        return cell
    return dataclasses.replace(cell, pins=dict(sorted({"torch": default_torch, **cell.pins}.items())))
