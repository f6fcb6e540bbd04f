"""What the outer nox does for the cells of parallel sessions, whose output it shows at their end."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from tunematrix import nox
from tunematrix.cli import plan


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "COLUMNS", plan.PROGRESS):
        monkeypatch.setenv(name, "")  # so that it is put back, whatever sets it


def test_without_a_terminal_their_lines_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    nox._show_parallel_sessions()
    path = Path(os.environ[plan.PROGRESS])
    with path.open("a") as stream:
        stream.write("latest: finetune\n")

    found = ""
    for _ in range(100):
        if found := capsys.readouterr().err:
            break
        time.sleep(0.1)
    assert found == "latest: finetune\n"
    path.unlink()


def test_a_terminal_has_the_board_of_nox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    nox._show_parallel_sessions()

    assert os.environ[plan.PROGRESS] == "40"


def test_in_ci_there_is_nothing_between_start_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    before = threading.active_count()
    nox._show_parallel_sessions()

    assert (os.environ[plan.PROGRESS], threading.active_count()) == ("", before)


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("1", True), ("", False), ("false", False)])
def test_ci(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("CI", value)
    assert plan.in_ci() == expected
