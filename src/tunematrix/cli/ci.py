"""``jobs`` and ``merge``: split the matrix into CI jobs, and collect their records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store, read_record
from tunematrix.locks import table
from tunematrix.locks.table import Matrix

JOB_LIMIT = 256  # GitHub's limit of jobs in one matrix


def job_matrix(sessions: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, str]]]:
    """One job for each e2e session of ``nox -l --json``, in the format of GitHub's ``strategy.matrix``.

    Raises ``UsageError`` if there are no such sessions, or more than a matrix can hold.
    """
    jobs = [
        {
            "cell": session["call_spec"]["cell"],
            "session": session["session"],
            "python": session["python"],
        }
        for session in sessions
        if session["name"] == "e2e" and session["call_spec"]
    ]
    if not jobs:
        raise UsageError("no e2e sessions on standard input; pipe 'nox -l --json' into this command")
    if len(jobs) > JOB_LIMIT:
        raise UsageError(f"{len(jobs)} cells, but one job matrix holds {JOB_LIMIT}; split matrix.toml")
    return {"include": jobs}


def merge_records(matrix: Matrix, folder: Path, store: Store) -> list[str]:
    """Copy the records below ``folder`` to ``store``; returns the errors, a line each.

    The newest record of a cell wins. A cell without a record stays without one: the summary shows it as
    unknown.
    """
    newest: dict[str, Record] = {}
    errors = []
    for cell in matrix.cells:
        for path in sorted(folder.rglob(f"{cell.name}.json")):
            try:
                record = read_record(path)
            except UsageError as error:
                errors.append(str(error))
                continue
            if cell.name not in newest or record.started > newest[cell.name].started:
                newest[cell.name] = record
    for record in newest.values():
        store.save(record)
    return errors


@click.command()
@click.argument("sessions", type=click.File(), default="-")
def jobs(sessions: TextIO) -> None:
    """Convert the output of 'nox -l --json' to a job matrix for GitHub."""
    try:
        listing = json.load(sessions)
    except ValueError as error:
        raise UsageError(f"not the output of 'nox -l --json': {error}") from None
    click.echo(json.dumps(job_matrix(listing)))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def merge(folder: Path) -> int:
    """Copy the records of CI jobs to the results folder.

    FOLDER contains the records, at any depth. Run 'report' afterwards.
    """
    errors = merge_records(table.load(), folder, Store())
    for error in errors:
        click.echo(error, err=True)
    return UsageError.exit_code if errors else 0
