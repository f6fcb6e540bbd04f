"""``jobs`` and ``merge``: split the matrix into CI jobs, and collect their records."""

from __future__ import annotations

import contextlib
import heapq
import json
import re
import statistics
from collections.abc import Collection, Mapping, Sequence
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
DEFAULT_SECONDS: Final = 60.0  # of a cell, where no record says more
LONGEST_SECONDS: Final = 86_400  # a record that claims more is not believed
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")  # as records have it
JOBS_HINT: Final = "give this command the output of 'nox -l --json'"


def job_matrix(sessions: Any) -> dict[str, list[dict[str, str]]]:
    """One job for each e2e session of ``nox -l --json``, in the format of GitHub's ``strategy.matrix``.

    Raises ``UsageError`` if there are no such sessions, or more than a matrix can hold.
    """
    jobs = _jobs(sessions)
    if len(jobs) > JOB_LIMIT:
        hint = "pass --max to put several into one job"
        raise UsageError(f"{len(jobs)} cells, but one job matrix holds {JOB_LIMIT}; {hint}")
    return {"include": jobs}


def shard_matrix(sessions: Any, limit: int, seconds: Mapping[str, float]) -> dict[str, list[dict[str, str]]]:
    """At most ``limit`` jobs with several cells each, which take about the same time by ``seconds`` a cell.

    The longest cell first, each to the job with the least to do. A cell without a time takes the median of
    the others. ``cells`` and ``sessions`` of a job are separated by spaces, its ``python`` versions by lines.
    Raises ``UsageError`` as ``job_matrix``.
    """
    jobs = _jobs(sessions)
    default = statistics.median(seconds.values()) if seconds else DEFAULT_SECONDS
    times = {job["cell"]: seconds.get(job["cell"], default) for job in jobs}
    shards: list[list[dict[str, str]]] = [[] for _ in range(min(limit, len(jobs)))]
    loads = [(0.0, index) for index in range(len(shards))]  # a heap
    for job in sorted(jobs, key=lambda job: (-times[job["cell"]], job["cell"])):
        load, index = loads[0]
        heapq.heapreplace(loads, (load + times[job["cell"]], index))
        shards[index].append(job)
    return {"include": [_shard(number, shard) for number, shard in enumerate(shards, start=1)]}


def _shard(number: int, jobs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {
        "shard": str(number),
        "cells": " ".join(job["cell"] for job in jobs),
        "sessions": " ".join(job["session"] for job in jobs),
        "python": "\n".join(sorted({job["python"] for job in jobs})),
    }


def recorded_seconds(folder: Path) -> dict[str, float]:
    """By cell, how long the newest record below ``folder`` took; empty without such a folder.

    What is no record is left out: without it the jobs are less well balanced, and nothing else.
    """
    newest: dict[str, Record] = {}
    for path in sorted(folder.rglob("*.json")):
        with contextlib.suppress(UsageError):
            record = read_record(check_inside(path, folder))
            if record.cell not in newest or newest[record.cell].started < record.started:
                newest[record.cell] = record
    return {cell: record.seconds for cell, record in newest.items() if 0 < record.seconds < LONGEST_SECONDS}


def _jobs(sessions: Any) -> list[dict[str, str]]:
    jobs = [job for session in sessions if (job := _job(session))] if isinstance(sessions, list) else []
    if not jobs:
        raise UsageError(f"no e2e sessions in it; {JOBS_HINT}")
    return jobs


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


def merge_records(
    matrix: Matrix, folder: Path, store: Store, cells: Collection[str] = (), since: str = ""
) -> tuple[list[str], list[str]]:
    """Add the records below ``folder`` to ``store``; returns what was left out and the errors, a line each.

    With ``cells``, those of these cells alone; with ``since``, those that ran, or were reused, since then.

    The newest record of a cell and model wins, also over one that is already there. Records come from jobs
    that run unvetted packages: nothing but the records of cells of the matrix is written, each where the
    records of its cell and model lie.
    """
    left_out, errors, runs = [], [], []
    for path in sorted(folder.rglob("*.json")):
        cell = path.parent.name if path.stem == "interrupted" else path.stem
        if cell in OTHER_FILES or not path.is_file() or (cells and cell not in cells):
            continue
        try:
            matrix.cell(cell)
        except UsageError:
            left_out.append(f"{path}: left out: '{cell}' is no cell of the matrix")
            continue
        try:
            record = _check_record(path, cell, folder)
            runs.append(Run.of(record))
            if reason := _too_old(record, since) or store.add(record):
                left_out.append(f"{path}: left out: {reason}")
        except UsageError as error:
            errors.append(str(error))
    if runs and (problem := keep(History(store.root), runs)):
        left_out.append(problem)
    return left_out, errors


def _too_old(record: Record, since: str) -> str:
    return (
        f"of {record.last_used or 'an unknown day'}, before this run began"
        if record.last_used < since
        else ""
    )


def _check_record(path: Path, cell: str, folder: Path) -> Record:
    """The record in ``path``; raises ``UsageError`` if it is not of ``cell``, or not below ``folder``."""
    return check_owner(read_record(check_inside(path, folder)), path, cell)


@click.command()
@click.argument("sessions", type=click.File(), default="-")
@click.option(
    "--max",
    "limit",
    type=click.IntRange(1, JOB_LIMIT),
    help=f"Put several cells into a job, so that there are at most so many; {JOB_LIMIT} at most.",
)
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    help="With --max, a folder with the records of an earlier run, to balance the jobs; may be missing.",
)
def jobs(sessions: TextIO, *, limit: int | None, records: Path | None) -> None:
    """Convert the output of 'nox -l --json' to a job matrix for GitHub."""
    if records and not limit:
        raise UsageError("--records balances jobs of several cells; pass --max too")
    try:
        content = reading.parse_json(sessions.read(), "the list of sessions")
    except ValueError as error:
        raise UsageError(f"{error}; {JOBS_HINT}") from None
    seconds = recorded_seconds(records) if records else {}
    click.echo(json.dumps(shard_matrix(content, limit, seconds) if limit else job_matrix(content)))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--since", metavar="TIME", help="Leave out what ran before, such as 2026-11-28T03:17:00Z.")
def merge(folder: Path, cells: tuple[str, ...], *, since: str | None) -> int:
    """Copy the records of CI jobs to the results folder; with CELL..., those of these cells.

    FOLDER contains the records, at any depth. Of each cell and model the newest record stays. Run 'report'
    afterwards.
    """
    if since is not None and not TIME.fullmatch(since):
        raise UsageError(f"--since {since[:80]!r}: not a time such as 2026-11-28T03:17:00Z")
    matrix = table.load()
    names = [matrix.cell(name).name for name in cells]
    left_out, errors = merge_records(matrix, folder, open_store(), names, since or "")
    print_lines([*left_out, *errors], err=True)
    return UsageError.exit_code if errors else 0
