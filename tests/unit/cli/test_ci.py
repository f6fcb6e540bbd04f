"""The matrix as CI jobs: every cell gets one, and broken records are reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.cli import ci
from tunematrix.locks.table import Cell, Matrix


def session(cell: str, name: str = "e2e") -> dict[str, Any]:
    spec = {"cell": cell} if name == "e2e" else {}
    return {"session": f"{name}({cell})", "name": name, "python": "3.11", "tags": [], "call_spec": spec}


def test_every_cell_is_a_job_and_other_sessions_are_not() -> None:
    matrix = ci.job_matrix([session("old"), session("x", "clients"), session("new")])

    assert matrix == {
        "include": [
            {"cell": "old", "session": "e2e(old)", "python": "3.11"},
            {"cell": "new", "session": "e2e(new)", "python": "3.11"},
        ]
    }


def test_no_cells_and_too_many_cells_are_errors() -> None:
    with pytest.raises(UsageError, match="no e2e sessions"):
        ci.job_matrix([session("x", "tests")])
    with pytest.raises(UsageError, match="300 cells, but one job matrix holds 256"):
        ci.job_matrix([session(f"c{number}") for number in range(300)])


@pytest.fixture(name="matrix")
def _matrix(tmp_path: Path) -> Matrix:
    return Matrix(folder=tmp_path, cells=tuple(Cell(name=name, pins={}) for name in ("old", "new")))


def save(folder: Path, record: Record) -> None:
    Store(folder).save(record)


def test_the_newest_record_of_each_cell_is_merged(matrix: Matrix, tmp_path: Path) -> None:
    for job, cell, started in (
        ("1", "old", "2026-01-01"),
        ("2", "old", "2026-01-02"),
        ("3", "new", "2026-01-01"),
    ):
        save(tmp_path / "artifacts" / job, Record(cell=cell, outcome="passed", started=started))
    store = Store(tmp_path / "results")

    assert ci.merge_records(matrix, tmp_path / "artifacts", store) == []
    merged = store.load("old")
    assert merged is not None
    assert merged.started == "2026-01-02"
    assert store.load("new") is not None


def test_a_broken_record_is_reported_and_not_merged(matrix: Matrix, tmp_path: Path) -> None:
    save(tmp_path / "artifacts/1", Record(cell="old", outcome="passed"))
    (tmp_path / "artifacts/2").mkdir()
    (tmp_path / "artifacts/2/new.json").write_text(json.dumps({"schema": 1})[:-2])
    store = Store(tmp_path / "results")

    errors = ci.merge_records(matrix, tmp_path / "artifacts", store)

    assert len(errors) == 1
    assert "new.json: not a record" in errors[0]
    assert store.load("new") is None
    assert store.load("old") is not None
