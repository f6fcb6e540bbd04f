"""The process that runs a cell's tests: its command line and its time limit."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tunematrix.run import environment
from tunematrix.run.keys import SUITE, suite_folder
from tunematrix.run.options import Options


def command(venv: Path, options: Options, run_folder: Path, report_log: Path) -> list[str]:
    """The command line that runs the suite and the workload's tests in one pytest process."""
    tests = suite_folder().resolve()
    workload_tests = sorted(options.workload.resolve().glob("test_*.py")) if options.workload else []
    exchange = [] if options.exchange else ["--ignore", tests / "test_exchange.py"]
    arguments = [
        *(environment.interpreter(venv).absolute(), "-m", "pytest", tests, *workload_tests),
        *("-c", SUITE / "pytest.ini", "--rootdir", tests),
        *("--basetemp", (run_folder / "tmp").absolute()),
        *("-m", "integration", "-v", "--capture=no", "--color=no", "-p", "no:cacheprovider", *exchange),
        *("--report-log", report_log.absolute(), *(["-k", options.select] if options.select else [])),
    ]
    return [str(argument) for argument in arguments]


def run(
    command: list[str], variables: dict[str, str], run_folder: Path, log: Path, time_limit: float
) -> int | None:
    """Run ``command`` in ``run_folder``, with its output in ``log``; returns the exit code.

    Returns None when the process reaches ``time_limit`` (seconds) and is killed. ``python -m`` puts the
    current folder on ``sys.path``, so ``run_folder`` must not contain a user's ``datasets`` folder.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=run_folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(time_limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
