"""``jobs`` and ``merge``: the matrix as jobs of a CI service, and their records in one place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store, read
from tunematrix.locks import table
from tunematrix.locks.table import Matrix

JOB_LIMIT = 256  # GitHub's limit of jobs in one matrix


def job_matrix(sessions: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, str]]]:
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


def merge_records(matrix: Matrix, folder: Path, store: Store) -> list[str]:
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


@click.command()
@click.argument("sessions", type=click.File(), default="-")
def jobs(sessions: TextIO) -> None:
    """Turn the output of 'nox -l --json' into a job matrix for GitHub."""
    try:
        listed = json.load(sessions)
    except ValueError as error:
        raise UsageError(f"not the output of 'nox -l --json': {error}") from None
    click.echo(json.dumps(job_matrix(listed)))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def merge(folder: Path) -> int:
    """Bring the records of several jobs, below FOLDER, into the results folder; then see 'report'."""
    wrong = merge_records(table.load(), folder, Store())
    for line in wrong:
        click.echo(line, err=True)
    return UsageError.exit_code if wrong else 0
