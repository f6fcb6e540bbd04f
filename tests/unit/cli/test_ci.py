"""The matrix as CI jobs, and their records: none is lost, and none is written where it must not be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Failure, Record, to_dict
from tunematrix.base.store import Entry, Store
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


def shards(limit: int, seconds: dict[str, float], count: int = 0) -> list[list[str]]:
    names = list(seconds) or [f"c{number}" for number in range(count)]
    content = ci.shard_matrix([session(name) for name in names], limit, seconds)
    return [job["cells"].split() for job in content["include"]]


def test_the_longest_cells_are_spread_over_the_jobs() -> None:
    times = {"a": 10.0, "b": 70.0, "c": 20.0, "d": 40.0, "e": 30.0}

    assert shards(2, times) == [["b", "c"], ["d", "e", "a"]]
    assert shards(9, times) == [["b"], ["d"], ["e"], ["c"], ["a"]]


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), st.floats(0.1, 1e5), min_size=1),
    st.integers(1, 256),
)
def test_every_cell_is_in_exactly_one_job(times: dict[str, float], limit: int) -> None:
    found = shards(limit, times)

    assert sorted(name for names in found for name in names) == sorted(times)
    assert all(found)
    assert len(found) == min(limit, len(times))
    assert found == shards(limit, dict(reversed(times.items())))
    # Longest first is never worse than this bound on the best plan.
    loads = [sum(times[name] for name in names) for names in found]
    assert max(loads) <= sum(times.values()) / len(found) + max(times.values())


def test_hundreds_of_cells_fit_into_the_jobs_of_a_matrix() -> None:
    found = shards(64, {}, count=300)

    assert len(found) == 64
    assert {len(names) for names in found} == {4, 5}


def test_a_job_has_all_that_its_cells_need() -> None:
    other = {**session("old"), "python": "3.10"}

    assert ci.shard_matrix([session("new"), other], 1, {})["include"] == [
        {"shard": "1", "cells": "new old", "sessions": "e2e(new) e2e(old)", "python": "3.10\n3.11"}
    ]


def test_a_cell_without_a_time_takes_the_median() -> None:
    content = [session(name) for name in ("a", "b", "c", "new")]
    jobs = ci.shard_matrix(content, 2, {"a": 10.0, "b": 50.0, "c": 90.0})["include"]

    assert [job["cells"] for job in jobs] == ["c a", "b new"]


def test_the_times_are_those_of_the_newest_records(tmp_path: Path) -> None:
    save(tmp_path / "1", replace(record("old", "2026-01-02"), seconds=9))
    save(tmp_path / "2", replace(record("old", "2026-01-01"), seconds=5))
    save(tmp_path / "2", replace(record("new"), seconds=1e300))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "out.json").symlink_to("/etc/passwd")

    assert ci.recorded_seconds(tmp_path) == {"old": 9}
    assert ci.recorded_seconds(tmp_path / "nowhere") == {}


def invoke(command: Any, *arguments: str, text: str = "") -> Any:
    return CliRunner().invoke(command, arguments, input=text, standalone_mode=False)


def test_jobs_on_the_command_line(tmp_path: Path) -> None:
    save(tmp_path, replace(record("new"), seconds=999))
    content = json.dumps([session("old"), session("new"), session("x")])

    result = invoke(ci.jobs, "--max", "2", "--records", str(tmp_path), text=content)

    assert [job["cells"] for job in json.loads(result.output)["include"]] == ["new x", "old"]
    assert "pass --max too" in str(invoke(ci.jobs, "--records", str(tmp_path), text=content).exception)
    assert "257 is not in the range" in str(invoke(ci.jobs, "--max", "257", text=content).exception)


@pytest.fixture(name="matrix")
def _matrix(tmp_path: Path) -> Matrix:
    return Matrix(folder=tmp_path, cells=tuple(Cell(name=name, pins={}) for name in ("old", "new")))


def record(cell: str = "old", started: str = "2026-01-01", model: str = "tiny-gpt2") -> Record:
    return Record(cell=cell, outcome="passed", started=started, model={"name": model})


def save(folder: Path, record: Record) -> None:
    Store(folder).save(record)


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but locks and the history, which gets every run."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".lock", ".sqlite"))
    return {path: path.read_bytes() for path in files}


def test_the_newest_record_of_each_cell_and_model_is_merged(matrix: Matrix, tmp_path: Path) -> None:
    for job, cell, started, model in (
        ("1", "old", "2026-01-01", "tiny-gpt2"),
        ("2", "old", "2026-01-02", "tiny-gpt2"),
        ("3", "new", "2026-01-01", "tiny-gpt2"),
        ("4", "old", "2026-01-01", "org/big"),
    ):
        save(tmp_path / "artifacts" / job, record(cell, started, model))
    store = Store(tmp_path / "results", "tiny-gpt2")

    assert ci.merge_records(matrix, tmp_path / "artifacts", store) == ([], [])
    assert store.load("old") == record("old", "2026-01-02")
    assert store.load("new") == record("new")
    assert Store(store.root, "org/big").load("old") == record(model="org/big")


def test_a_newer_record_in_the_results_folder_stays_and_that_is_said(matrix: Matrix, tmp_path: Path) -> None:
    save(tmp_path / "artifacts", record(started="2026-01-01"))
    (tmp_path / "artifacts/tiny-gpt2/other.json").write_text("{}")
    save(tmp_path / "results", record(started="2026-01-02"))
    before = contents(tmp_path / "results")

    left_out, errors = ci.merge_records(matrix, tmp_path / "artifacts", Store(tmp_path / "results"))

    assert contents(tmp_path / "results") == before
    assert errors == []
    assert [line.partition(": left out: ")[2] for line in left_out] == [
        "not newer than the one there, of 2026-01-02",
        "'other' is no cell of the matrix",
    ]


def test_an_interrupted_run_is_merged_beside_the_record(matrix: Matrix, tmp_path: Path) -> None:
    error = Failure(type="UninstallableError", message="no wheel")
    interrupted = replace(record(started="2026-01-03"), outcome="uninstallable", error=error)
    save(tmp_path / "artifacts/1", record())
    save(tmp_path / "artifacts/2", interrupted)
    store = Store(tmp_path / "results", "tiny-gpt2")

    assert ci.merge_records(matrix, tmp_path / "artifacts", store) == ([], [])
    assert store.entry("old") == Entry(record=record(), interrupted=interrupted)


def test_a_broken_record_is_an_error_and_not_merged(matrix: Matrix, tmp_path: Path) -> None:
    save(tmp_path / "artifacts/1", record())
    (tmp_path / "artifacts/2").mkdir()
    (tmp_path / "artifacts/2/new.json").write_text(json.dumps({"schema": 1})[:-2])
    store = Store(tmp_path / "results", "tiny-gpt2")

    _, errors = ci.merge_records(matrix, tmp_path / "artifacts", store)

    assert len(errors) == 1
    assert "new.json: not a record" in errors[0]
    assert store.load("new") is None
    assert store.load("old") == record()


@pytest.mark.parametrize("cell", ["../../pwned", "/tmp/pwned", "..", "new", "candidates/x", "old/../../x"])
def test_a_record_of_another_name_is_written_nowhere(matrix: Matrix, tmp_path: Path, cell: str) -> None:
    content = {**to_dict(record()), "cell": cell}
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/old.json").write_text(json.dumps(content))
    before = contents(tmp_path)

    _, errors = ci.merge_records(matrix, tmp_path / "artifacts", Store(tmp_path / "results"))

    assert len(errors) == 1
    assert "old.json: " in errors[0]
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "model", ["../../pwned", "/tmp/pwned", "..", "candidates", "a/../../../x", "x" * 9999]
)
def test_a_record_of_any_model_is_written_below_the_results_folder(
    matrix: Matrix, tmp_path: Path, model: str
) -> None:
    save(tmp_path / "artifacts", record(model="tiny-gpt2"))
    path = tmp_path / "artifacts/tiny-gpt2/old.json"
    path.write_text(json.dumps(to_dict(record(model=model))))
    before = contents(tmp_path)

    ci.merge_records(matrix, tmp_path / "artifacts", Store(tmp_path / "results"))

    new = contents(tmp_path).keys() - before.keys() - {tmp_path / "results/.gitignore"}
    assert [path.parent.parent for path in new] == [tmp_path / "results"]


def test_only_the_records_of_some_cells_are_merged(matrix: Matrix, tmp_path: Path) -> None:
    for cell in ("old", "new"):
        save(tmp_path / "artifacts", record(cell))
    store = Store(tmp_path / "results", "tiny-gpt2")

    assert ci.merge_records(matrix, tmp_path / "artifacts", store, ["new"]) == ([], [])
    assert store.cells() == ["new"]


def test_a_record_from_before_the_run_is_not_merged(matrix: Matrix, tmp_path: Path) -> None:
    """Otherwise a cell that did not run would show what an earlier run said of it."""
    save(tmp_path / "artifacts", record("old", "2026-01-01T00:00:00Z"))
    reused = replace(record("new", "2026-01-01T00:00:00Z"), reused_at="2026-01-03T00:00:00Z")
    save(tmp_path / "artifacts", reused)
    store = Store(tmp_path / "results", "tiny-gpt2")

    left_out, errors = ci.merge_records(matrix, tmp_path / "artifacts", store, since="2026-01-02T00:00:00Z")

    assert (len(left_out), errors) == (1, [])
    assert left_out[0].endswith("old.json: left out: of 2026-01-01T00:00:00Z, before this run began")
    assert store.cells() == ["new"]


def test_merge_refuses_what_is_no_time(tmp_path: Path) -> None:
    result = invoke(ci.merge, str(tmp_path), "--since", "yesterday")

    assert "not a time such as 2026-11-28T03:17:00Z" in str(result.exception)


def test_links_that_lead_out_are_refused(matrix: Matrix, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere", record())
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/old.json").symlink_to(tmp_path / "elsewhere/tiny-gpt2/old.json")
    _, errors = ci.merge_records(matrix, tmp_path / "artifacts", Store(tmp_path / "results"))
    assert ["leads out of" in error for error in errors] == [True]

    (tmp_path / "artifacts/old.json").unlink()
    save(tmp_path / "artifacts", record("old"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results/tiny-gpt2").symlink_to(tmp_path / "elsewhere/other")
    _, errors = ci.merge_records(matrix, tmp_path / "artifacts", Store(tmp_path / "results"))
    assert ["leads out of" in error for error in errors] == [True]
    assert not (tmp_path / "elsewhere/other").exists()


def test_records_without_a_model_are_refused(matrix: Matrix, tmp_path: Path) -> None:
    save(tmp_path / "artifacts", replace(record(), model={}))
    _, errors = ci.merge_records(matrix, tmp_path / "artifacts", Store(tmp_path / "results"))

    assert ["does not name its model" in error for error in errors] == [True]


@pytest.mark.parametrize(
    "text",
    ["[1]", "[{}]", "5", "null", "{", "[" * 99_999, '[{"name": "e2e"}]', '[{"name": "e2e", "call_spec": 5}]'],
)
def test_what_is_no_list_of_sessions_is_one_message(text: str) -> None:
    result = CliRunner().invoke(ci.jobs, input=text, standalone_mode=False)

    assert isinstance(result.exception, UsageError)
    assert "give this command the output of 'nox -l --json'" in str(result.exception)
