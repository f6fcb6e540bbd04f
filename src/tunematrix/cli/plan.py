"""What nox runs: the cells, which sessions by default, and how many in parallel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from typing import Final

from tunematrix.cli.errors import handle_errors
from tunematrix.locks import table
from tunematrix.locks.table import Cell
from tunematrix.shared.output import print_lines

OUTER: Final = "TUNEMATRIX_NOX"  # set below nox, also in its parallel sessions, which load the noxfile too
REUSED: Final = "TUNEMATRIX_REUSED"
# For parallel sessions: the columns of the board that nox draws, or the file that the outer nox prints.
PROGRESS: Final = "TUNEMATRIX_PROGRESS"
CELL_BYTES: Final = 4 * 2**30  # a cell with SmolLM2-135M peaks at 2.3 GB; the rest is for other programs


def load_cells() -> tuple[Cell, ...]:
    """The cells of the matrix; with a wrong ``matrix.toml``, exits with its message and code."""
    with handle_errors():
        matrix = table.load()
    return matrix.cells


def runs_cells(arguments: Sequence[str]) -> bool:
    """Whether nox with these ``arguments`` may run cells: selected by name, by tag or by keyword."""
    selectors = ("-t", "--tags", "-k", "--keywords")
    return any(
        argument.startswith("e2e") or argument in selectors for argument in _without_posargs(arguments)
    )


def _without_posargs(arguments: Sequence[str]) -> Sequence[str]:
    """The arguments before ``--``; those after it belong to the session."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def reused_cells(arguments: Sequence[str], cells: Sequence[str]) -> frozenset[str]:
    """The cells that nox with these ``arguments`` need not run, since nothing has changed; says so of each.

    One process for all takes a tenth of the time of one for each. nox runs parallel sessions in child
    processes, which get the names in a variable.
    """
    if (known := os.environ.get(REUSED)) is not None:
        return frozenset(known.split())
    own, posargs = _without_posargs(arguments), arguments[len(_without_posargs(arguments)) + 1 :]
    names = [name for name in cells if "e2e" in own or f"e2e({name})" in own]
    simple = {"e2e", "-s", "--session", "--sessions", *(f"e2e({name})" for name in cells)}
    if not names or not simple.issuperset(own[1:]):  # other options of nox are its own business
        return frozenset()
    folder = os.environ.get("NOXENVDIR") or ".nox"
    command = [sys.executable, "-m", "tunematrix", "reuse", *names, "--venvs", folder, *posargs]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(completed.stdout) if completed.returncode == 0 else {}  # else the sessions say why
    print_lines(line for lines in found.values() for line in lines)
    os.environ[REUSED] = " ".join(found)
    return frozenset(found)


def parallel_sessions(
    arguments: Sequence[str], cells: Collection[str], reused: Collection[str]
) -> int | None:
    """The value of ``--parallel`` for nox with these ``arguments``; None unless they select cells to run.

    nox shows the output of parallel sessions only when they end, so other sessions do not run in parallel;
    and each costs a process, which cells that are ``reused`` do not need.
    """
    selected = {name for name in cells if f"e2e({name})" in arguments} or set(cells)
    if not runs_cells(arguments) or selected <= set(reused):
        return None
    return parallel_cells(available_cores(), total_memory())


def in_ci() -> bool:
    """Whether a CI service runs this; its log needs no more than what starts and what ends."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def default_sessions(arguments: Sequence[str]) -> list[str] | None:
    """``tests`` if no session is named; all for ``nox -l --json``, from which CI plans its jobs."""
    return None if "--json" in arguments else ["tests"]


def parallel_cells(cores: int, memory: int) -> int:
    """The number of cells to run in parallel: one a core, because each uses one thread, if memory allows."""
    return max(1, min(cores, memory // CELL_BYTES))


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory() -> int:
    """The memory of the machine in bytes; enough for one cell if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return CELL_BYTES
