"""Write the summary of a results folder from its records, under a lock, at any time."""

from __future__ import annotations

import json

from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks.table import Matrix
from tunematrix.report import markdown
from tunematrix.report import summary as view
from tunematrix.verdict import causes, ledger


def load_records(matrix: Matrix, store: Store) -> dict[str, Record]:
    """The records of the cells in the matrix; a record that cannot be read counts as missing."""
    records = {cell.name: store.load(cell.name) for cell in matrix.cells}
    return {name: record for name, record in records.items() if record}


def refresh(matrix: Matrix, store: Store) -> view.Summary:
    """Write ``summary.json`` and ``summary.md``; returns the summary."""
    with store.locked("summary"):
        model, records = view.latest_model(load_records(matrix, store))
        issues = ledger.load(matrix.folder)
        rows = view.rows(matrix, records, issues, causes.load(matrix.folder))
        summary = view.Summary(model=model, rows=rows, ledger=issues)
        content = json.dumps(view.summary_json(summary), indent=1, ensure_ascii=False) + "\n"
        write_atomic(store.folder / "summary.json", content)
        write_atomic(store.folder / "summary.md", markdown.render(summary))
    return summary
