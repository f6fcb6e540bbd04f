"""The one process of a cell: its command line, its time limit, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tunematrix.run import environment
from tunematrix.run.keys import SUITE, suite
from tunematrix.run.options import Options


def command(venv: Path, options: Options, folder: Path, report: Path) -> list[str]:
    """The command line that runs the suite, and the workload's own tests, in one pytest process."""
    tests = suite().resolve()
    extra = sorted(options.workload.resolve().glob("test_*.py")) if options.workload else []
    exchange = [] if options.exchange else ["--ignore", tests / "test_exchange.py"]
    parts = [
        *(environment.python_of(venv).absolute(), "-m", "pytest", tests, *extra),
        *("-c", SUITE / "pytest.ini", "--rootdir", tests, "--basetemp", (folder / "tmp").absolute()),
        *("-m", "integration", "-v", "--capture=no", "--color=no", "-p", "no:cacheprovider", *exchange),
        *("--report-log", report.absolute(), *(["-k", options.select] if options.select else [])),
    ]
    return [str(part) for part in parts]


def run(command: list[str], variables: dict[str, str], folder: Path, log: Path, limit: float) -> int | None:
    """Run ``command`` in ``folder`` with its output in ``log``; its exit code, or None when time was up.

    The current folder is on the path of ``python -m``: a user's own ``datasets`` must not be imported there.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
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
