"""The sessions; ``nox -l`` lists them. What they do lies in ``src/tunematrix``."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import time

import nox

from tunematrix.cli import plan
from tunematrix.locks import table

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv"
nox.options.sessions = plan.default_sessions(sys.argv)
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"
nox.options.parallel = plan.parallel(sys.argv)

CELLS = table.load().cells
HOST = [sys.executable, "-m", "tunematrix"]

# The variable is set in nox's own children, which run the cells in parallel.
if plan.asks_for_cells(sys.argv) and not os.environ.get("TUNEMATRIX_NOX"):
    os.environ["TUNEMATRIX_NOX"] = "1"
    STARTED = str(time.time())

    @atexit.register
    def finish() -> None:
        """Show the summary once; what it finds wrong is nox's exit code, which sessions cannot set."""
        if code := subprocess.run([*HOST, "finish", STARTED], check=False).returncode:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


@nox.session(allow_parallel=True)
@nox.parametrize(
    "python,cell", [nox.param(cell.python, cell.name, id=cell.name, tags=list(cell.tags)) for cell in CELLS]
)
def e2e(session: nox.Session, cell: str) -> None:
    """Run the same real work in one cell, record it, and bring the summary up to date."""
    session.run(*HOST, "run", cell, "--venv", session.virtualenv.location, *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the fast tests: about 10 seconds, no stack needed."""
    session.install("-e", ".", "--group", "test")
    session.run("pytest", *session.posargs)


@nox.session(allow_parallel=True)
@nox.parametrize(
    "client", [nox.param(version, id=version) for version in ("0.26.5", "0.36.2", "1.33.0", "2.4.0")]
)
def clients(session: nox.Session, client: str) -> None:
    """Test the embedded Hub and the download step with one generation of the real client."""
    session.install(f"huggingface_hub=={client}", "pytest", "pytest-timeout", "click", "pyyaml")
    session.run("pytest", "tests/hub/clients", *session.posargs, env={"PYTHONPATH": "src"})


@nox.session
def tool(session: nox.Session) -> None:
    """Test the installed program with real uv, real processes and real weights."""
    session.install("-e", ".", "--group", "test")
    session.run("pytest", "-m", "integration", "tests/tool", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what a cell costs beside a bare script with the same calls: nox -s bench -- [ROUNDS]."""
    session.run(*HOST[:1], "tests/bench/run.py", session.virtualenv.location, *session.posargs, external=True)


@nox.session(venv_backend="none")
def cases(session: nox.Session) -> None:
    """Check that known breakages and silent changes are seen: nox -s cases -- [--all | ID ...]."""
    session.run(sys.executable, "tests/cases/run.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, layers and workflows."""
    session.install("-e", ".", "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("actionlint")
    session.run("zizmor", "--offline", "--no-progress", ".github")


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Make the locks of the named cells, or of all: nox -s lock -- [CELL ...]."""
    session.run(*HOST, "lock", *session.posargs)


@nox.session(venv_backend="none")
def upgrade(session: nox.Session) -> None:
    """Can I bump? nox -s upgrade -- "trl==1.16.0" [--baseline CELL|FILE | --all | --against latest]."""
    session.run(*HOST, "upgrade", *session.posargs)


@nox.session(venv_backend="none")
def bisect(session: nox.Session) -> None:
    """Since when? nox -s bisect -- PACKAGE GOOD BAD [--cell C] [--stage S | --metric M] [--find-fix]."""
    session.run(*HOST, "bisect", *session.posargs)


@nox.session(venv_backend="none")
def bounds(session: nox.Session) -> None:
    """What may I declare? nox -s bounds -- PACKAGE... [--no-drift]."""
    session.run(*HOST, "bounds", *session.posargs)


@nox.session(venv_backend="none")
def report(session: nox.Session) -> None:
    """Render the summary from the records there are, show it, and judge it."""
    session.run(*HOST, "report", *session.posargs)
