"""The sessions: their names are a contract, and their list is what a CI plans its jobs from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunematrix.locks import table

ROOT = Path(__file__).parents[2]


def nox(*arguments: str) -> str:
    command = [sys.executable, "-m", "nox", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(name="sessions", scope="module")
def _sessions() -> list[dict[str, Any]]:
    return list(json.loads(nox("-l", "--json")))


def test_every_cell_is_a_session_with_its_python_and_tags(sessions: list[dict[str, Any]]) -> None:
    found = {row["call_spec"]["cell"]: row for row in sessions if row["name"] == "e2e"}
    cells = table.load(ROOT / "constraints").cells

    assert list(found) == [cell.name for cell in cells]
    for cell in cells:
        assert found[cell.name]["session"] == f"e2e({cell.name})"
        assert found[cell.name]["python"] == cell.python
        assert found[cell.name]["tags"] == list(cell.tags)


def test_the_promised_sessions_are_there_and_each_says_what_it_does(sessions: list[dict[str, Any]]) -> None:
    assert {"tests", "lint", "e2e", "lock", "report", "bench"} <= {row["name"] for row in sessions}
    assert all(row["description"] for row in sessions)


def test_tests_is_the_default_session() -> None:
    chosen = [line for line in nox("-l").splitlines() if line.startswith("* ")]

    assert [line.split()[1] for line in chosen] == ["tests"]


def test_the_noxfile_holds_sessions_only() -> None:
    assert len((ROOT / "noxfile.py").read_text().splitlines()) < 150
