"""``badge``: of the matrix, a cell and a lock, to a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.cli.test_results import record, run
from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cells, one of which passed, and a lock of a candidate that passed."""
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path / "constraints"))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    (tmp_path / "constraints").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"constraints/{name}.txt").write_text(f"trl==1.0 # {name}\n")
    (tmp_path / "ours.lock").write_text("trl==1.1\n")
    Store(tmp_path / "results").save(of_lock(tmp_path / "constraints/a.txt"))
    Store(tmp_path / "results/candidates").save(of_lock(tmp_path / "ours.lock", "candidate"))
    return tmp_path


def of_lock(path: Path, cell: str = "a") -> Record:
    return replace(record(cell), lock={"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def test_it_prints_what_it_writes(folder: Path) -> None:
    svg, endpoint = folder / "badge.svg", folder / "badge.json"
    for name, line in (
        ([], "tunematrix: 1 of 2 pass"),
        (["a"], "a: passes"),
        (["b"], "b: not tested"),
        ([str(folder / "constraints/a.txt")], "a.txt: passes"),
        ([str(folder / "ours.lock"), "--label", "production"], "production: passes"),
    ):
        result = run("badge", *name, "--svg", str(svg), "--json", str(endpoint))
        content = json.loads(endpoint.read_text())

        assert result.stdout == f"{line}\n"
        assert f"<title>{line}</title>" in svg.read_text()
        assert f"{content['label']}: {content['message']}" == line


def test_a_lock_without_a_record_is_not_tested_and_that_is_said(folder: Path) -> None:
    (folder / "ours.lock").write_text("trl==1.2\n")
    result = run("badge", str(folder / "ours.lock"))

    assert result.stdout == "ours.lock: not tested\n"
    assert "no record of this lock with tiny-gpt2; run it: tunematrix upgrade --against FILE" in result.stderr


def test_bad_input_is_one_message_and_writes_nothing(folder: Path) -> None:
    for arguments, message in (
        (["nope.lock"], "name a cell, or a lock file that is there"),
        (["a", "--svg", str(folder)], "is no regular file"),
        (["a", "--json", str(folder / "none/x.json")], "is not there or not writable"),
    ):
        error = run("badge", *arguments).exception
        assert isinstance(error, UsageError)
        assert message in str(error)
        assert "\n" not in str(error)
