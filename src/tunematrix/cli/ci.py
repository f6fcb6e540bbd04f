"""The matrix as jobs of a CI: which to start, and their records brought together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store, read
from tunematrix.locks.table import Matrix

JOB_LIMIT = 256  # GitHub's limit of jobs in one matrix


def jobs(sessions: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """One job for each e2e session of ``nox -l --json``, as GitHub's ``strategy.matrix`` takes them.

    Raises ``UsageError`` where there are none, or more than a matrix can hold.
    """
    found = [
        {"cell": row["call_spec"]["cell"], "session": row["session"], "python": row["python"]}
        for row in sessions
        if row["name"] == "e2e" and row["call_spec"]
    ]
    if not found:
        raise UsageError("no e2e sessions on standard input; pipe 'nox -l --json' into this")
    if len(found) > JOB_LIMIT:
        raise UsageError(f"{len(found)} cells, but one job matrix holds {JOB_LIMIT}; split matrix.toml")
    return {"include": found}


def merge(matrix: Matrix, folder: Path, store: Store) -> list[str]:
    """Bring the records below ``folder`` into ``store``; returns what was wrong, a line each.

    Of several records of one cell the newest counts. What is not there is not made up: the summary shows
    such a cell as unknown.
    """
    newest: dict[str, Record] = {}
    wrong = []
    for cell in matrix.cells:
        for path in sorted(folder.rglob(f"{cell.name}.json")):
            try:
                record = read(path)
            except UsageError as error:
                wrong.append(str(error))
                continue
            if cell.name not in newest or record.started > newest[cell.name].started:
                newest[cell.name] = record
    for record in newest.values():
        store.save(record)
    return wrong
