"""The ladder: run every rung once, so that each change belongs to the release that brought it."""

from __future__ import annotations

import dataclasses
import datetime
import queue
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks import rungs, table
from tunematrix.locks.rungs import Progress, Rung
from tunematrix.locks.table import CORE, Cell, Matrix
from tunematrix.run import cell as cells
from tunematrix.run.options import Options
from tunematrix.verdict import ledger, releases
from tunematrix.verdict.answer import Knowledge, judge

FOLDER: Final = ".ladder"  # in the results: locks, records, and an environment for each job


def plan(store: Store, since: datetime.date, until: datetime.date, progress: Progress) -> Iterator[Rung]:
    """The rungs from ``since`` to ``until``, as their locks are made or found."""
    matrix = table.load()
    base = Cell(name="ladder", python=matrix.python, pins={"torch": matrix.torch} if matrix.torch else {})
    return rungs.chain(store.root / FOLDER / "locks", since, until, base, progress)


def climb(store: Store, chain: Iterable[Rung], options: Options, jobs: int) -> Iterator[tuple[Rung, Record]]:
    """Run the rungs, ``jobs`` at a time, and yield each with its record, in the order in which they end.

    The first run while the locks of later ones are made. A rung whose lock, tests and measures are
    unchanged is not run again, so an interrupted climb goes on.
    Each job has one environment.
    """
    folder = store.root / FOLDER
    own = Store(folder, store.model)
    annotate, python = ledger.load(table.constraints_folder()).annotate, table.load().python
    slots: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for number in range(jobs):
        slots.put(folder / f".environment-{number}")

    def run(rung: Rung) -> tuple[Rung, Record]:
        slot = slots.get()
        try:
            cell = Cell(name=rung.path.stem, why="a rung of the ladder", python=python)
            matrix = Matrix(folder=rung.path.parent, cells=(cell,))
            own_options = dataclasses.replace(options, venv=slot)
            return rung, cells.run(matrix, cell, own_options, own, annotate)
        finally:
            slots.put(slot)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(run, chain)


def changes(chain: Sequence[Rung], records: Sequence[Record], progress: Progress) -> Iterator[releases.Rung]:
    """What each rung changed; ``records`` are those of ``chain``, in its order.

    Leaves out a rung if the machine ended its run or that of the rung before: another run may tell.
    """
    knowledge = dataclasses.replace(Knowledge.load(table.constraints_folder()), rungs=())
    for before, after, rung in zip(records, records[1:], chain[1:], strict=False):
        if interruption := after.interruption or before.interruption:
            progress(f"{rung.name}: not compared, {interruption.one_line}")
            continue
        judged = judge(before, after, knowledge)
        yield releases.measured(_bare(rung), before, after, judged.diff, judged.findings)


def _bare(rung: Rung) -> releases.Rung:
    """The rung without what it changed.

    One that waited for another joins under its name: transformers 5 could join when huggingface-hub 1 was
    there. If one of several is a package that people pin, the rung is its own.
    """
    also = dict(rung.also)
    package, before, after = rung.package, rung.before, rung.after
    if package not in CORE and (core := next((name for name in CORE if all(also.get(name, ("",)))), "")):
        also[package] = before, after
        package, (before, after) = core, also.pop(core)
    return releases.Rung(
        day=str(rung.day), package=package, before=before, after=after, also=dict(sorted(also.items()))
    )
