"""What people see while cells run: on the board of nox, in a log, and in CI; a terminal is in tests/tool."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest

from tunematrix.cli import live, plan
from tunematrix.run import activity
from tunematrix.run.activity import State

STATE = State(name="latest", step="finetune", done=12, parts=24, elapsed=65.4, left=170.0)


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", plan.PROGRESS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(live, "PRINTED", 0.05)
    monkeypatch.setattr(live, "REDRAWN", 0.05)


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (170.0, "3 min left, finetune, 12 of 24 done, 1:05 so far"),
        (119.0, "2 min left, finetune, 12 of 24 done, 1:05 so far"),
        (44.0, "40 s left, finetune, 12 of 24 done, 1:05 so far"),
        (0.0, "10 s left, finetune, 12 of 24 done, 1:05 so far"),
        (-1.0, "longer than last time, finetune, 12 of 24 done, 1:05 so far"),
        (None, "finetune, 12 of 24 done, 1:05 so far"),
    ],
)
def test_a_state_in_words(left: float | None, text: str) -> None:
    state = State(name="a", step="finetune", done=12, parts=24, elapsed=65.4, left=left)
    assert live.describe(state) == text


def test_a_step_of_a_stack_controls_no_terminal() -> None:
    step = "a\x1b[2Jb\r\nc"
    assert "\x1b" not in live.describe(State(name="a", step=step, done=0, parts=0, elapsed=0, left=None))


def wait(stream: Path | io.StringIO, text: str) -> str:
    deadline = time.monotonic() + 10
    found = ""
    while text not in found and time.monotonic() < deadline:
        found = stream.read_text() if isinstance(stream, Path) else stream.getvalue()
        time.sleep(0.01)
    return found


def test_a_log_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with live.shown() as say, activity.running("a"):
        say("baseline:\x1b[2J\nrunning")
        time.sleep(0.3)
    error = capsys.readouterr().err

    assert error.startswith(
        "baseline:\N{REPLACEMENT CHARACTER}[2J\nrunning\na: waits for its other run, 0:00"
    )
    assert error.count("a: waits") > 1
    assert not re.search(r"[\x1b\r]", error)


@pytest.mark.parametrize(("ci", "quiet", "expected"), [("true", False, "begins\n"), ("", True, "")])
def test_in_ci_only_starts_and_ends_and_quiet_nothing(
    ci: str, quiet: bool, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", ci)
    with live.shown(quiet=quiet) as say, activity.running("a"):
        say("begins")
        time.sleep(0.2)

    assert capsys.readouterr() == ("", expected)


def test_below_nox_without_a_terminal_the_lines_go_to_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lines"
    monkeypatch.setenv(plan.PROGRESS, str(path))
    with live.shown(), activity.running("a"):
        while not path.exists():
            time.sleep(0.01)
        assert wait(path, "\n").startswith("a: waits for its other run, 0:00 so far\n")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("columns", "width"), [(100, 79), (40, 39)])
def test_the_board_of_nox_gets_lines_that_are_written_over(columns: int, width: int) -> None:
    """nox shows the last one, and keeps all for its end: there each must cover the one before."""
    stream = io.StringIO()
    board = live.Board(columns, stream)
    for state in (STATE, STATE, State(name="latest", step="x", done=0, parts=0, elapsed=70, left=None)):
        board.draw([state])
    board.draw([])
    board.close()

    lines = stream.getvalue().split("\r")
    assert [line.rstrip() for line in lines] == ["3 min left, finetune, 12 of 24 done", "x", "", ""]
    assert {len(line) for line in lines[:-1]} == {width}


def test_a_view_that_fails_harms_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    for name in ("draw", "say", "close"):
        monkeypatch.setattr(live.Lines, name, fail)
    with live.shown() as say, activity.running("a"):
        say("on it goes")
        time.sleep(0.2)
