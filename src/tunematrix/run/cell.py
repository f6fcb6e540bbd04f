"""Run one cell: lock -> provision -> serve -> run -> record."""

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
from tunematrix.run.keys import hash_tree, is_reusable, key
from tunematrix.run.options import Options

ATTEMPTS: Final = 3
NO_TESTS: Final = 5  # pytest's exit code when it collects no tests


def run(
    matrix: Matrix,
    cell: Cell,
    options: Options,
    store: Store,
    annotate: Callable[[Record], Record] = lambda record: record,
) -> Record:
    """Run ``cell`` and return its record; reuse the existing record if nothing has changed since.

    Only one process runs a cell at a time: a second one waits, and then usually reuses the first one's
    record. ``annotate`` adds the caller's facts, such as known issues, before the record is saved.
    """
    if options.workload and not options.workload.is_dir():
        raise UsageError(f"--workload {options.workload}: no such folder")
    choice = models.choose(options.model)
    with store.locked(cell.name):
        started = datetime.datetime.now(datetime.UTC)
        start = time.perf_counter()
        record, attempts = _run_with_retries(matrix, cell, options, choice, store)
        if not record.reused:
            record = dataclasses.replace(
                record,
                attempts=attempts,
                started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                seconds=round(time.perf_counter() - start, 2),
            )
        record = annotate(record)
        # A run of selected tests proves nothing about the whole cell, so it must not replace its record.
        store.save(record, store.cell_folder(cell.name) / "partial.json" if options.select else None)
    return record


def _run_with_retries(
    matrix: Matrix, cell: Cell, options: Options, choice: models.Choice, store: Store
) -> tuple[Record, int]:
    """The cell's record and the number of attempts; only infrastructure errors are retried, twice."""
    for attempts in range(1, ATTEMPTS + 1):
        try:
            return _run(matrix, cell, options, choice, store), attempts
        except UntestableError as error:
            if attempts == ATTEMPTS or not isinstance(error, InfrastructureError):
                return _untestable_record(cell, choice, error), attempts
    raise AssertionError("the last attempt returns")


def _run(matrix: Matrix, cell: Cell, options: Options, choice: models.Choice, store: Store) -> Record:
    lock_path = matrix.lock_path(cell)
    if not lock_path.is_file():
        lock.write(cell, lock_path)
    packages = lock.versions(lock_path.read_text(), str(lock_path))
    venv = options.venv or store.cell_folder(cell.name) / "venv"
    if not environment.interpreter(venv).exists():
        environment.create(venv, cell.python)
    with models.hub_for(choice, cell.name) as hub:
        record = Record(
            cell=cell.name,
            outcome="not_run",
            lock={"path": lock_path.as_posix(), "sha256": environment.sha256(lock_path)},
            environment={
                "python": environment.python_version(venv),
                "platform": environment.platform_name(),
                "threads": 1,
                "packages": packages,
            },
            model={"name": choice.name, "revision": hub.revision, "hub": choice.hub},
            options={"workload": hash_tree(options.workload)} if options.workload else {},
        )
        record = dataclasses.replace(record, key=key(record, options))
        if earlier := _reusable_record(record, options, store):
            return earlier
        environment.sync(venv, lock_path, cell)
        return _run_tests(record, venv, options, hub, store.cell_folder(cell.name))


def _reusable_record(record: Record, options: Options, store: Store) -> Record | None:
    """The stored record of the same key, if ``options`` allow its reuse."""
    if options.rerun or options.select:
        return None
    if options.keep_artifacts and not artifacts.folder_of(store, record.cell).is_dir():
        return None
    earlier = store.load(record.cell)
    return dataclasses.replace(earlier, reused=True) if earlier and is_reusable(earlier, record.key) else None


def _untestable_record(cell: Cell, choice: models.Choice, error: UntestableError) -> Record:
    """The record of a cell that could not run at all."""
    failure = Failure(type=type(error).__name__, message=str(error))
    model = {"name": choice.name, "hub": choice.hub}
    packages = {"packages": dict(cell.pins)}
    return Record(cell=cell.name, outcome=error.outcome, error=failure, model=model, environment=packages)


def _run_tests(
    record: Record, venv: Path, options: Options, hub: models.HubAccess, cell_folder: Path
) -> Record:
    """Run the cell's tests in one process, and complete ``record`` with the evidence they leave on disk."""
    run_folder = cell_folder / "run"
    shutil.rmtree(run_folder, ignore_errors=True)
    run_folder.mkdir(parents=True)
    report_log, log = cell_folder / "report.jsonl", cell_folder / "log.txt"
    report_log.unlink(missing_ok=True)
    variables = environment.variables(
        venv, run_folder, hub.variables, real_hub=record.model["hub"] != "embedded"
    )
    variables |= {"TUNEMATRIX_CELL": record.cell, **_folder_variables(options)}
    command = process.command(venv, options, run_folder, report_log)
    exit_code = process.run(command, variables, run_folder, log, options.time_limit)
    if exit_code == NO_TESTS and options.select:
        raise UsageError(f"-k {options.select!r} matches no tests; try -k resume, or leave out -k")
    collected = evidence.read(report_log, log, exit_code, whole_cell=not options.select)
    if options.keep_artifacts:
        artifacts.keep(run_folder / "tmp", cell_folder / artifacts.FOLDER)
    if collected.outcome == "passed" and not options.keep:
        shutil.rmtree(run_folder, ignore_errors=True)
    return _completed(record, collected)


def _folder_variables(options: Options) -> dict[str, str]:
    folders = {"TUNEMATRIX_WORKLOAD": options.workload, "TUNEMATRIX_ARTIFACTS": options.exchange}
    return {name: str(folder.resolve()) for name, folder in folders.items() if folder}


def _completed(record: Record, collected: evidence.Evidence) -> Record:
    revision = collected.fingerprint.pop("download.revision", record.model["revision"])
    return dataclasses.replace(
        record,
        outcome=collected.outcome,
        error=collected.error,
        stages=tuple(collected.stages.values()),
        probes=tuple(collected.probes),
        fingerprint=dict(sorted(collected.fingerprint.items())),
        call_sites=tuple(collected.call_sites),
        warnings=tuple(collected.warnings),
        defaults=collected.surface.get("defaults", {}),
        signatures=collected.surface.get("signatures", {}),
        symbols=collected.surface.get("symbols", {}),
        renames=collected.surface.get("renames", {}),
        peak_rss_mb=collected.peak_rss_mb,
        model={**record.model, "revision": revision},
    )
