"""The program on a real terminal: what it draws while cells run, and what is left when they end."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.tool.conftest import ROOT, Sandbox
from tests.tool.test_run import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
SHOWN = """
import time
from tunematrix.cli import live
from tunematrix.run import activity
live.Terminal.seconds = live.PRINTED = 0.1
with live.shown() as say:
    with activity.running("trl-0.26-transformers-ahead"):
        say("baseline: running")
        time.sleep(0.5)
        {body}
print("the answer")
"""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A program on a terminal of its own; ``text`` is all that it showed so far."""

    def __init__(self, command: list[str], variables: Mapping[str, str], columns: int = 100) -> None:
        inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
        environment = {**inherited, "COLUMNS": str(columns), "TERM": "xterm-256color", **variables}
        self.text = ""
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            os.chdir(ROOT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
            os.execvpe(command[0], command, environment)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Read on, since a program waits for who does not."""
        with contextlib.suppress(OSError):  # the end, on Linux
            while data := os.read(self._terminal, 2**16):
                self.text += data.decode(errors="replace")

    def press(self, key: bytes) -> None:
        os.write(self._terminal, key)

    def end(self) -> int:
        """Its exit code, once it ends."""
        self._reader.join()
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def on_terminal(body: str, columns: int, **variables: str) -> tuple[int, str]:
    """Run a cell on a terminal; returns the exit code and all that it showed."""
    terminal = Terminal([sys.executable, "-c", SHOWN.format(body=body)], variables, columns)
    return terminal.end(), terminal.text


@pytest.mark.parametrize("columns", [40, 100])
def test_a_terminal_has_one_line_for_a_cell_and_is_left_as_it_was(columns: int) -> None:
    code, text = on_terminal("pass", columns)
    lines = [line for line in re.split(r"[\r\n]+", CONTROL.sub("", text)) if line]

    assert code == 0
    assert lines[0] == "baseline: running"
    assert lines[-1] == "the answer"
    assert len(set(lines[1:-1])) <= 2, "the line of the cell, at most two seconds long"
    assert all(len(line) <= columns for line in lines)
    assert lines[1].startswith("trl-0.26-transforme")
    assert "waits for its" in lines[1]
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is there"
    assert text.index("\x1b[?25h") < text.index("trl-0.26"), (
        "also while it runs: a kill would leave it hidden"
    )
    assert text.rstrip().endswith("\x1b[2Kthe answer"), "the line of the cell is gone"


def test_a_terminal_without_colour() -> None:
    _, text = on_terminal("pass", 100, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", text)


def test_a_dumb_terminal_gets_plain_lines() -> None:
    _, text = on_terminal("pass", 100, TERM="dumb")
    assert "\x1b" not in text
    assert "trl-0.26-transformers-ahead: waits for its other run, 0:00 so far\r\n" in text


def test_an_interrupt_leaves_the_terminal_as_it_was() -> None:
    code, text = on_terminal("import os, signal; os.kill(os.getpid(), signal.SIGINT)", 100)

    assert code != 0
    assert "the answer" not in text
    assert "KeyboardInterrupt" in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
    assert "\x1b[2K" in text.split("trl-0.26")[-1], "the line of the cell is gone"


HANG = "def test_pid():\n    print('PID', os.getpid(), flush=True)\n    time.sleep(60)"


def processes_of(log: Path) -> list[int]:
    """Those of a cell that still run."""
    pids = [int(word) for word in re.findall(r"PID (\d+)", log.read_text())]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def have_ended(log: Path) -> bool:
    """Whether they end: a killed process stays in the table until somebody asks how it ended."""
    for _ in range(50):
        if not processes_of(log):
            return True
        time.sleep(0.1)
    return False


def test_ctrl_c_ends_the_cell_and_leaves_the_record_of_a_run_that_was_cut_off(sandbox: Sandbox) -> None:
    sandbox.add_cell()
    sandbox.set_test(HANG)
    terminal = Terminal(sandbox.command("run", "toy"), sandbox.variables)
    log = sandbox.results / "tiny-gpt2/toy/log.txt"
    wait_for(log, "PID ")
    assert processes_of(log)
    terminal.press(b"\x03")

    assert terminal.end() == 130
    assert terminal.text.endswith("interrupted\r\n")
    assert "Traceback" not in terminal.text
    assert have_ended(log)
    assert "somebody stopped the run" in sandbox.interrupted()["error"]["message"]
    assert not (sandbox.results / "tiny-gpt2/toy.json").exists()
    code, output = sandbox.run("report")
    assert (code, "somebody stopped the run" in output) == (3, True), output


def test_on_the_board_of_nox_parallel_cells_say_what_they_do_and_ctrl_c_ends_them(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        sandbox.add_cell(name)
    sandbox.set_test(HANG)
    command = [sys.executable, "-m", "nox", "--envdir", str(tmp_path / "nox"), "-s", "e2e", "-j", "2", "--"]
    command += ["--model", "tiny-gpt2", "--workload", str(sandbox.workload)]
    terminal = Terminal(command, sandbox.variables)
    logs = [sandbox.results / f"tiny-gpt2/{name}/log.txt" for name in ("one", "two")]
    for log in logs:
        wait_for(log, "PID ")
    time.sleep(2)
    board = CONTROL.sub("", terminal.text)
    for name in ("one", "two"):
        assert re.search(rf"e2e\({name}\) \(\d+s\)  (starts|measures|download)", board), board[-2000:]
    assert "==========" not in terminal.text, "no session has ended"
    terminal.press(b"\x03")

    assert terminal.end() != 0
    assert all(map(have_ended, logs))
    for name in ("one", "two"):
        assert "somebody stopped the run" in sandbox.interrupted(name)["error"]["message"]
    assert "2 interrupted" in terminal.text
    assert terminal.text.rstrip().endswith("summary.html   (as text: summary.md)")
