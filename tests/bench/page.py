"""``nox -s bench``: the time and the size of the page with a hundred cells, of six real records in turn.

Every cell's numbers are its own, so that no two cells are the same in the data to compare.
"""

from __future__ import annotations

import dataclasses
import datetime
import sys
import time
from typing import Any, Final

from tests.browser.records import ROOT, record

from tunematrix.base.store import Entry
from tunematrix.locks import lock, table
from tunematrix.locks.table import CORE, Cell, Matrix
from tunematrix.report import summary as view
from tunematrix.report.page.render import render
from tunematrix.report.rows import rows
from tunematrix.verdict import ledger, releases
from tunematrix.verdict.answer import Knowledge

CELLS: Final = 100
MAX_SECONDS: Final = 2.0
MAX_BYTES: Final = 2_000_000
NAMES: Final = ("trl-0.26", "trl-0.29.1", "trl-1.16.0", "transformers-5.1.0", "peft-0.21.2", "against-latest")


def moved(value: Any, share: float) -> Any:
    """A number that no other cell has, or a list of such."""
    if isinstance(value, list):
        return [moved(item, share) for item in value]
    return value * (1 + share) if isinstance(value, float) else value


def main() -> int:
    known = dataclasses.replace(
        Knowledge.load(ROOT / "constraints", today=datetime.date.min), ledger=ledger.shipped()
    )
    entries, cells = {}, []
    for number in range(CELLS):
        name = f"cell-{number}"
        found = record(name, NAMES[number % len(NAMES)])
        numbers = {key: moved(value, number / 1000) for key, value in found.fingerprint.items()}
        entries[name] = Entry(record=dataclasses.replace(found, fingerprint=numbers))
        cells.append(Cell(name=name, pins={package: found.packages[package] for package in CORE}))
    shipped = table.load(ROOT / "constraints")
    text = lock.read(shipped.lock_path(shipped.cells[-1]))
    matrix = Matrix(folder=ROOT / "constraints", cells=tuple(cells))
    summary = view.Summary(model="bench", rows=rows(matrix, entries, known), ledger=known.ledger)
    start = time.process_time()
    page = render(summary, {cell.name: text for cell in cells}, releases.load(), known.ledger.issues)
    seconds, size = time.process_time() - start, len(page.encode())
    print(
        f"the page of {CELLS} cells: {seconds:.2f} s, at most {MAX_SECONDS:g} s; "
        f"{size / 1e6:.2f} MB, at most {MAX_BYTES / 1e6:g} MB"
    )
    return seconds > MAX_SECONDS or size > MAX_BYTES


if __name__ == "__main__":
    sys.exit(main())
