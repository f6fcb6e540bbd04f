"""Which cell a cell is compared with: the one that it differs from by design."""

from __future__ import annotations

from typing import Final

from tunematrix.locks.table import CORE, Cell, Matrix

# In the order in which a reader expects them.
GROUPS: Final = ("diagonal", "skews", "rot", "edges", "imported")
HEADINGS: Final = {
    "diagonal": "Over time",
    "skews": "One package apart",
    "rot": "Resolved today",
    "edges": "Newest and lowest",
    "imported": "Imported",
}


def group(matrix: Matrix, cell: Cell) -> str:
    """One of ``GROUPS``: by the rule that made the cell, else by its tags and its twin."""
    if cell.imported_from:
        return "imported"
    if cell.rule in ("latest", "latest-floor"):
        return "edges"
    if cell.rule == "skew" or "skew" in cell.tags:
        return "skews"
    return "rot" if _twin(matrix, cell) else "diagonal"


def reference(matrix: Matrix, cell: Cell) -> str | None:
    """The name of the cell to compare with; None for the first of the diagonal.

    The diagonal is compared with the cell before, a skew with the baseline, a cell resolved today with its
    twin of the day, ``latest`` with the newest of the diagonal and ``latest-floor`` with ``latest``.
    ``compare`` in ``matrix.toml`` names another.
    """
    if cell.compare:
        return cell.compare
    own = group(matrix, cell)
    if own in ("skews", "imported"):
        return matrix.baseline if matrix.baseline != cell.name else None
    if own == "rot":
        return _twin(matrix, cell)
    if cell.rule == "latest-floor":
        return next((other.name for other in matrix.cells if other.rule == "latest"), None)
    diagonal = [other.name for other in matrix.cells if group(matrix, other) == "diagonal"]
    if own == "edges":
        return diagonal[-1] if diagonal else None
    place = diagonal.index(cell.name)
    return diagonal[place - 1] if place else None


def _twin(matrix: Matrix, cell: Cell) -> str | None:
    """The cell with the same core pins as of a day, if ``cell`` itself is of today."""
    pins = [cell.pins.get(name) for name in CORE]
    if cell.as_of or None in pins:
        return None
    twins = (
        other for other in matrix.cells if other.as_of and [other.pins.get(name) for name in CORE] == pins
    )
    return next((other.name for other in twins), None)
