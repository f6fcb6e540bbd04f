"""A stage's child: whatever happens in it, the parent goes on and knows what happened."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunematrix.harness.isolate import CAN_FORK, Skipped, Unavailable, isolated
from tunematrix.pipeline.trace import Trace

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="needs fork; elsewhere stages run unforked")


def test_facts_come_back_and_state_does_not() -> None:
    state: list[int] = []

    def work(trace: Trace) -> None:
        state.append(1)
        trace.number("loss", 0.5)
        trace.call_site("f", "old", "new")

    ended = isolated(work, 10)

    assert ended.outcome == "passed"
    assert ended.numbers == {".loss": 0.5}
    assert ended.trace["call_sites"] == [{"call": "f", "argument": "old", "use": "new"}]
    assert ended.peak_rss_mb > 0
    assert state == []


def test_facts_told_before_a_failure_are_kept() -> None:
    def work(trace: Trace) -> None:
        trace.number("step", 1)
        raise ValueError("no") from KeyError("deep")

    ended = isolated(work, 10)

    assert ended.outcome == "failed"
    assert ended.numbers == {".step": 1}
    assert ended.error is not None
    assert (ended.error["type"], ended.error["message"]) == ("KeyError", "'deep'")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_is_told_by_its_signal(number: signal.Signals) -> None:
    def work(_: Trace) -> None:
        faulthandler.disable()  # its stacks are for real crashes
        os.kill(os.getpid(), number)

    ended = isolated(work, 10)

    assert ended.outcome == "crashed"
    assert ended.error is not None
    assert ended.error["type"] == number.name
    assert ("memory is short" in ended.error["message"]) == (number == signal.SIGKILL)


def test_a_process_that_just_leaves_is_a_crash() -> None:
    ended = isolated(lambda _: os._exit(7), 10)

    assert ended.outcome == "crashed"
    assert ended.error is not None
    assert ended.error["message"] == "the process ended by exit code 7"


def test_a_system_exit_is_a_failure_not_the_end() -> None:
    assert isolated(lambda _: sys.exit(3), 10).outcome == "failed"


def test_a_hang_is_ended_with_its_own_children() -> None:
    receiver, sender = os.pipe()

    def work(_: Trace) -> None:
        sleeper = subprocess.Popen(["sleep", "60"])
        os.write(sender, str(sleeper.pid).encode())
        time.sleep(60)

    ended = isolated(work, 0.5)

    assert ended.outcome == "timed_out"
    assert ended.error is not None
    assert ended.error["message"] == "not done after 0.5 s; killed"
    assert gone(int(os.read(receiver, 20)))


def gone(pid: int) -> bool:
    """Whether a process has ended, within a second; one that waits to be collected has."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_running_out_of_memory_is_a_failure_with_its_name() -> None:
    def work(_: Trace) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        bytearray(2**31)

    ended = isolated(work, 10)

    assert ended.outcome == "failed"
    assert ended.error is not None
    assert ended.error["type"] == "MemoryError"


@pytest.mark.parametrize(("reason", "outcome"), [(Skipped, "skipped"), (Unavailable, "unavailable")])
def test_what_cannot_be_tried_is_neither_passed_nor_failed(reason: type[Exception], outcome: str) -> None:
    def work(_: Trace) -> None:
        raise reason("no Hub")

    ended = isolated(work, 10)

    assert ended.outcome == outcome
    assert ended.error is not None
    assert ended.error["message"] == "no Hub"


def test_a_result_larger_than_a_pipe_comes_back() -> None:
    ended = isolated(lambda trace: trace.number("many", list(range(200_000))), 30)

    assert ended.outcome == "passed"
    assert len(ended.numbers[".many"]) == 200_000


def attempts(folder: Path, error: str, fails: int) -> tuple[str, int]:
    """How work that raises ``error`` the first ``fails`` times ends, and after how many attempts."""
    counter = folder / "attempts"
    counter.write_text("")

    def work(_: Trace) -> None:
        with counter.open("a") as stream:
            stream.write(".")
        if counter.stat().st_size <= fails:
            exec(error)

    ended = isolated(work, 10)
    assert counter.stat().st_size == ended.attempts
    return ended.outcome, ended.attempts


@pytest.mark.parametrize(
    "error",
    [
        "raise MemoryError",
        "raise OSError(28, 'No space left on device')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "from tunematrix.pipeline.errors import HubError; raise HubError('away')",
    ],
)
def test_trouble_of_the_infrastructure_is_tried_twice_again(tmp_path: Path, error: str) -> None:
    assert attempts(tmp_path, error, 2) == ("passed", 3)
    assert attempts(tmp_path, error, 9)[1] == 3


@pytest.mark.parametrize(
    "error",
    ["raise KeyError('x')", "raise TypeError", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"],
)
def test_nothing_else_is_tried_again(tmp_path: Path, error: str) -> None:
    outcome, tried = attempts(tmp_path, error, 9)

    assert (outcome in ("failed", "crashed"), tried) == (True, 1)
