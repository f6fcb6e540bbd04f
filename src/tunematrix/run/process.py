"""The process that runs a cell's tests: its command line and its time limit."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from tunematrix.run import environment
from tunematrix.run.keys import SUITE, suite_folder
from tunematrix.run.options import Options
from tunematrix.shared.logs import shorten
from tunematrix.shared.secrets import LineMasker

CHUNK: Final = 2**16  # bytes
GRACE: Final = 10.0  # seconds in which a supervisor ends what scripts have started
SUPERVISED: Final = ("tunematrix.harness.supervisor",) if hasattr(os, "fork") else ()
PIPE_SIZE: Final = 2**20  # bytes; no pipe holds more unless root allows it
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)  # the second is what nox sends to parallel sessions
_groups: set[int] = set()  # the process groups that run now
_stopped = threading.Event()


def command(venv: Path, options: Options, run_folder: Path, report_log: Path) -> list[str]:
    """The command line that runs the suite and the workload's tests in one pytest process."""
    tests = suite_folder().resolve()
    scripts = options.scripts
    own_tests = options.workload.resolve().glob("test_*.py") if options.workload and not scripts else ()
    chosen = [tests / "test_scripts.py"] if scripts else [tests, *sorted(own_tests)]
    ignored = [] if scripts else ["--ignore", tests / "test_scripts.py"]
    exchange = [] if options.exchange else ["--ignore", tests / "test_exchange.py"]
    arguments = [
        *(environment.interpreter(venv).absolute(), "-m", *SUPERVISED, "pytest", *chosen, *ignored),
        *("-c", SUITE / "pytest.ini", "--rootdir", tests),
        *("--basetemp", (run_folder / "tmp").absolute()),
        *("-m", "integration", "-v", "--capture=no", "--color=no", "-p", "no:cacheprovider", *exchange),
        *("--report-log", report_log.absolute(), *(["-k", options.select] if options.select else [])),
    ]
    return [str(argument) for argument in arguments]


def run(
    command: list[str], variables: dict[str, str], run_folder: Path, log: Path, time_limit: float
) -> int | None:
    """Run ``command`` in ``run_folder``, with its output, without secrets, in ``log``; returns the exit code.

    Of output beyond all measure ``log`` keeps the end.
    Returns None when the process reaches ``time_limit`` (seconds) and is killed. ``python -m`` puts the
    current folder on ``sys.path``, so ``run_folder`` must not contain a user's ``datasets`` folder. Raises
    ``OSError`` when the log cannot be written, and ``KeyboardInterrupt`` when a signal stopped it.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=run_folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        with process.stdout as pipe, _masked_copy(pipe.fileno(), stream):
            _groups.add(process.pid)
            try:
                _raise_if_stopped()  # a signal that came before this process was one of the groups
                exit_code = process.wait(time_limit)
            except subprocess.TimeoutExpired:
                exit_code = None
            finally:
                _groups.discard(process.pid)
                _end(process)
    _raise_if_stopped()
    return exit_code


def _end(process: subprocess.Popen[bytes]) -> None:
    """End ``process`` and what is left of its group; a supervisor first ends all that it stands above."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _raise_if_stopped() -> None:
    if _stopped.is_set():
        raise KeyboardInterrupt


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """During the block, Ctrl-C and SIGTERM end what ``run`` started, in whatever thread.

    They raise ``KeyboardInterrupt`` in this thread, and in those that wait for such a process: without that,
    a pool of threads would wait for its cells first. A signal that is ignored stays so.
    """

    def stop(*_: object) -> None:
        _stopped.set()
        running = list(_groups)
        for group in running:
            with suppress(ProcessLookupError):
                os.kill(group, signal.SIGTERM)  # a supervisor ends all that it stands above
        timer = threading.Timer(GRACE, _kill, [running])
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _stopped.clear()


def _kill(groups: Iterable[int]) -> None:
    """Kill those of ``groups`` that still run."""
    for group in _groups & {*groups}:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


@contextmanager
def _masked_copy(source: int, log: IO[bytes]) -> Iterator[None]:
    """Copy what arrives in the pipe ``source`` to ``log`` during the block, line by line and masked.

    At its end, copies what is still in the pipe, also when a process that survived keeps the pipe open.
    """
    stop_reader, stop_writer = os.pipe()
    lines = LineMasker(log.write)
    errors: list[OSError] = []

    def write(data: bytes | None) -> None:
        try:
            lines.feed(data) if data else lines.flush()
            log.flush()
            if shorten(Path(log.name)):
                log.seek(0, os.SEEK_END)
        except OSError as error:
            errors.append(error)

    def copy() -> None:
        for data in _read(source, stop_reader):
            if not errors:  # otherwise it only empties the pipe, because the process would wait for that
                write(data)
        write(None)

    thread = threading.Thread(target=copy, name="log")
    thread.start()
    try:
        yield
    finally:
        os.close(stop_writer)
        thread.join()
        os.close(stop_reader)
    if errors:
        raise errors[0]


def _read(source: int, stop: int) -> Iterator[bytes]:
    """The data that arrives at ``source`` until its end, or until ``stop`` is closed and no data is left."""
    left = PIPE_SIZE
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        selector.register(stop, selectors.EVENT_READ)
        while left > 0:
            ready = {key.fd for key, _ in selector.select()}
            if source not in ready or not (data := os.read(source, CHUNK)):
                return
            yield data
            left -= len(data) if stop in ready else 0
