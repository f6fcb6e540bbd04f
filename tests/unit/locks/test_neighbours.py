"""Each cell is compared with the one that it differs from by design."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.locks import neighbours, table
from tunematrix.locks.table import Cell, Matrix

SHIPPED = table.load(Path(__file__).parents[3] / "constraints")
EXPECTED = {
    "trl-0.9": (None, "diagonal"),
    "trl-0.9-today": ("trl-0.9", "rot"),
    "trl-0.12": ("trl-0.9", "diagonal"),
    "trl-0.26": ("trl-0.24", "diagonal"),
    "trl-0.29": ("trl-0.26", "diagonal"),
    "trl-0.26-peft-behind": ("trl-0.26", "skews"),
    "trl-0.19-transformers-5.0": ("trl-0.26", "skews"),
    "trl-1.0": ("trl-0.29", "diagonal"),
    "latest": ("trl-1.16", "edges"),
    "latest-floor": ("latest", "edges"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_shipped_cells_have_their_neighbours(name: str) -> None:
    cell = SHIPPED.cell(name)

    assert (neighbours.reference(SHIPPED, cell), neighbours.group(SHIPPED, cell)) == EXPECTED[name]


def test_no_shipped_cell_is_compared_with_itself_or_with_one_that_is_not_there() -> None:
    names = {cell.name for cell in SHIPPED.cells}
    references = {cell.name: neighbours.reference(SHIPPED, cell) for cell in SHIPPED.cells}

    assert all(reference in names - {name} for name, reference in references.items() if reference)
    assert [name for name, reference in references.items() if reference is None] == ["trl-0.9"]


def test_compare_names_another_cell() -> None:
    cell = replace(SHIPPED.cell("latest"), compare="trl-0.9")

    assert neighbours.reference(SHIPPED, cell) == "trl-0.9"


def test_an_imported_cell_is_compared_with_the_baseline() -> None:
    ours = Cell(name="ours", imported_from="requirements.txt")
    matrix = Matrix(folder=Path(), cells=(Cell(name="base"), ours), baseline="base")

    assert (neighbours.reference(matrix, ours), neighbours.group(matrix, ours)) == ("base", "imported")


@pytest.mark.parametrize("name", ["b", "a"])
def test_compare_must_be_another_cell(name: str) -> None:
    content = {"schema": 1, "cell": [{"name": "a", "compare": name, "pins": {"trl": "1.0"}}]}

    with pytest.raises(UsageError, match="compare: no other cell"):
        table.parse(content, Path("c"))
