"""The log of a cell's process: complete, without secrets, and never a reason to wait."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tunematrix.run import process
from tunematrix.shared import logs

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
CANARY = "hf_canary"


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


def test_of_output_without_end_the_log_keeps_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LIMIT", 2**21)
    script = "import sys; [sys.stdout.write(('x' * 99 + '\\n') * 10_000) for _ in range(5)]; print('end')"
    code, log = run(tmp_path, script)

    assert (code, log[-4:]) == (0, "end\n")
    assert logs.KEPT < len(log) < logs.LIMIT
    assert " bytes, of which the last 1,048,576 are kept]\n" in log[:80]
