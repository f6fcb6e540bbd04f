"""Run one piece of work in a forked child with a time limit.

Importing the stack is most of a cell's cost and its process state leaks (in transformers 4 one trainer
in bf16 makes every later one run in bf16), so the parent imports once and each stage gets a fresh copy.
A crash, a hang or a leak in one child cannot affect the next.
"""

from __future__ import annotations

import contextlib
import gc
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

from tunematrix.harness.deprecations import collect_deprecations
from tunematrix.harness.descendants import adopt_orphans, die_with_parent, kill_descendants
from tunematrix.harness.failure import describe_error
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.secrets import mask
from tunematrix.shared.stages import is_infrastructure, memory_hint

Work = Callable[[Trace], None]
MAX_ATTEMPTS: Final = 3
MAX_ATTEMPTS_AFTER_TIMEOUT: Final = 2  # a hang rarely passes on another attempt, and each costs the limit
# macOS has fork, but its system libraries do not survive it.
CAN_FORK: Final = hasattr(os, "fork") and sys.platform != "darwin"
KIB_PER_MIB: Final = 1024  # ru_maxrss counts KiB on Linux


class Unavailable(Exception):
    """The stack under test does not have the feature; not a failure."""


class Skipped(Exception):
    """The work cannot run here; the message gives the reason. Never counted as a pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkResult:
    """The result of a piece of work: outcome, cost, error, and the facts it recorded up to its end."""

    outcome: str
    seconds: float = 0.0
    peak_rss_mb: int = 0
    error: dict[str, str] | None = None
    attempts: int = 1
    trace: dict[str, Any] = field(default_factory=lambda: asdict(Trace()))

    @property
    def numbers(self) -> dict[str, Any]:
        return dict(self.trace["numbers"])


def run_isolated(work: Work, limit: float, *, retry: bool = True) -> WorkResult:
    """Run ``work`` in a child for at most ``limit`` seconds; in this process if it cannot fork.

    Retries only infrastructure errors, if at all: up to ``MAX_ATTEMPTS`` attempts, fewer after a timeout.
    """
    result = _run_once(work, limit)
    return _retry(work, limit, result) if retry else result


def run_parallel(works: Sequence[Work], limit: float, max_running: int) -> Iterator[tuple[int, WorkResult]]:
    """Run ``works`` as ``run_isolated`` does, ``max_running`` at a time; yields index and result of each."""
    if not CAN_FORK:
        yield from ((index, run_isolated(work, limit)) for index, work in enumerate(works))
        return
    running: dict[Connection, tuple[int, _Child]] = {}
    waiting = list(enumerate(works))
    while waiting or running:
        while waiting and len(running) < max_running:
            index, work = waiting.pop(0)
            child = _Child(work, limit)
            running[child.receiver] = index, child
        next_to_expire = min((child for _, child in running.values()), key=lambda child: child.deadline)
        ready = wait(list(running), timeout=next_to_expire.seconds_left()) or [next_to_expire.receiver]
        for receiver in ready:
            index, child = running.pop(cast("Connection", receiver))
            yield index, _retry(works[index], limit, child.result())


def _run_once(work: Work, limit: float) -> WorkResult:
    return _Child(work, limit).result() if CAN_FORK else run_in_process(work)


def _retry(work: Work, limit: float, result: WorkResult) -> WorkResult:
    """``result``, or that of further attempts if ``result`` is an infrastructure error."""
    if result.outcome not in ("failed", "crashed", "timed_out") or result.error is None:
        return result
    if not is_infrastructure(result.error["type"], result.error["message"]):
        return result
    if result.attempts == (MAX_ATTEMPTS_AFTER_TIMEOUT if result.outcome == "timed_out" else MAX_ATTEMPTS):
        return result
    retried = _run_once(work, limit)
    return _retry(work, limit, replace(retried, attempts=result.attempts + 1))


def run_in_process(work: Work) -> WorkResult:
    """Run ``work`` once in this process; whatever it raises is in the result."""
    trace = Trace()
    outcome, error = "passed", None
    start = time.perf_counter()
    try:
        with collect_deprecations(trace.warnings):
            work(trace)
    except (Skipped, Unavailable) as reason:
        outcome = "skipped" if isinstance(reason, Skipped) else "unavailable"
        error = {"type": type(reason).__name__, "message": mask(str(reason)), "where": "", "traceback": ""}
    except BaseException as failure:  # SystemExit and the like end a stage, not the cell
        outcome, error = "failed", describe_error(failure)
    return WorkResult(
        outcome=outcome,
        seconds=time.perf_counter() - start,
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // KIB_PER_MIB,
        error=error,
        trace=asdict(trace),
    )


class _Child:
    """A forked child that runs ``work``; ``result`` waits for it until the deadline."""

    def __init__(self, work: Work, limit: float) -> None:
        context = multiprocessing.get_context("fork")
        self.receiver, sender = context.Pipe(duplex=False)
        self.limit = limit
        self.start = time.perf_counter()
        self.deadline = self.start + limit
        sys.stdout.flush()
        sys.stderr.flush()
        self.process = context.Process(target=_child_main, args=(work, sender), daemon=False)
        self.process.start()
        sender.close()

    def seconds_left(self) -> float:
        return max(0.0, self.deadline - time.perf_counter())

    def result(self) -> WorkResult:
        """Wait for the child, kill what is left of it, and return its result."""
        try:
            result = self.receiver.recv() if self.receiver.poll(self.seconds_left()) else None
        except EOFError:  # the child ended without sending a result
            self.process.join()
            return _crash_result(self.process.exitcode or 0, time.perf_counter() - self.start)
        finally:
            _kill(self.process)
            self.receiver.close()
        if isinstance(result, WorkResult):
            return result
        message = f"not done after {self.limit:g} s; killed"
        error = {"type": "TimeoutError", "message": message, "where": "", "traceback": ""}
        return WorkResult(outcome="timed_out", seconds=time.perf_counter() - self.start, error=error)


def _child_main(work: Work, sender: Connection) -> None:
    with contextlib.suppress(OSError):
        os.setsid()  # so that its own children can be killed with it
    die_with_parent()
    adopt_orphans()
    gc.freeze()  # a trainer collects garbage in each run, and that walks all modules of the stack: 0.2 s
    result = run_in_process(work)
    sys.stdout.flush()
    sys.stderr.flush()
    sender.send(result)
    kill_descendants(os.getpid())  # before this process ends: then nobody knows whose they were
    os._exit(0)  # not through exit handlers: those belong to the parent


def _kill(process: ForkProcess) -> None:
    """Kill a child and all that it started."""
    if process.pid:
        if process.is_alive():
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGSTOP)  # it starts nothing more
            kill_descendants(process.pid)
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # it may not lead a process group yet
    process.join()


def _crash_result(code: int, seconds: float) -> WorkResult:
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    message = f"the process ended by {name}{memory_hint(name)}"
    error = {"type": name.replace(" ", "_"), "message": message, "where": "", "traceback": ""}
    return WorkResult(outcome="crashed", seconds=seconds, error=error)
