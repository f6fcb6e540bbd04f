"""How many cells run at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

CELL_BYTES: Final = 4 * 2**30  # a cell with SmolLM2-135M peaks at 2.3 GB; the rest is for its neighbours


def asks_for_cells(arguments: Sequence[str]) -> bool:
    """Whether a nox called with ``arguments`` may run cells: by name, by tag or by keyword."""
    selectors = ("-t", "--tags", "-k", "--keywords")
    return any(argument.startswith("e2e") or argument in selectors for argument in _own(arguments))


def _own(arguments: Sequence[str]) -> Sequence[str]:
    """nox's own arguments: what follows ``--`` is the session's."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def parallel(arguments: Sequence[str]) -> int | None:
    """The degree for a nox called with ``arguments``, where they ask for cells.

    Other sessions keep nox's own way: run in parallel, their output would only be shown at their end.
    """
    return degree(cores(), memory()) if asks_for_cells(arguments) else None


def default_sessions(arguments: Sequence[str]) -> list[str] | None:
    """``tests`` where none is named; all for ``nox -l --json``, which is what a CI plans its jobs from."""
    return None if "--json" in arguments else ["tests"]


def degree(processors: int, memory_bytes: int) -> int:
    """Cells in parallel: one a core, since each runs on one thread, as far as the memory allows."""
    return max(1, min(processors, memory_bytes // CELL_BYTES))


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """The machine's memory in bytes; where it cannot be asked for, enough for one cell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return CELL_BYTES
