"""``jobs`` and ``merge``: split the matrix into CI jobs, and collect their records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.files import check_inside
from tunematrix.base.history import History
from tunematrix.base.record import Record
from tunematrix.base.runs import Run, check_owner
from tunematrix.base.store import OTHER_FILES, Store, read_record
from tunematrix.cli.results import open_store
from tunematrix.locks import table
from tunematrix.locks.table import Matrix
from tunematrix.report.remember import keep
from tunematrix.shared import reading
from tunematrix.shared.output import print_lines

JOB_LIMIT: Final = 256  # GitHub's limit of jobs in one matrix
JOBS_HINT: Final = "give this command the output of 'nox -l --json'"


def job_matrix(sessions: Any) -> dict[str, list[dict[str, str]]]:
    """One job for each e2e session of ``nox -l --json``, in the format of GitHub's ``strategy.matrix``.

    Raises ``UsageError`` if there are no such sessions, or more than a matrix can hold.
    """
    jobs = [job for session in sessions if (job := _job(session))] if isinstance(sessions, list) else []
    if not jobs:
        raise UsageError(f"no e2e sessions in it; {JOBS_HINT}")
    if len(jobs) > JOB_LIMIT:
        raise UsageError(f"{len(jobs)} cells, but one job matrix holds {JOB_LIMIT}; split matrix.toml")
    return {"include": jobs}


def _job(session: Any) -> dict[str, str] | None:
    """The job for a session; None if the session is not that of a cell."""
    if not isinstance(session, Mapping) or session.get("name") != "e2e":
        return None
    spec = session.get("call_spec")
    job = {
        "cell": spec.get("cell") if isinstance(spec, Mapping) else None,
        "session": session.get("session"),
        "python": session.get("python"),
    }
    texts = {key: value for key, value in job.items() if isinstance(value, str)}
    return texts if len(texts) == len(job) else None


def merge_records(matrix: Matrix, folder: Path, store: Store) -> tuple[list[str], list[str]]:
    """Add the records below ``folder`` to ``store``; returns what was left out and the errors, a line each.

    The newest record of a cell and model wins, also over one that is already there. Records come from jobs
    that run unvetted packages: nothing but the records of cells of the matrix is written, each where the
    records of its cell and model lie.
    """
    left_out, errors, runs = [], [], []
    for path in sorted(folder.rglob("*.json")):
        cell = path.parent.name if path.stem == "interrupted" else path.stem
        if cell in OTHER_FILES or not path.is_file():
            continue
        try:
            matrix.cell(cell)
        except UsageError:
            left_out.append(f"{path}: left out: '{cell}' is no cell of the matrix")
            continue
        try:
            record = _check_record(path, cell, folder)
            runs.append(Run.of(record))
            if reason := store.add(record):
                left_out.append(f"{path}: left out: {reason}")
        except UsageError as error:
            errors.append(str(error))
    if runs and (problem := keep(History(store.root), runs)):
        left_out.append(problem)
    return left_out, errors


def _check_record(path: Path, cell: str, folder: Path) -> Record:
    """The record in ``path``; raises ``UsageError`` if it is not of ``cell``, or not below ``folder``."""
    return check_owner(read_record(check_inside(path, folder)), path, cell)


@click.command()
@click.argument("sessions", type=click.File(), default="-")
def jobs(sessions: TextIO) -> None:
    """Convert the output of 'nox -l --json' to a job matrix for GitHub."""
    try:
        content = reading.parse_json(sessions.read(), "the list of sessions")
    except ValueError as error:
        raise UsageError(f"{error}; {JOBS_HINT}") from None
    click.echo(json.dumps(job_matrix(content)))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def merge(folder: Path) -> int:
    """Copy the records of CI jobs to the results folder.

    FOLDER contains the records, at any depth. Of each cell and model the newest record stays. Run 'report'
    afterwards.
    """
    left_out, errors = merge_records(table.load(), folder, open_store())
    print_lines([*left_out, *errors], err=True)
    return UsageError.exit_code if errors else 0
