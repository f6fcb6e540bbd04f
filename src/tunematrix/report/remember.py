"""Add to the history what a summary judged, and what the records of a folder say.

The history is never in the way: what keeps it from being written is one line, and the records stay.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunematrix.base.errors import TunematrixError, UsageError
from tunematrix.base.files import check_inside
from tunematrix.base.history import History
from tunematrix.base.record import Record
from tunematrix.base.runs import Noted, Run, Step, read_run
from tunematrix.base.store import CANDIDATES, OTHER_FILES, Entry, read_record
from tunematrix.locks import neighbours
from tunematrix.locks.table import Matrix
from tunematrix.report.rows import Row, comparable
from tunematrix.verdict.answer import Judgement, Knowledge, judge

IN_CELL_FOLDER = ("interrupted", "previous", "running")
LOG = "log.txt"  # beside it are the files of a cell, which are no records


def remember(history: History, rows: list[Row], entries: Mapping[str, Entry]) -> str:
    """Add the runs of ``entries`` and the steps of ``rows``; returns why that failed, empty if it did not."""
    runs, steps = [], []
    for entry in entries.values():
        runs += [Run.of(each) for each in (entry.record, entry.interrupted, entry.previous) if each]
    cut = {row.cell for row in rows if row.current and row.current.is_cut}
    for row in rows:
        before = entries.get(row.compared_with or "", Entry()).record
        record = entries.get(row.cell, Entry()).record
        # What is judged of a part of a record is no judgement of the run.
        if before and record and comparable(before, record) and not cut & {row.cell, row.compared_with}:
            steps.append(_step(Run.of(before), Run.of(record), row.judgement))
    return keep(history, runs, steps)


def keep(history: History, runs: list[Run], steps: list[Step] | None = None) -> str:
    """Add ``runs`` and ``steps``; returns why that failed in one line, empty if it did not."""
    try:
        history.append(runs, steps or [])
    except TunematrixError as error:
        return f"not added to the history: {error}"
    return ""


def _step(before: Run, run: Run, judgement: Judgement) -> Step:
    """The step between two complete runs, with the findings that people must read."""
    findings = (finding for finding in judgement.findings if finding.loud)
    return Step(
        run=run,
        before=before,
        answer=judgement.answer,
        findings=tuple(Noted.of(finding.id, finding.severity, finding.title) for finding in findings),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """How many runs and steps were new, and a line for each file that was left out or cannot be read."""

    runs: int
    steps: int
    left_out: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def import_folder(
    folder: Path, matrix: Matrix, history: History, knowledge: Callable[[], Knowledge]
) -> Imported:
    """Add the records below ``folder``, at any depth; twice is as once.

    Steps are judged between the records of one folder, such as those of one night; those that the history has
    are left as they are. A file of a cell of ``matrix`` that cannot be read is an error, another is left out.
    """
    runs: list[Run] = []
    left_out: list[str] = []
    errors: list[str] = []
    nights: dict[tuple[Path, str], dict[str, tuple[Path, Run]]] = {}
    cells = {cell.name for cell in matrix.cells}
    history.append([])  # one that cannot be written is refused before many records are read
    for path, cell in _record_files(folder):
        try:
            run = read_run(check_inside(path, folder), cell)
        except UsageError as error:
            (errors if cell in cells else left_out).append(f"{error}; left out")
            continue
        runs.append(run)
        if path.stem == cell and not run.interruption:
            nights.setdefault((path.parent, run.model), {})[cell] = path, run
    new = history.append(runs)
    judged, steps = history.judged(), []
    for night in nights.values():
        steps += list(_judge_night(night, matrix, judged, knowledge))
    history.append([], steps)
    return Imported(runs=new, steps=len(steps), left_out=left_out, errors=errors)


def _record_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files below ``folder`` that are records by their name, and their cells."""
    for parent, folders, names in os.walk(folder):
        hidden = [name for name in folders if name.startswith(".") or name == CANDIDATES]
        folders[:] = sorted(set(folders) - set(folders if LOG in names else hidden))
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix != ".json":
                continue
            if path.stem in IN_CELL_FOLDER:
                yield path, path.parent.name
            elif path.stem not in OTHER_FILES and LOG not in names:
                yield path, path.stem


def _judge_night(
    night: Mapping[str, tuple[Path, Run]],
    matrix: Matrix,
    judged: set[tuple[str, str]],
    knowledge: Callable[[], Knowledge],
) -> Iterator[Step]:
    """The steps between cells of one folder that are not ``judged`` yet."""
    records: dict[str, Record] = {}
    for cell in matrix.cells:
        reference = neighbours.reference(matrix, cell)
        if reference is None or reference not in night or cell.name not in night:
            continue
        before, run = night[reference][1], night[cell.name][1]
        if (run.digest, before.digest) in judged:
            continue
        for name in (reference, cell.name):
            if name not in records:
                records[name] = read_record(night[name][0])
        if comparable(records[reference], records[cell.name]):
            judgement = judge(records[reference], records[cell.name], knowledge())
            yield _step(before, run, judgement)
