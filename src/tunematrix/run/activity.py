"""What the cells that this process runs are doing, and how long they may still take: for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from tunematrix.base.record import Record, Result
from tunematrix.run import evidence


@dataclass(kw_only=True, slots=True, eq=False)
class Activity:
    """One cell that runs: its ``step``, and an earlier record, which shows how long its parts take.

    ``report_log`` is what its tests stream to; times are those of ``time.monotonic``.
    """

    name: str
    step: str = "waits for its other run"
    last: Record | None = None
    report_log: Path | None = None
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    done_at: float = 0.0  # seconds from the start to the end of the latest part


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What there is to show of an activity.

    ``parts`` is their number in the earlier record, 0 without one. ``left`` is in seconds, negative if it
    takes longer than then, and None if nothing shows how long it takes.
    """

    name: str
    step: str
    done: int
    parts: int
    elapsed: float
    left: float | None


_running: list[Activity] = []
_current: ContextVar[Activity | None] = ContextVar("activity", default=None)


@contextmanager
def running(name: str, last: Record | None = None) -> Iterator[None]:
    """During the block, this thread runs the cell ``name``; it begins by waiting for the cell's lock."""
    activity = Activity(name=name, last=last)
    _running.append(activity)
    token = _current.set(activity)
    try:
        yield
    finally:
        _current.reset(token)
        _running.remove(activity)


def set_step(step: str, report_log: Path | None = None) -> None:
    """Note what the cell of this thread does from now on."""
    if activity := _current.get():
        activity.step, activity.report_log = step, report_log


def states() -> list[State]:
    """What all cells are doing, in the order in which they began."""
    return [state(activity) for activity in list(_running)]


def state(activity: Activity) -> State:
    """What the cell is doing. The parts that are left take as long as in the earlier record."""
    elapsed = time.monotonic() - activity.started
    step, finished = activity.step, frozenset[str]()
    if activity.report_log and activity.report_log.is_file():
        found = evidence.read(activity.report_log, activity.report_log, 0, whole_cell=False)
        finished = frozenset(_parts((*found.stages.values(), *found.probes)))
        step = found.running_stage or ("measures" if finished else step)
    if len(finished) != activity.done:
        activity.done, activity.done_at = len(finished), elapsed
    last, left = activity.last, None
    seconds = _parts((*last.stages, *last.probes)) if last else {}
    if last and seconds:
        # What is no part comes before the first: the environment, the model, and the start of Python.
        total = max(sum(seconds.values()), last.seconds, 0.001)
        open_parts = sum(seconds[name] for name in seconds.keys() - finished) if finished else total
        left = open_parts / total * last.seconds - (elapsed - activity.done_at)
        if elapsed < last.seconds:  # one part takes longer than last time, but all together do not yet
            left = max(left, 0.0)
    return State(
        name=activity.name,
        step=step,
        done=len(finished),
        parts=len(seconds),
        elapsed=elapsed,
        left=left,
    )


def _parts(results: Iterable[Result]) -> dict[str, float]:
    """The seconds of each part; ``fingerprint`` is none, as it is the sum of ``fingerprint:...``."""
    seconds = {result.name: result.seconds for result in results}
    wholes = {name.partition(":")[0] for name in seconds if ":" in name}
    return {name: each for name, each in seconds.items() if name not in wholes}
