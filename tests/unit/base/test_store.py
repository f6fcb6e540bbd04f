"""The results folder: atomic writes, and locks between processes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.store import Store, results_folder


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_write_replaces_the_file_instead_of_overwriting_it(tmp_path: Path) -> None:
    """A reader that has the old file open still reads all of it."""
    path = tmp_path / "a.json"
    write_atomic(path, "old")
    with path.open() as reader:
        write_atomic(path, "new")

        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_records_are_stored_by_cell(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.save(Record(cell="a", outcome="passed"))

    assert store.load("a") == Record(cell="a", outcome="passed")
    assert store.load("b") is None


def test_a_held_lock_blocks_other_stores(tmp_path: Path) -> None:
    store, order = Store(tmp_path), []

    def second() -> None:
        with Store(tmp_path).locked("a"):
            order.append("second")

    with store.locked("a"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()

    assert order == ["first", "second"]


def test_the_environment_sets_the_results_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert results_folder() == Path("results")
    monkeypatch.setenv("TUNEMATRIX_RESULTS", "/elsewhere")
    assert results_folder() == Path("/elsewhere")
