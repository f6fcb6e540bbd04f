"""One cell, from lock to record: lock -> provision -> serve -> run -> record."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tunematrix
from tunematrix.base.errors import InfrastructureError, UntestableError, UsageError
from tunematrix.base.record import Failure, Record
from tunematrix.base.store import Store
from tunematrix.locks import lock
from tunematrix.locks.table import Cell, Matrix
from tunematrix.run import environment as env
from tunematrix.run import evidence, models
from tunematrix.verdict import ledger

REUSABLE: Final = ("passed", "failed")  # anything else may be the machine's fault, or a Hub's
ATTEMPTS: Final = 3
ARTIFACTS: Final = "artifacts"
OWN: Final = Path(tunematrix.__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What ``nox -s e2e -- ...`` takes."""

    model: str = models.DEFAULT
    rerun: bool = False
    keep: bool = False
    select: str | None = None
    workload: Path | None = None
    venv: Path | None = None
    keeps: bool = False  # the checkpoints, for another cell to load
    exchange: Path | None = None  # another cell's kept checkpoints, to be loaded and resumed here

    @property
    def limit(self) -> float:
        """Seconds for the whole of a cell's tests; ``TUNEMATRIX_CELL_SECONDS`` for slow machines."""
        return float(os.environ.get("TUNEMATRIX_CELL_SECONDS", "1200"))


def run(matrix: Matrix, cell: Cell, options: Options, store: Store) -> Record:
    """Run ``cell``, or take its record when nothing it depends on has changed; returns the record.

    One run of a cell at a time: a second one waits, and then usually finds the first one's record.
    """
    if options.workload and not options.workload.is_dir():
        raise UsageError(f"--workload {options.workload}: no such folder")
    choice = models.choose(options.model)
    with store.locked(cell.name):
        started = datetime.datetime.now(datetime.UTC)
        clock = time.perf_counter()
        record, attempts = _tried(matrix, cell, options, choice, store)
        if not record.reused:
            record = dataclasses.replace(
                record,
                attempts=attempts,
                started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                seconds=round(time.perf_counter() - clock, 2),
            )
        record = ledger.load(matrix.folder).annotate(record)
        # A selection is no evidence for the whole cell: it does not replace the record of one.
        store.save(record, store.work(cell.name) / "partial.json" if options.select else None)
    return record


def _tried(
    matrix: Matrix, cell: Cell, options: Options, choice: models.Choice, store: Store
) -> tuple[Record, int]:
    """The cell's record, and how many attempts it took: infrastructure trouble is tried again, twice."""
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
    if not env.python_of(venv).exists():
        env.make(venv, cell.python)
    with models.hub_for(choice, cell.name) as served:
        record = Record(
            cell=cell.name,
            outcome="not_run",
            lock={"path": path.as_posix(), "sha256": env.sha256(path)},
            environment={
                "python": env.python_version(venv),
                "platform": env.platform_name(),
                "threads": 1,
                "packages": packages,
            },
            model={"name": choice.name, "revision": served.revision, "hub": choice.hub},
            options={"workload": hash_tree(options.workload)} if options.workload else {},
        )
        record = dataclasses.replace(record, key=key(record, options))
        earlier = store.load(cell.name)
        has_all = not options.keeps or artifacts(store, cell.name).is_dir()
        fresh = options.rerun or options.select or not has_all
        if not fresh and earlier and reusable(earlier, record.key):
            return dataclasses.replace(earlier, reused=True)
        env.sync(venv, path, cell)
        return execute(record, venv, options, served, store.work(cell.name))


def untestable(cell: Cell, choice: models.Choice, error: UntestableError) -> Record:
    """The record of a cell that never came to run."""
    failure = Failure(type=type(error).__name__, message=str(error))
    model = {"name": choice.name, "hub": choice.hub}
    packages = {"packages": dict(cell.pins)}
    return Record(cell=cell.name, outcome=error.outcome, error=failure, model=model, environment=packages)


def key(record: Record, options: Options) -> str:
    """What decides reuse: lock, sources, model, options, Python and platform."""
    parts = {
        "lock": record.lock["sha256"],
        "python": record.environment["python"],
        "platform": record.environment["platform"],
        "model": dict(record.model),
        "select": options.select,
        "sources": [hash_tree(folder) for folder in sources(options)],
        **({"exchange": hash_tree(options.exchange)} if options.exchange else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def reusable(record: Record, wanted: str) -> bool:
    return record.key == wanted and record.outcome in REUSABLE


def sources(options: Options) -> list[Path]:
    """All that runs inside a cell."""
    return [OWN / "pipeline", OWN / "harness", *suite(), *([options.workload] if options.workload else [])]


def suite() -> list[Path]:
    """The tests that every cell runs, in the project of the current folder."""
    folder = Path.cwd() / "tests"
    found = [path for path in (folder / "test_real_e2e.py", folder / "probes") if path.exists()]
    if not found:
        raise UsageError(f"{folder}: no test_real_e2e.py there; run from the project's root")
    return found


def hash_tree(path: Path) -> str:
    """A hash over the names and contents of the files below ``path``, or of the one file."""
    digest = hashlib.sha256()
    for file in sorted(_files(path)):
        digest.update(f"{file.relative_to(path.parent).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def execute(record: Record, venv: Path, options: Options, served: models.Served, work: Path) -> Record:
    """Run the cell's tests in one process and make what they leave on disk the record."""
    folder = work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report, log = work / "report.jsonl", work / "log.txt"
    report.unlink(missing_ok=True)
    variables = env.variables(venv, folder, served.variables, real_hub=record.model["hub"] != "embedded")
    variables["TUNEMATRIX_CELL"] = record.cell
    if options.workload:
        variables["TUNEMATRIX_WORKLOAD"] = str(options.workload.resolve())
    if options.exchange:
        variables["TUNEMATRIX_ARTIFACTS"] = str(options.exchange.resolve())
    code = _process(_command(venv, options, folder, report), variables, log, options.limit)
    if code == 5 and options.select:
        raise UsageError(f"-k {options.select!r} matches no test; try -k resume, or none")
    found = evidence.read(report, log, code, whole=not options.select)
    if options.keeps:
        _keep(folder / "tmp", work / ARTIFACTS)
    if found.outcome == "passed" and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
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


def artifacts(store: Store, cell: str) -> Path:
    """The checkpoints that a run of ``cell`` kept for others."""
    return store.work(cell) / ARTIFACTS


def _keep(tests: Path, kept: Path) -> None:
    """Copy what another stack may load: the data, and the uninterrupted run with its checkpoints."""
    shutil.rmtree(kept, ignore_errors=True)
    for command, test in (("finetune", "test_real_checkpoint_resume"), ("align", "test_real_align_resume")):
        for folder in sorted(tests.glob(f"{test}*")):
            for part in ("data", "checkpoints/whole", "checkpoints/finetuned"):
                if (folder / part).is_dir() and not (kept / command / part).exists():
                    shutil.copytree(folder / part, kept / command / part)


def _command(venv: Path, options: Options, folder: Path, report: Path) -> list[str]:
    extra = sorted(options.workload.resolve().glob("test_*.py")) if options.workload else []
    command: list[Any] = [env.python_of(venv).absolute(), "-m", "pytest", *suite(), *extra]
    command += ["-m", "integration", "-v", "--capture=no", "--color=no", "-p", "no:cacheprovider"]
    command += [] if options.exchange else ["--ignore", Path.cwd() / "tests" / "probes" / "test_exchange.py"]
    command += ["--rootdir", Path.cwd(), "--basetemp", (folder / "tmp").absolute()]
    command += ["--report-log", report.absolute(), *(["-k", options.select] if options.select else [])]
    return [str(part) for part in command]


def _process(command: list[str], variables: dict[str, str], log: Path, limit: float) -> int | None:
    """Run ``command`` with its output in ``log``; its exit code, or None when it was stopped for time."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
