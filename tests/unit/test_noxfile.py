"""The nox sessions: their names are a contract, and CI plans its jobs from their list."""

from __future__ import annotations

import json
import os
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
    by_cell = {session["call_spec"]["cell"]: session for session in sessions if session["name"] == "e2e"}
    cells = table.load(ROOT / "constraints").cells

    assert list(by_cell) == [cell.name for cell in cells]
    for cell in cells:
        assert by_cell[cell.name]["session"] == f"e2e({cell.name})"
        assert by_cell[cell.name]["python"] == cell.python
        assert by_cell[cell.name]["tags"] == list(cell.tags)


def test_the_documented_sessions_exist_and_have_descriptions(sessions: list[dict[str, Any]]) -> None:
    assert {"tests", "lint", "e2e", "lock", "report", "bench"} <= {session["name"] for session in sessions}
    assert all(session["description"] for session in sessions)


def test_tests_is_the_default_session() -> None:
    selected = [line for line in nox("-l").splitlines() if line.startswith("* ")]

    assert [line.split()[1] for line in selected] == ["tests"]


@pytest.mark.parametrize("arguments", [("-l",), ("-l", "--json"), ("-s", "lock")])
def test_a_wrong_matrix_is_one_message_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "matrix.toml").write_text("schema = 1\n[[cell]]\nnme = 'a'\n")
    environment = {**os.environ, "TUNEMATRIX_CONSTRAINTS": str(tmp_path)}

    completed = subprocess.run(
        [sys.executable, "-m", "nox", *arguments],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert completed.returncode == 2
    assert completed.stdout + completed.stderr == (
        f"error: {tmp_path}/matrix.toml: [[cell]]: unknown key 'nme'; did you mean 'name'?\n"
    )


def test_the_noxfile_stays_short() -> None:
    assert len((ROOT / "noxfile.py").read_text().splitlines()) < 150
