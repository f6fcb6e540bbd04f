"""One cell, from lock to record: lock -> provision -> serve -> run -> record."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tunematrix.base.errors import InfrastructureError, UntestableError, UsageError
from tunematrix.base.record import Failure, Record
from tunematrix.base.store import Store
from tunematrix.locks import lock
from tunematrix.locks.table import Cell, Matrix
from tunematrix.run import artifacts, environment, evidence, models, process
from tunematrix.run.keys import hash_tree, key, reusable
from tunematrix.run.options import Options

ATTEMPTS: Final = 3
NO_TESTS: Final = 5  # pytest's exit code


def run(
    matrix: Matrix,
    cell: Cell,
    options: Options,
    store: Store,
    annotate: Callable[[Record], Record] = lambda record: record,
) -> Record:
    """Run ``cell``, or take its record when nothing it depends on has changed; returns the record.

    One run of a cell at a time: a second one waits, and then usually finds the first one's record.
    ``annotate`` adds what the caller knows about a record before it is saved.
    """
    if options.workload and not options.workload.is_dir():
        raise UsageError(f"--workload {options.workload}: no such folder")
    choice = models.choose(options.model)
    with store.locked(cell.name):
        started = datetime.datetime.now(datetime.UTC)
        clock = time.perf_counter()
        record, attempts = _with_retries(matrix, cell, options, choice, store)
        if not record.reused:
            record = dataclasses.replace(
                record,
                attempts=attempts,
                started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                seconds=round(time.perf_counter() - clock, 2),
            )
        record = annotate(record)
        # A selection is no evidence for the whole cell: it does not replace the record of one.
        store.save(record, store.work(cell.name) / "partial.json" if options.select else None)
    return record


def _with_retries(
    matrix: Matrix, cell: Cell, options: Options, choice: models.Choice, store: Store
) -> tuple[Record, int]:
    """The cell's record and the number of attempts: infrastructure trouble is tried again, twice."""
    for attempts in range(1, ATTEMPTS + 1):
        try:
            return _run(matrix, cell, options, choice, store), attempts
        except UntestableError as error:
            if attempts == ATTEMPTS or not isinstance(error, InfrastructureError):
                return untestable(cell, choice, error), attempts
    raise AssertionError("the last attempt returns")


def _run(matrix: Matrix, cell: Cell, options: Options, choice: models.Choice, store: Store) -> Record:
    path = matrix.lock(cell)
    if not path.is_file():
        lock.write(cell, path)
    packages = lock.versions(path.read_text(), str(path))
    venv = options.venv or store.work(cell.name) / "venv"
    if not environment.python_of(venv).exists():
        environment.make(venv, cell.python)
    with models.hub_for(choice, cell.name) as served:
        record = Record(
            cell=cell.name,
            outcome="not_run",
            lock={"path": path.as_posix(), "sha256": environment.sha256(path)},
            environment={
                "python": environment.python_version(venv),
                "platform": environment.platform_name(),
                "threads": 1,
                "packages": packages,
            },
            model={"name": choice.name, "revision": served.revision, "hub": choice.hub},
            options={"workload": hash_tree(options.workload)} if options.workload else {},
        )
        record = dataclasses.replace(record, key=key(record, options))
        if earlier := _reusable(record, options, store):
            return earlier
        environment.sync(venv, path, cell)
        return execute(record, venv, options, served, store.work(cell.name))


def _reusable(record: Record, options: Options, store: Store) -> Record | None:
    """The earlier record of the same key, where it will do."""
    if options.rerun or options.select:
        return None
    if options.keep_artifacts and not artifacts.folder_of(store, record.cell).is_dir():
        return None
    earlier = store.load(record.cell)
    return dataclasses.replace(earlier, reused=True) if earlier and reusable(earlier, record.key) else None


def untestable(cell: Cell, choice: models.Choice, error: UntestableError) -> Record:
    """The record of a cell that could not be run at all."""
    failure = Failure(type=type(error).__name__, message=str(error))
    model = {"name": choice.name, "hub": choice.hub}
    packages = {"packages": dict(cell.pins)}
    return Record(cell=cell.name, outcome=error.outcome, error=failure, model=model, environment=packages)


def execute(record: Record, venv: Path, options: Options, served: models.Served, work: Path) -> Record:
    """Run the cell's tests in one process, and complete ``record`` with what they left on disk."""
    folder = work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report, log = work / "report.jsonl", work / "log.txt"
    report.unlink(missing_ok=True)
    variables = environment.variables(
        venv, folder, served.variables, real_hub=record.model["hub"] != "embedded"
    )
    variables |= {"TUNEMATRIX_CELL": record.cell, **_folders(options)}
    command = process.command(venv, options, folder, report)
    code = process.run(command, variables, folder, log, options.limit)
    if code == NO_TESTS and options.select:
        raise UsageError(f"-k {options.select!r} matches no test; try -k resume, or none")
    found = evidence.read(report, log, code, whole=not options.select)
    if options.keep_artifacts:
        artifacts.keep(folder / "tmp", work / artifacts.FOLDER)
    if found.outcome == "passed" and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return _completed(record, found)


def _folders(options: Options) -> dict[str, str]:
    folders = {"TUNEMATRIX_WORKLOAD": options.workload, "TUNEMATRIX_ARTIFACTS": options.exchange}
    return {name: str(folder.resolve()) for name, folder in folders.items() if folder}


def _completed(record: Record, found: evidence.Evidence) -> Record:
    revision = found.fingerprint.pop("download.revision", record.model["revision"])
    return dataclasses.replace(
        record,
        outcome=found.outcome,
        error=found.error,
        stages=tuple(found.stages.values()),
        probes=tuple(found.probes),
        fingerprint=dict(sorted(found.fingerprint.items())),
        call_sites=tuple(found.call_sites),
        warnings=tuple(found.warnings),
        defaults=found.surface.get("defaults", {}),
        signatures=found.surface.get("signatures", {}),
        symbols=found.surface.get("symbols", {}),
        renames=found.surface.get("renames", {}),
        peak_rss_mb=found.peak_rss_mb,
        model={**record.model, "revision": revision},
    )
