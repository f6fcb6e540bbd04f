"""Run one cell: lock -> provision -> serve -> run -> record."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tunematrix.base.errors import InfrastructureError, UntestableError, UsageError
from tunematrix.base.record import FAILED_OUTCOMES, Failure, Record
from tunematrix.base.store import Store
from tunematrix.locks import lock
from tunematrix.locks.table import Cell, Matrix
from tunematrix.run import (
    activity,
    artifacts,
    bytecode,
    environment,
    evidence,
    models,
    outdated,
    process,
    revision,
    temporary,
    workload,
)
from tunematrix.run.keys import is_reusable, key
from tunematrix.run.options import Options
from tunematrix.shared import secrets
from tunematrix.shared.stages import FULL

ATTEMPTS: Final = 3
TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
KILLED: Final = "the run did not end; it was killed, or the machine went down"
STOPPED: Final = "somebody stopped the run, with Ctrl-C or a signal"
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
    record. ``annotate`` adds the caller's facts, such as known issues, before the record is saved. A run that
    the machine ended is returned, but saved beside the last complete record, as is one that Ctrl-C stops,
    which raises ``KeyboardInterrupt``.
    """
    options.check()
    if options.workload and not options.scripts:
        workload.check(options.workload)
    choice = models.choose(options.model)
    store = Store(store.root, choice.name)
    last = _comparable_record(store, cell, options)
    with activity.running(cell.name, last), store.locked(cell.name):
        activity.set_step("prepares")
        started = _start(store, cell.name)
        cut_off = partial(_untestable_record, matrix, cell, choice)
        killed = dataclasses.replace(cut_off(InfrastructureError(KILLED)), started=started)
        with store.running(killed):
            work = partial(_run_with_retries, matrix, cell, options, choice, store)
            try:
                record = annotate(_timed_record(work, started))
            except KeyboardInterrupt:
                stopped = dataclasses.replace(cut_off(InfrastructureError(STOPPED)), started=started)
                if not options.select:
                    store.save(stopped)
                raise
            if _is_explained(record) and not options.keep:
                shutil.rmtree(store.cell_folder(cell.name) / "run", ignore_errors=True)
            if options.select:
                store.save_partial(record)
            else:
                store.save(record)
    return record


def _comparable_record(store: Store, cell: Cell, options: Options) -> Record | None:
    """A record that shows how long the cell may take: its own, or else the newest one of the model."""
    if options.select:
        return None
    record = store.load(cell.name) or store.newest()
    same = record and all(record.options.get(name, "") == value for name, value in _extent(options).items())
    return record if same else None


def _is_explained(record: Record) -> bool:
    """Whether every failure has a known issue, so that nobody needs the work folder."""
    failed = [part for part in (*record.stages, *record.probes) if part.outcome in FAILED_OUTCOMES]
    return bool(failed) and all(part.known_issue for part in failed) and not record.interruption


def _timed_record(work: Callable[[], tuple[Record, int]], started: str) -> Record:
    """The record of ``work`` and its number of attempts, with the time of the run or of its reuse."""
    start = time.perf_counter()
    record, attempts = work()
    if record.reused:
        return dataclasses.replace(record, reused_at=started)
    seconds = round(time.perf_counter() - start, 2)
    return dataclasses.replace(record, attempts=attempts, started=started, seconds=seconds)


def _run_with_retries(
    matrix: Matrix, cell: Cell, options: Options, choice: models.Choice, store: Store
) -> tuple[Record, int]:
    """The cell's record and the number of attempts; only infrastructure errors are retried, twice."""
    for attempts in range(1, ATTEMPTS + 1):
        try:
            return _run(matrix, cell, options, choice, store), attempts
        except UntestableError as error:
            failure = error
        except OSError as error:  # the disk, its permissions, or too few processes or files
            failure = InfrastructureError(str(error))
        if attempts == ATTEMPTS or not isinstance(failure, InfrastructureError):
            return _untestable_record(matrix, cell, choice, failure), attempts
    raise AssertionError("the last attempt returns")


def _run(matrix: Matrix, cell: Cell, options: Options, choice: models.Choice, store: Store) -> Record:
    lock_path = matrix.lock_path(cell)
    if not lock_path.is_file():
        activity.set_step("resolves")
        lock.write(cell, lock_path)
    venv = options.venv or store.environment(cell.name)
    environment.ensure(venv, cell.python)
    with models.hub_for(choice, cell.name) as hub:
        hub_revision = hub.revision if choice.embedded else revision.current(choice.repo, hub.variables)
        model = {"name": choice.name, "revision": hub_revision, "hub": choice.hub}
        record = _planned(matrix, cell, options, model, venv)
        if earlier := _reusable_record(record, options, store):
            return earlier
        activity.set_step("waits for its environment")
        with environment.locked(venv):
            activity.set_step("installs")
            environment.sync(venv, lock_path, cell)
            return _run_tests(record, venv, options, hub, store.cell_folder(cell.name))


def reuse(
    matrix: Matrix,
    cell: Cell,
    options: Options,
    store: Store,
    revision: str,
    *,
    sources: Sequence[str] | None = None,
) -> Record | None:
    """The stored record of the cell, with the time of its reuse, if nothing has changed; runs nothing.

    ``revision`` is that of the model on the embedded Hub; who asks often gives the hashes of the cells' code,
    ``sources``. None also where only ``run`` can tell.
    """
    venv = options.venv or store.environment(cell.name)
    running = store.running_path(cell.name).is_file()
    if running or not (matrix.lock_path(cell).is_file() and environment.python_version(venv)):
        return None
    model = {"name": store.model, "revision": revision, "hub": "embedded"}
    with store.locked(cell.name):
        record = _reusable_record(
            _planned(matrix, cell, options, model, venv, sources=sources), options, store
        )
        if record:
            record = dataclasses.replace(record, reused_at=_now())
            store.save_reuse(record)
    return record


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime(TIME)


def _start(store: Store, cell: str) -> str:
    """The time now; if the clock was set back, a second after the last run, because times order the runs."""
    last, now = store.entry(cell, previous=False).last_used, _now()
    with contextlib.suppress(ValueError, OverflowError):
        if last >= now:
            following = datetime.datetime.fromisoformat(last) + datetime.timedelta(seconds=1)
            return following.strftime(TIME)
    return now


def _planned(
    matrix: Matrix,
    cell: Cell,
    options: Options,
    model: Mapping[str, str],
    venv: Path,
    *,
    sources: Sequence[str] | None = None,
) -> Record:
    """The record of a run that has not begun, with its key."""
    record = Record(
        cell=cell.name,
        outcome="not_run",
        lock=_lock_of(matrix, cell),
        environment={
            "python": environment.python_version(venv),
            "platform": environment.platform_name(),
            "threads": 1,
            "packages": lock.read_versions(matrix.lock_path(cell)),
        },
        model=dict(model),
        options=_recorded_options(options),
        workload=outdated.described(options),
    )
    return dataclasses.replace(record, key=key(record, options, sources))


def _recorded_options(options: Options) -> dict[str, str]:
    """The options that records must share to be comparable, as far as they are not the defaults."""
    found = {"workload": workload.digest_of(options), **_extent(options)}
    return {name: value for name, value in found.items() if value}


def _extent(options: Options) -> dict[str, str]:
    """The options that decide how much there is to run."""
    scripts = options.scripts
    return {
        "depth": "" if options.depth == FULL or scripts else options.depth,
        "stages": " ".join(scripts.names) if scripts else "",
    }


def _reusable_record(record: Record, options: Options, store: Store) -> Record | None:
    """The stored record of the same key, if ``options`` allow its reuse.

    A key with an unresolved revision does not show whether the model has moved.
    """
    if options.rerun or options.select or record.model["revision"] == revision.UNRESOLVED:
        return None
    if options.keeps and not artifacts.belong_to(artifacts.folder_of(store, record.cell), record):
        return None
    earlier = store.load(record.cell)
    return dataclasses.replace(earlier, reused=True) if earlier and is_reusable(earlier, record.key) else None


def _lock_of(matrix: Matrix, cell: Cell) -> dict[str, str]:
    path = matrix.lock_path(cell)
    return {"path": path.as_posix(), "sha256": environment.sha256(path)} if path.is_file() else {}


def _untestable_record(matrix: Matrix, cell: Cell, choice: models.Choice, error: UntestableError) -> Record:
    """The record of a cell that could not run at all."""
    return Record(
        cell=cell.name,
        outcome=error.outcome,
        error=Failure(type=type(error).__name__, message=str(error)),
        lock=_lock_of(matrix, cell),
        model={"name": choice.name, "hub": choice.hub},
        environment={"packages": dict(cell.pins)},
    )


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
    variables |= {"TUNEMATRIX_CELL": record.cell, **_option_variables(options)}
    if scripts := options.scripts:
        variables["TUNEMATRIX_SCRIPTS"] = str((run_folder / "scripts.json").resolve())
        scripts.write(run_folder / "scripts.json")
    command = process.command(venv, options, run_folder, report_log)
    if options.workload and not scripts:
        secrets.add_files(options.workload)
    activity.set_step("starts", report_log)
    with temporary.folder_for(cell_folder) as folder:
        variables["TMPDIR"] = str(folder)
        exit_code = process.run(command, variables, run_folder, log, options.time_limit)
    bytecode.keep(venv)
    secrets.mask_file(report_log)
    if exit_code == NO_TESTS and options.select:
        raise UsageError(f"-k {options.select!r} matches no tests; try -k resume, or leave out -k")
    collected = evidence.read(report_log, log, exit_code, record.stage_names, whole_cell=not options.select)
    completed = _completed(record, collected)
    if options.keeps and not completed.interruption:
        artifacts.keep(run_folder / "tmp", cell_folder / artifacts.FOLDER, completed)
    if collected.outcome == "passed" and not options.keep:
        shutil.rmtree(run_folder, ignore_errors=True)
    return completed


def _option_variables(options: Options) -> dict[str, str]:
    folders = {"TUNEMATRIX_WORKLOAD": options.workload, "TUNEMATRIX_ARTIFACTS": options.exchange}
    limits = {"TUNEMATRIX_STAGE_SECONDS": str(options.stage_limit)}
    return {"TUNEMATRIX_DEPTH": options.depth, **limits} | {
        name: str(folder.resolve()) for name, folder in folders.items() if folder
    }


def _completed(record: Record, collected: evidence.Evidence) -> Record:
    downloaded = collected.fingerprint.pop("download.revision", record.model["revision"])
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
        tried=collected.surface.get("tried", {}),
        peak_rss_mb=collected.peak_rss_mb,
        model={**record.model, "revision": downloaded},
    )
