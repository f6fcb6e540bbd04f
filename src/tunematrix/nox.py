"""The sessions for a repository's own ``noxfile.py``::

from tunematrix.nox import sessions

sessions()
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import nox

from tunematrix.cli import plan

TUNEMATRIX = [sys.executable, "-m", "tunematrix"]


def sessions() -> None:
    """Add ``e2e``, a session for each cell, and those of ``lock``, ``upgrade``, ``bisect`` and the like.

    Other sessions of the noxfile stay as they are, and so do its options, but for the number of cells that
    run side by side.
    """
    _begin()
    cells = plan.load_cells()
    names = [cell.name for cell in cells]
    reused = plan.reused_cells(sys.argv, names)
    if nox.options.parallel is None:
        nox.options.parallel = plan.parallel_sessions(sys.argv, names, reused)
    parameters = [nox.param(cell.python, cell.name, id=cell.name, tags=list(cell.tags)) for cell in cells]

    @nox.session(allow_parallel=True, venv_backend="uv", reuse_venv=True)
    @nox.parametrize("python,cell", parameters)
    def e2e(session: nox.Session, cell: str) -> None:
        """Run the same fine-tuning work in one cell, and record it; at the end comes the summary of all."""
        if cell not in reused:
            venv = session.virtualenv.location
            command = [*TUNEMATRIX, "run", cell, "--venv", venv, *session.posargs]
            own = {} if session.parallel else {plan.PROGRESS: None}  # alone, it has the terminal
            session.run(*command, env=own, external=True)

    @nox.session(venv_backend="none")
    def lock(session: nox.Session) -> None:
        """Write the locks of the named cells, or of all: nox -s lock -- [CELL ...]."""
        session.run(*TUNEMATRIX, "lock", *session.posargs)

    @nox.session(venv_backend="none")
    def report(session: nox.Session) -> None:
        """Write the summary from the existing records, and print it."""
        session.run(*TUNEMATRIX, "report", *session.posargs)

    _questions()


def _questions() -> None:
    """Add the sessions that answer a question."""

    @nox.session(venv_backend="none")
    def upgrade(session: nox.Session) -> None:
        """Check an upgrade: nox -s upgrade -- "trl==1.16.0" | --all | --against CELL|FILE."""
        session.run(*TUNEMATRIX, "upgrade", *session.posargs)

    @nox.session(venv_backend="none")
    def bisect(session: nox.Session) -> None:
        """Find the first bad version: nox -s bisect -- PACKAGE GOOD BAD [--stage S | --metric M]."""
        session.run(*TUNEMATRIX, "bisect", *session.posargs)

    @nox.session(venv_backend="none")
    def bounds(session: nox.Session) -> None:
        """Find the version ranges that work: nox -s bounds -- PACKAGE... [--no-drift]."""
        session.run(*TUNEMATRIX, "bounds", *session.posargs)

    @nox.session(venv_backend="none")
    def exchange(session: nox.Session) -> None:
        """Let every cell read what every other one saved: nox -s exchange -- [CELL ...]."""
        session.run(*TUNEMATRIX, "exchange", *session.posargs)

    @nox.session(venv_backend="none")
    def reads(session: nox.Session) -> None:
        """Tell which cells load and resume what you saved: nox -s reads -- [FOLDER ...]."""
        session.run(*TUNEMATRIX, "reads", *session.posargs)


def _begin() -> None:
    """What the outer nox does where it runs cells, so that their sessions need not."""
    if plan.runs_cells(sys.argv) and not os.environ.get(plan.OUTER):
        os.environ[plan.OUTER] = "1"
        _print_summary_at_the_end()
        _show_parallel_sessions()


def _print_summary_at_the_end() -> None:
    """Print the summary once, and exit with its code: sessions cannot set the exit code of nox."""
    started = str(time.time())

    @atexit.register
    def finish() -> None:
        if code := subprocess.run([*TUNEMATRIX, "finish", started], check=False).returncode:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _show_parallel_sessions() -> None:
    """Let what the cells do be seen while they run: nox prints the output of parallel sessions at their end.

    On a terminal nox itself draws a board with the last line of each; elsewhere a thread prints what they
    write to a file. ``cli.live`` is the other side.
    """
    if sys.stdout.isatty():
        os.environ[plan.PROGRESS] = str(shutil.get_terminal_size().columns)
    elif not plan.in_ci():
        descriptor, name = tempfile.mkstemp(prefix="tunematrix-progress-")
        os.environ[plan.PROGRESS] = name
        atexit.register(Path(name).unlink, missing_ok=True)
        threading.Thread(target=_print_lines_of, args=(os.fdopen(descriptor),), daemon=True).start()


def _print_lines_of(stream: IO[str]) -> None:
    """Print what is added to a file."""
    with contextlib.suppress(Exception):  # a view never harms a run
        while True:
            time.sleep(1)
            print(stream.read(), end="", file=sys.stderr, flush=True)
