"""Work in a child process: whatever happens to the child, the parent continues and has a result."""

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

from tunematrix.harness.isolate import CAN_FORK, Skipped, Unavailable, run_isolated
from tunematrix.pipeline.trace import Trace

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="needs fork; other platforms run stages in process")


def test_the_parent_gets_the_facts_but_keeps_its_state() -> None:
    state: list[int] = []

    def work(trace: Trace) -> None:
        state.append(1)
        trace.add_number("loss", 0.5)
        trace.add_call_site("f", "old", "new")

    result = run_isolated(work, 10)

    assert result.outcome == "passed"
    assert result.numbers == {".loss": 0.5}
    assert result.trace["call_sites"] == [{"call": "f", "argument": "old", "use": "new"}]
    assert result.peak_rss_mb > 0
    assert state == []


def test_facts_recorded_before_a_failure_are_kept() -> None:
    def work(trace: Trace) -> None:
        trace.add_number("step", 1)
        raise ValueError("no") from KeyError("deep")

    result = run_isolated(work, 10)

    assert result.outcome == "failed"
    assert result.numbers == {".step": 1}
    assert result.error is not None
    assert (result.error["type"], result.error["message"]) == ("KeyError", "'deep'")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_is_named_after_its_signal(number: signal.Signals) -> None:
    def work(_: Trace) -> None:
        faulthandler.disable()  # it would print a stack for this intended crash
        os.kill(os.getpid(), number)

    result = run_isolated(work, 10)

    assert result.outcome == "crashed"
    assert result.error is not None
    assert result.error["type"] == number.name
    assert ("memory is short" in result.error["message"]) == (number == signal.SIGKILL)


def test_a_process_that_exits_without_a_result_is_a_crash() -> None:
    result = run_isolated(lambda _: os._exit(7), 10)

    assert result.outcome == "crashed"
    assert result.error is not None
    assert result.error["message"] == "the process ended by exit code 7"


def test_a_system_exit_is_a_failure_of_the_stage_only() -> None:
    assert run_isolated(lambda _: sys.exit(3), 10).outcome == "failed"


def test_a_hanging_child_is_killed_with_its_own_children() -> None:
    receiver, sender = os.pipe()

    def work(_: Trace) -> None:
        sleeper = subprocess.Popen(["sleep", "60"])
        os.write(sender, str(sleeper.pid).encode())
        time.sleep(60)

    result = run_isolated(work, 0.5)

    assert result.outcome == "timed_out"
    assert result.error is not None
    assert result.error["message"] == "not done after 0.5 s; killed"
    assert has_ended(int(os.read(receiver, 20)))


def has_ended(pid: int) -> bool:
    """Whether a process ends within a second; a zombie counts as ended."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_running_out_of_memory_is_a_memory_error() -> None:
    def work(_: Trace) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        bytearray(2**31)

    result = run_isolated(work, 10)

    assert result.outcome == "failed"
    assert result.error is not None
    assert result.error["type"] == "MemoryError"


@pytest.mark.parametrize(("exception", "outcome"), [(Skipped, "skipped"), (Unavailable, "unavailable")])
def test_work_that_cannot_run_is_neither_passed_nor_failed(exception: type[Exception], outcome: str) -> None:
    def work(_: Trace) -> None:
        raise exception("no Hub")

    result = run_isolated(work, 10)

    assert result.outcome == outcome
    assert result.error is not None
    assert result.error["message"] == "no Hub"


def test_a_result_larger_than_the_pipe_buffer_arrives_whole() -> None:
    result = run_isolated(lambda trace: trace.add_number("many", list(range(200_000))), 30)

    assert result.outcome == "passed"
    assert len(result.numbers[".many"]) == 200_000


def run_failing(folder: Path, error: str, failures: int) -> tuple[str, int]:
    """Run work that executes ``error`` in its first ``failures`` attempts; returns outcome and attempts."""
    counter = folder / "attempts"
    counter.write_text("")

    def work(_: Trace) -> None:
        with counter.open("a") as stream:
            stream.write(".")
        if counter.stat().st_size <= failures:
            exec(error)

    result = run_isolated(work, 10)
    assert counter.stat().st_size == result.attempts
    return result.outcome, result.attempts


@pytest.mark.parametrize(
    "error",
    [
        "raise MemoryError",
        "raise OSError(28, 'No space left on device')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "from tunematrix.pipeline.errors import HubError; raise HubError('away')",
    ],
)
def test_an_infrastructure_error_is_retried_twice(tmp_path: Path, error: str) -> None:
    assert run_failing(tmp_path, error, 2) == ("passed", 3)
    assert run_failing(tmp_path, error, 9)[1] == 3


@pytest.mark.parametrize(
    "error",
    ["raise KeyError('x')", "raise TypeError", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"],
)
def test_other_errors_are_not_retried(tmp_path: Path, error: str) -> None:
    outcome, attempts = run_failing(tmp_path, error, 9)

    assert (outcome in ("failed", "crashed"), attempts) == (True, 1)


DAEMON = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write({writer}, str(os.getpid()).encode())
    signal.pause()
os.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a kernel that keeps orphans below their process")
@pytest.mark.parametrize("end", ["pass", "signal.pause()"])
def test_a_daemon_is_killed_with_the_work_that_started_it(end: str) -> None:
    receiver, sender = os.pipe()
    program = f"{DAEMON.format(writer=sender)}\n"

    def work(_: Trace) -> None:
        subprocess.run([sys.executable, "-c", program], pass_fds=[sender], check=True)
        exec(end)

    outcome = run_isolated(work, 2, retry=False).outcome

    assert outcome == ("passed" if end == "pass" else "timed_out")
    assert has_ended(int(os.read(receiver, 20)))
