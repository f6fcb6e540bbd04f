"""Run one piece of work in a forked child with a time limit.

Importing the stack is most of a cell's cost and its process state leaks (in transformers 4 one trainer
in bf16 makes every later one run in bf16), so the parent imports once and each stage gets a fresh copy.
A crash, a hang or a leak in one cannot touch the next.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Final, cast

from tunematrix.harness.deprecations import collected
from tunematrix.harness.failure import describe
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.stages import is_infrastructure, memory_hint

Work = Callable[[Trace], None]
ATTEMPTS: Final = 3
# macOS has fork, but its system libraries do not survive it.
CAN_FORK: Final = hasattr(os, "fork") and sys.platform != "darwin"
PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
MIB: Final = 1024  # ru_maxrss counts KiB on Linux


class Unavailable(Exception):
    """The stack under test lacks the feature; not a failure."""


class Skipped(Exception):
    """Cannot be tried here, with the reason; never counted as a pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a piece of work ended: its outcome, cost, error, and the facts it told before that."""

    outcome: str
    seconds: float = 0.0
    peak_rss_mb: int = 0
    error: dict[str, str] | None = None
    attempts: int = 1
    trace: dict[str, Any] = field(default_factory=lambda: asdict(Trace()))

    @property
    def numbers(self) -> dict[str, Any]:
        return dict(self.trace["numbers"])


def isolated(work: Work, limit: float) -> Ended:
    """Run ``work`` in a child for at most ``limit`` seconds; in this process where fork is not to be had.

    Trouble of the infrastructure is tried again, twice at most, a hang once: it rarely mends itself.
    Nothing else ever is.
    """
    return _again(work, limit, _Child(work, limit).end() if CAN_FORK else attempt(work))


def side_by_side(works: Sequence[Work], limit: float, at_once: int) -> Iterator[tuple[int, Ended]]:
    """Run ``works`` each as ``isolated`` does, ``at_once`` at a time; yields place and end as they end."""
    if not CAN_FORK:
        yield from ((place, isolated(work, limit)) for place, work in enumerate(works))
        return
    running: dict[Connection, tuple[int, _Child]] = {}
    waiting = list(enumerate(works))
    while waiting or running:
        while waiting and len(running) < at_once:
            place, work = waiting.pop(0)
            child = _Child(work, limit)
            running[child.receiver] = place, child
        soonest = min((child for _, child in running.values()), key=lambda child: child.until)
        done = wait(list(running), timeout=soonest.left()) or [soonest.receiver]
        for receiver in done:
            place, child = running.pop(cast("Connection", receiver))
            yield place, _again(works[place], limit, child.end())


def _again(work: Work, limit: float, ended: Ended) -> Ended:
    """``ended``, or how another attempt ended where trouble of the infrastructure asks for one."""
    if ended.outcome not in ("failed", "crashed", "timed_out") or ended.error is None:
        return ended
    if not is_infrastructure(ended.error["type"], ended.error["message"]):
        return ended
    if ended.attempts == (2 if ended.outcome == "timed_out" else ATTEMPTS):
        return ended
    again = _Child(work, limit).end() if CAN_FORK else attempt(work)
    return _again(work, limit, replace(again, attempts=ended.attempts + 1))


def attempt(work: Work) -> Ended:
    trace = Trace()
    outcome, error = "passed", None
    start = time.perf_counter()
    try:
        with collected(trace.warnings):
            work(trace)
    except (Skipped, Unavailable) as reason:
        outcome = "skipped" if isinstance(reason, Skipped) else "unavailable"
        error = {"type": type(reason).__name__, "message": str(reason), "where": "", "traceback": ""}
    except BaseException as failure:  # SystemExit and the like end a stage, not the cell
        outcome, error = "failed", describe(failure)
    return Ended(
        outcome=outcome,
        seconds=time.perf_counter() - start,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // MIB,
        error=error,
        trace=asdict(trace),
    )


class _Child:
    """A forked child at work; ``end`` waits for it, at most until its time is over."""

    def __init__(self, work: Work, limit: float) -> None:
        context = multiprocessing.get_context("fork")
        self.receiver, sender = context.Pipe(duplex=False)
        self.limit = limit
        self.start = time.perf_counter()
        self.until = self.start + limit
        sys.stdout.flush()
        sys.stderr.flush()
        self.process = context.Process(target=_child, args=(work, sender), daemon=False)
        self.process.start()
        sender.close()

    def left(self) -> float:
        return max(0.0, self.until - time.perf_counter())

    def end(self) -> Ended:
        try:
            ended = self.receiver.recv() if self.receiver.poll(self.left()) else None
        except EOFError:  # it died without a word
            self.process.join()
            return _died(self.process.exitcode or 0, time.perf_counter() - self.start)
        finally:
            _end(self.process)
            self.receiver.close()
        if isinstance(ended, Ended):
            return ended
        message = f"not done after {self.limit:g} s; killed"
        error = {"type": "TimeoutError", "message": message, "where": "", "traceback": ""}
        return Ended(outcome="timed_out", seconds=time.perf_counter() - self.start, error=error)


def _child(work: Work, sender: Connection) -> None:
    with contextlib.suppress(OSError):
        os.setsid()  # so that its own workers can be ended with it
    die_with_parent()
    sender.send(attempt(work))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # not through exit handlers: those belong to the parent


def die_with_parent() -> None:
    """Have the kernel end this process when its parent is killed outright; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(child: ForkProcess) -> None:
    """Kill what is left of a child and its workers."""
    if child.pid:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()  # it may not have come to lead a group
    child.join()


def _died(code: int, seconds: float) -> Ended:
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    message = f"the process ended by {name}{memory_hint(name)}"
    error = {"type": name.replace(" ", "_"), "message": message, "where": "", "traceback": ""}
    return Ended(outcome="crashed", seconds=seconds, error=error)
