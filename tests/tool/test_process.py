"""The log of a cell's process: complete, without secrets, and never a reason to wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tunematrix.run import process
from tunematrix.shared import logs

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
CANARY = "hf_canary"
SUPERVISED = [sys.executable, "-m", "tunematrix.harness.supervisor"]
# Prints the numbers of a process in a session of its own, whose parent has ended, and of one below it.
DAEMON = """\
import subprocess, sys
code = "import os, subprocess; print(os.getpid(), subprocess.Popen(['sleep', '600']).pid); os.wait()"
starter = f"import subprocess; subprocess.Popen([{sys.executable!r}, '-c', {code!r}], start_new_session=True)"
subprocess.run([sys.executable, "-c", starter], check=True)
"""


def run(tmp_path: Path, script: str, time_limit: float = 30) -> tuple[int | None, str]:
    """Run a Python ``script`` as a cell; returns its exit code and its log."""
    log = tmp_path / "log.txt"
    command = [sys.executable, "-c", script]
    code = process.run(command, {"PYTHONUNBUFFERED": "1", **os.environ}, tmp_path, log, time_limit)
    return code, log.read_text(encoding="utf-8", errors="surrogateescape")


def test_the_log_has_everything_but_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", f"{CANARY}\n")
    script = (
        "import os, sys; token = os.environ['HF_TOKEN'].strip()\n"
        "print('one', token); print('two', token, file=sys.stderr, end='', flush=True)\n"
        "os.write(1, b'\\xff' + token[:4].encode()); os.write(1, token[4:].encode() + b' no end')\n"
        "sys.exit(3)"
    )

    assert run(tmp_path, script) == (3, "one ***\ntwo ***\udcff*** no end")


def test_a_lot_of_output_arrives_in_full(tmp_path: Path) -> None:
    code, log = run(tmp_path, "import sys; sys.stdout.write(('x' * 99 + '\\n') * 50_000)")

    assert (code, log) == (0, ("x" * 99 + "\n") * 50_000)


def test_the_time_limit_ends_the_process_and_keeps_its_unfinished_line(tmp_path: Path) -> None:
    code, log = run(tmp_path, "import time; print('begun', end='', flush=True); time.sleep(60)", 0.8)

    assert (code, log) == (None, "begun")


def test_a_crash_is_the_exit_code(tmp_path: Path) -> None:
    code, log = run(tmp_path, "import os; print('last'); os.kill(os.getpid(), 11)")

    assert (code, log) == (-signal.SIGSEGV, "last\n")


def test_a_process_that_survives_and_keeps_the_pipe_open_is_not_waited_for(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '30'], start_new_session=True)\n"
        "print(child.pid)"
    )
    start = time.monotonic()
    code, log = run(tmp_path, script)
    os.kill(int(log), signal.SIGKILL)

    assert code == 0
    assert time.monotonic() - start < 15


def test_a_process_that_survives_and_goes_on_printing_is_not_waited_for(tmp_path: Path) -> None:
    script = "import subprocess; print(subprocess.Popen(['yes'], start_new_session=True).pid)"
    start = time.monotonic()
    code, log = run(tmp_path, script)

    assert (code, time.monotonic() - start < 15) == (0, True)
    assert len(log) < 64 * 2**20


def test_a_log_that_cannot_be_written_is_an_error_after_the_process_has_ended(tmp_path: Path) -> None:
    """The process would wait for ever if nobody read its output."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    command = [sys.executable, "-c", "print('x' * 2**20); open('done', 'w')"]

    with pytest.raises(OSError, match="No space left"):
        process.run(command, dict(os.environ), tmp_path, Path("/dev/full"), 30)

    assert (tmp_path / "done").exists()


@pytest.fixture(name="number", params=process.SIGNALS)
def _number(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal as a program in the foreground has it; one in the background ignores Ctrl-C."""
    default = signal.default_int_handler if request.param == signal.SIGINT else signal.SIG_DFL
    previous = signal.signal(request.param, default)
    yield request.param
    signal.signal(request.param, previous)


def test_a_signal_ends_the_processes_of_all_threads(tmp_path: Path, number: int) -> None:
    """A pool waits for its threads, and they for their processes, for minutes."""
    script = "import time; print('begun', flush=True); time.sleep(50)"
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()

    def interrupt() -> None:
        logs = [folder / "log.txt" for folder in folders]
        while not all(log.exists() and log.read_text() for log in logs):
            time.sleep(0.1)
        os.kill(os.getpid(), number)

    def run_both() -> None:
        with process.stopped_by_signals(), ThreadPoolExecutor(2) as pool:
            results.extend(pool.submit(run, folder, script) for folder in folders)
            results[0].result()

    results: list[Future[tuple[int | None, str]]] = []
    start = time.monotonic()
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_both()

    assert time.monotonic() - start < 30
    assert all(isinstance(result.exception(), KeyboardInterrupt) for result in results)
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)
    assert run(tmp_path, "pass")[0] == 0, "what comes later runs"


def test_of_output_without_end_the_log_keeps_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LIMIT", 2**21)
    script = "import sys; [sys.stdout.write(('x' * 99 + '\\n') * 10_000) for _ in range(5)]; print('end')"
    code, log = run(tmp_path, script)

    assert (code, log[-4:]) == (0, "end\n")
    assert logs.KEPT < len(log) < logs.LIMIT
    assert " bytes, of which the last 1,048,576 are kept]\n" in log[:80]


@pytest.fixture(name="module")
def _module(tmp_path: Path) -> Path:
    """A module that ends with a daemon behind it, unless something is added."""
    path = tmp_path / "work.py"
    path.write_text(f"{DAEMON}\nimport os, time\ntime.sleep(1)\n")
    return path


def add(module: Path, code: str) -> None:
    module.write_text(module.read_text() + code)


def supervise(module: Path, time_limit: float = 30) -> tuple[int | None, str]:
    """Run the module as the tests of a cell; returns its exit code and its log."""
    log = module.with_name("log.txt")
    command = [*SUPERVISED, "work", "argument"]
    variables = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **os.environ}
    return process.run(command, variables, module.parent, log, time_limit), log.read_text()


def have_ended(pids: str) -> bool:
    for _ in range(50):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids.split()):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("time.sleep(60)", None),
    ],
    ids=["end", "exit", "kill -9", "time limit"],
)
def test_what_a_cell_leaves_running_ends_with_it(module: Path, end: str, code: int | None) -> None:
    add(module, end)
    result, pids = supervise(module, 5)

    assert (result, len(pids.split()), have_ended(pids)) == (code, 2, True)


def test_a_supervised_module_gets_its_arguments_and_its_crash_is_shown_once(module: Path) -> None:
    module.write_text("import os, sys; print(__name__, sys.argv[1:]); os.kill(os.getpid(), 11)")
    code, log = supervise(module)

    assert (code, log.splitlines()[0]) == (-signal.SIGSEGV, "__main__ ['argument']")
    assert log.count("Fatal Python error: Segmentation fault") == 1


def test_a_cell_ends_with_the_program_that_started_it(module: Path) -> None:
    add(module, "time.sleep(600)")
    host = (
        "import os, sys; from pathlib import Path; from tunematrix.run import process\n"
        "process.run(sys.argv[1:], dict(os.environ), Path.cwd(), Path('log.txt'), 600)"
    )
    command = [sys.executable, "-c", host, *SUPERVISED, "work"]
    with subprocess.Popen(command, cwd=module.parent, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as program:
        log = module.with_name("log.txt")
        while not log.exists() or not log.read_text().endswith("\n"):
            time.sleep(0.1)
        program.kill()

    assert have_ended(log.read_text())
