"""Which results a command shows: those of the model that ran last, and never less than there are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tunematrix.base import record as records
from tunematrix.base.errors import UsageError
from tunematrix.base.record import Failure, Record
from tunematrix.base.store import Store
from tunematrix.cli import main as cli
from tunematrix.cli import results
from tunematrix.shared.stages import STAGES

FLAT_RESULTS = Path(__file__).parents[2] / "data/flat-results"
STAGES_PASSED = tuple(records.Result(name=name, outcome="passed") for name in STAGES)
KILLED = Failure(type="SIGKILL", message="the cell's process ended by SIGKILL")


@pytest.fixture(name="root")
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("trl==1.0\n")
    return tmp_path / "results"


def record(cell: str = "a", started: str = "2026-01-01T10:00:00Z", model: str = "tiny-gpt2") -> Record:
    return Record(cell=cell, outcome="passed", started=started, model={"name": model}, stages=STAGES_PASSED)


def cut_off(started: str = "2026-01-02T10:00:00Z") -> Record:
    process = records.Result(name="process", outcome="crashed", error=KILLED)
    return replace(record(started=started), outcome="crashed", probes=(process,))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, list(arguments), standalone_mode=False)


def test_a_command_uses_the_model_that_ran_last_or_the_named_one(root: Path) -> None:
    Store(root).save(record(model="org/big"))
    Store(root).save(record(started="2026-01-02T10:00:00Z"))

    assert results.open_store().model == "tiny-gpt2"
    assert results.open_store("org/big").model == "org/big"
    assert run("show", "a").output.startswith("a: passed, tiny-gpt2")
    assert run("show", "a", "--model", "org/big").output.startswith("a: passed, org/big")
    assert isinstance(run("show", "a", "--model", "other").exception, UsageError)


def test_without_results_the_store_is_that_of_the_default_model(root: Path) -> None:
    assert results.open_store().model == "smollm2-135m"
    assert not root.exists()


def test_the_first_command_moves_the_results_of_older_releases(root: Path) -> None:
    shutil.copytree(FLAT_RESULTS, root)
    (root.parent / "old.txt").write_text("trl==1.0\n")
    result = run("report", "--model", "smollm2-135m")

    assert result.return_value == 1  # two cells have no record
    assert f"{root / 'broken.json'}: not a record" in result.output
    assert (root / "smollm2-135m/old.json").is_file()
    assert (root / "smollm2-135m/summary.md").is_file()


def test_an_interrupted_run_shows_beside_the_record_and_exits_3(root: Path) -> None:
    for saved in (record(), record("b"), cut_off()):
        Store(root).save(saved)
    note = (
        "last run 2026-01-02 10:00 was cut off: SIGKILL: the cell's process ended by SIGKILL; "
        "showing the record of 2026-01-01 10:00"
    )

    for arguments in (("report",), ("finish", "0")):
        result = run(*arguments)
        output = " ".join(result.output.split())
        assert (result.return_value, f"a interrupted: {note}" in output) == (3, True), output
    assert f"a: {note}" in run("show", "a").stderr
    assert note in run("diff", "a", "b").stderr


def test_a_record_that_cannot_be_read_exits_2_and_the_others_are_shown(root: Path) -> None:
    Store(root).save(record())
    Store(root, "tiny-gpt2").path("b").write_text(
        '{"schema": 1, "cell": "b", "outcome": "passed", "model": null}'
    )
    result = run("report")

    assert result.return_value == 2
    assert "b.json: not a record: model: None is not" in " ".join(result.output.split())
    assert "1 passed, 1 unreadable" in result.output
    for arguments in (
        ("show", "b"),
        ("diff", "a", "b"),
        ("diff", str(root / "tiny-gpt2/b.json"), "a", "--markdown"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, UsageError)
        assert "b.json: not a record: model: None is not of type 'object'" in str(error)
