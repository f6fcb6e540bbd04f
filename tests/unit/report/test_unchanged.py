"""A summary that is there is shown again as long as nothing that it was made from has changed."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.unit.report.test_summary import matrix_of, record
from tunematrix.base.store import Store
from tunematrix.locks.table import Matrix
from tunematrix.report import terminal, unchanged, write
from tunematrix.report.overview import Overview
from tunematrix.shared.stages import STAGES


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> tuple[Matrix, Store]:
    """A matrix and a store with two of its three records, and their summary with its page."""
    folder = tmp_path / "constraints"
    folder.mkdir()
    for name in ("old", "mid", "new"):
        (folder / f"{name}.txt").write_text("trl==1.0\n")
    (folder / "known-issues.toml").write_text(
        'schema = 1\n[[issue]]\nid = "x"\nstages = ["align"]\nwhen = ["trl<2"]\n'
        'error = "one"\ncause = "c"\nfix = "f"\n'
        'link = "https://github.com/a/b/issues/1"\nexpires = 2099-01-01\n'
    )
    matrix, store = matrix_of(folder, "old", "mid", "new"), Store(tmp_path / "results", "tiny")
    store.save(record("old", align="one"))
    store.save(record("mid", finetune="two"))
    write.refresh(matrix, store, page=True)
    return matrix, store


def screen(overview: Overview) -> str:
    console = Console(width=120, file=io.StringIO(), highlight=False)
    terminal.show(overview, console)
    console.file.seek(0)
    return console.file.read()


def load(matrix: Matrix, store: Store) -> Overview | None:
    return unchanged.load(matrix, store, write.exchanges(store))


def test_the_screen_is_the_same_without_making_the_summary_again(
    made: tuple[Matrix, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, store = made
    shown = screen(Overview.of(write.summarize(matrix, store)[0]))

    monkeypatch.setattr(write, "summarize", None)
    overview, problem = write.overview(matrix, store)

    assert (screen(overview), problem) == (shown, "")
    for word in ("mid", "KeyError: two", "known x", "c; fix: f", "not run yet", "20 s"):
        assert word in shown


def test_a_record_that_is_reused_changes_nothing_but_its_time(made: tuple[Matrix, Store]) -> None:
    matrix, store = made
    earlier = store.load("mid")
    assert earlier
    reused = dataclasses.replace(earlier, reused=True, reused_at="2026-02-01T00:00:00Z")
    store.save_reuse(reused)

    overview = load(matrix, store)
    assert overview is not None
    assert [line.reused for line in overview.lines] == [False, True, False]
    assert "reused" in screen(overview)
    assert store.load("mid") == reused


def other_record(matrix: Matrix, store: Store) -> None:
    store.save(record("new"))


def other_text(matrix: Matrix, store: Store) -> None:
    path = store.path("mid")
    path.write_text(path.read_text().replace("two", "six"))


def other_lock(matrix: Matrix, store: Store) -> None:
    (matrix.folder / "old.txt").write_text("trl==1.1\n")


def other_ledger(matrix: Matrix, store: Store) -> None:
    (matrix.folder / "known-issues.toml").unlink()


def accepted(matrix: Matrix, store: Store) -> None:
    (matrix.folder / "accepted.toml").write_text("")


def exchange(matrix: Matrix, store: Store) -> None:
    (store.folder / "exchange.json").write_text("{}")


def running(matrix: Matrix, store: Store) -> None:
    store.write(record("new"), store.running_path("new"))


def no_page(matrix: Matrix, store: Store) -> None:
    (store.folder / "summary.html").unlink()


def edited_text(matrix: Matrix, store: Store) -> None:
    (store.root / "summary.md").write_text("mine")


def other_model(matrix: Matrix, store: Store) -> None:
    Store(store.root, "other").save(record("old", "2026-05-01T00:00:00Z", model="other"))


def other_history(matrix: Matrix, store: Store) -> None:
    os.utime(store.root / "history.sqlite", ns=(1, 1))


def damaged(matrix: Matrix, store: Store) -> None:
    path = store.folder / unchanged.FILE
    path.write_text(path.read_text().replace("two", "six"))


def missing(matrix: Matrix, store: Store) -> None:
    (store.folder / unchanged.FILE).unlink()


def no_text(matrix: Matrix, store: Store) -> None:
    (store.folder / unchanged.FILE).write_bytes(b"\xff\xfe")


def without_page(matrix: Matrix, store: Store) -> None:
    write.refresh(matrix, store)


CHANGES = (
    other_record,
    other_text,
    other_lock,
    other_ledger,
    accepted,
    exchange,
    running,
    no_page,
    edited_text,
    other_model,
    other_history,
    damaged,
    missing,
    no_text,
    without_page,
)


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_makes_it_again(
    change: Callable[[Matrix, Store], None], made: tuple[Matrix, Store]
) -> None:
    matrix, store = made
    assert load(matrix, store)
    change(matrix, store)
    assert load(matrix, store) is None


def test_code_of_ours_that_changes_makes_it_again(
    made: tuple[Matrix, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, store = made
    (tmp_path / "code.py").write_text("1")
    monkeypatch.setattr(unchanged, "PACKAGE", tmp_path)
    assert load(matrix, store) is None


def test_a_script_of_a_workload_that_changes_makes_it_again(
    made: tuple[Matrix, Store], tmp_path: Path
) -> None:
    matrix, store = made
    script, workload = tmp_path / "train.py", tmp_path / "workload.toml"
    script.write_text("1")
    workload.write_text(f'[[stage]]\nname = "sft"\nrun = "python {script}"\n')
    described = {"file": workload.as_posix(), "stages": {"sft": "abc"}}
    store.save(dataclasses.replace(record("old"), workload=described))
    write.refresh(matrix, store, page=True)
    assert load(matrix, store)
    script.write_text("2")
    assert load(matrix, store) is None


def test_a_history_that_cannot_be_written_is_told_each_time(made: tuple[Matrix, Store]) -> None:
    matrix, store = made
    (store.root / "history.sqlite").write_text("no database")
    for _ in range(2):
        assert write.overview(matrix, store)[1]


def test_an_overview_survives_its_file(made: tuple[Matrix, Store]) -> None:
    overview = Overview.of(write.summarize(*made)[0])
    assert Overview.from_dict(overview.to_dict()) == overview
    assert {name for line in overview.lines for name in line.outcomes} == set(STAGES)
