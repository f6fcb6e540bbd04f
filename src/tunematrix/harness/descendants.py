"""Processes that a piece of work leaves behind, also those that left its session and its parent.

A daemon forks twice and becomes the child of the first process. On Linux a process can take that place for
all that it started, so they stay below it and can be found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER: Final = 36
MAX_ROUNDS: Final = 20  # what is killed may have started something in the meantime
PROC: Final = Path("/proc")


def adopt_orphans() -> None:
    """Become the parent of all that this process's own children leave behind; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Make the kernel send this process a signal when its parent dies; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def kill_descendants(pid: int) -> None:
    """Kill all processes below ``pid``; on Linux only."""
    for _ in range(MAX_ROUNDS):
        if not (found := list(descendants(pid))):
            return
        for each in found:
            with contextlib.suppress(OSError):
                os.kill(each, signal.SIGKILL)


def descendants(pid: int) -> Iterator[int]:
    """The running processes below ``pid``."""
    children: dict[int, list[int]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold spaces and parentheses; then come state and parent.
            state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(path.parent.name))
    found = [pid]
    for each in found:
        yield from children.get(each, ())
        found += children.get(each, ())
