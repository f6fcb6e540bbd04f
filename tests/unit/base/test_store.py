"""The results folder: nothing is lost, and models, interrupted runs and older records do not mix."""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Entry, Store, folder_name, results_folder, stores


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


TINY = {"name": "tiny-gpt2"}
KILLED = Failure(type="SIGKILL", message="the cell's process ended by SIGKILL during align")


def record(started: str = "2026-01-01T10:00:00Z", cell: str = "a", model: str = "tiny-gpt2") -> Record:
    stages = (Result(name="align", outcome="passed"),)
    return Record(cell=cell, outcome="passed", started=started, model={"name": model}, stages=stages)


def cut_off(started: str = "2026-01-02T10:00:00Z") -> Record:
    stages = (Result(name="align", outcome="crashed", error=KILLED),)
    return Record(cell="a", outcome="crashed", started=started, model=TINY, stages=stages)


def entry(store: Store, cell: str = "a") -> Entry:
    """What ``store`` has of a cell, without the record before the last one."""
    return replace(store.entry(cell), previous=None)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results", "tiny-gpt2")


def test_records_are_stored_by_model_and_cell(store: Store) -> None:
    other = Store(store.root, "org/big")
    store.save(record())
    other.save(record(model="org/big"))

    assert (store.root / "tiny-gpt2/a.json").is_file()
    assert (store.root / "org--big/a.json").is_file()
    assert (store.load("a"), other.load("a")) == (record(), record(model="org/big"))
    assert store.load("b") is None
    assert store.entry("b") == Entry()


def test_a_record_is_filed_under_the_model_that_it_names(store: Store) -> None:
    Store(store.root, "org/big").save(record())

    assert store.load("a") == record()


def test_no_two_models_share_a_folder() -> None:
    models = (
        "tiny-gpt2", "distilgpt2", "org/name", "org--name", "org-/-name", "org/-name", "org-/name", "a/b/c",
        "candidates", "Candidates", "summary.json", "x.lock", ".hidden", "..", "../x", "/x", "a b", "a:b", "",
        "x" * 200, "x" * 201, "a\nb", "\ud800",
    )  # fmt: skip
    names = [folder_name(model) for model in models]

    assert names[:3] == ["tiny-gpt2", "distilgpt2", "org--name"]
    assert len(set(names)) == len(models)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", name)
        assert not re.fullmatch(r"candidates|.*\.(json|lock)", name, re.IGNORECASE)


def test_an_interrupted_run_is_kept_beside_the_last_complete_record(store: Store) -> None:
    store.save(record())
    store.save(cut_off())

    assert entry(store) == Entry(record=record(), interrupted=cut_off())
    assert store.entry("a").shown == record()
    assert (store.root / "tiny-gpt2/a/interrupted.json").is_file()
    store.save(record("2026-01-03T10:00:00Z"))
    assert entry(store) == Entry(record=record("2026-01-03T10:00:00Z"))
    assert not (store.root / "tiny-gpt2/a/interrupted.json").exists()


def test_without_a_complete_record_the_interrupted_run_is_shown(store: Store) -> None:
    store.save(cut_off())

    assert store.load("a") is None
    assert store.entry("a").shown == cut_off()
    assert store.cells() == ["a"]


def test_a_crash_of_the_stack_replaces_the_record(store: Store) -> None:
    error = Failure(type="SIGSEGV", message="the cell's process ended by SIGSEGV during align")
    crashed = replace(cut_off(), stages=(Result(name="align", outcome="crashed", error=error),))
    store.save(record())
    store.save(crashed)

    assert entry(store) == Entry(record=crashed)


def test_an_interrupted_run_where_complete_records_are_is_still_none(store: Store) -> None:
    """Older releases saved it there."""
    store.write(cut_off(), store.path("a"))

    assert entry(store) == Entry(interrupted=cut_off())


def test_an_interrupted_run_that_is_older_than_the_record_is_history(store: Store) -> None:
    store.save(record("2026-01-03T10:00:00Z"))
    store.write(cut_off(), store.interrupted_path("a"))

    assert entry(store) == Entry(record=record("2026-01-03T10:00:00Z"))


def test_a_file_that_cannot_be_read_is_a_problem_of_its_cell(store: Store) -> None:
    store.save(record())
    store.interrupted_path("a").parent.mkdir()
    store.interrupted_path("a").write_text("[")
    store.path("b").write_text(store.path("a").read_text())

    assert store.entry("a").record == record()
    assert "interrupted.json: not a record" in store.entry("a").problem
    assert store.entry("b").record is None
    assert "b.json: is of cell 'a'" in store.entry("b").problem
    assert store.load("b") is None


@pytest.mark.parametrize(
    ("present", "added", "left_out"),
    [
        ([record("2026-01-02T10:00:00Z")], record("2026-01-03T10:00:00Z"), ""),
        ([record("2026-01-02T10:00:00Z")], record("2026-01-01T10:00:00Z"), "not newer"),
        ([record("2026-01-02T10:00:00Z")], record("2026-01-02T10:00:00Z"), "already there"),
        ([record("2026-01-01T10:00:00Z")], cut_off("2026-01-02T10:00:00Z"), ""),
        ([record("2026-01-03T10:00:00Z")], cut_off("2026-01-02T10:00:00Z"), "not newer"),
        ([cut_off("2026-01-02T10:00:00Z")], record("2026-01-03T10:00:00Z"), ""),
        ([cut_off("2026-01-02T10:00:00Z")], record("2026-01-01T10:00:00Z"), ""),
    ],
)
def test_a_record_from_elsewhere_never_replaces_a_newer_one(
    store: Store, present: list[Record], added: Record, left_out: str
) -> None:
    for other in present:
        store.save(other)
    newest = max(record.started for record in (*present, added))

    assert left_out in store.add(added)
    assert store.entry("a").last_used == newest
    stored = (store.entry("a").record, store.entry("a").interrupted)
    assert (added in stored) == (not left_out or left_out == "already there")


def test_a_run_that_was_killed_is_known_once_its_lock_is_free(store: Store) -> None:
    store.save(record())
    with store.locked("a"), store.running(cut_off()):
        killed = store.running_path("a").read_bytes()
        assert entry(Store(store.root, "tiny-gpt2")) == Entry(record=record())
    assert not store.running_path("a").exists()

    store.running_path("a").write_bytes(killed)  # as after a kill
    assert entry(store) == Entry(record=record(), interrupted=cut_off())
    with store.locked("a"), store.running(cut_off("2026-01-03T10:00:00Z")):
        store.save(record("2026-01-03T10:00:00Z"))
    assert entry(store) == Entry(record=record("2026-01-03T10:00:00Z"))


@pytest.mark.parametrize("text", ['{"schema": 99, "cell": "a"}', '{"schema": 1, "cel', ""])
def test_a_file_that_cannot_be_read_is_set_aside_by_the_next_run(store: Store, text: str) -> None:
    """A newer release may have written it."""
    store.save(record())
    store.path("a").write_text(text)
    store.save(cut_off())
    assert store.path("a").read_text() == text
    store.save(record("2026-01-03T10:00:00Z"))

    assert entry(store) == Entry(record=record("2026-01-03T10:00:00Z"))
    assert (store.cell_folder("a") / "unreadable.json").read_text() == text
    assert store.cells() == ["a"]


def test_a_record_from_elsewhere_does_not_replace_what_cannot_be_read(store: Store) -> None:
    """A newer release may have written it."""
    store.save(record())
    store.path("a").write_text('{"schema": 2}')

    assert "its schema is 2" in store.add(record("2026-01-09T10:00:00Z"))
    assert store.path("a").read_text() == '{"schema": 2}'


def test_the_models_come_in_the_order_of_their_last_run(store: Store) -> None:
    store.save(record("2026-01-01T10:00:00Z"))
    Store(store.root, "org/big").save(record("2026-01-02T10:00:00Z", model="org/big"))
    assert [store.model for store in stores(store.root)] == ["org/big", "tiny-gpt2"]

    store.save(replace(record(), reused=True, reused_at="2026-01-03T10:00:00Z"))
    assert [store.model for store in stores(store.root)] == ["tiny-gpt2", "org/big"]
    Store(store.root, "candidates").save(
        replace(cut_off("2026-01-04T10:00:00Z"), model={"name": "candidates"})
    )
    assert [store.model for store in stores(store.root)] == ["candidates", "tiny-gpt2", "org/big"]


@pytest.mark.parametrize("indent", [1, None])
def test_a_reuse_is_saved_into_a_record_of_any_layout(store: Store, indent: int | None) -> None:
    store.save(record())
    content = json.loads(store.path("a").read_text())
    store.path("a").write_text(json.dumps(content, indent=indent))
    store.write(cut_off(), store.interrupted_path("a"))

    reused = replace(record(), reused=True, reused_at="2026-01-03T10:00:00Z")
    store.save_reuse(reused)

    assert store.entry("a").record == reused
    assert not store.interrupted_path("a").exists(), "the cell did not end so any more"


def test_a_file_that_is_no_record_does_not_decide_which_model_ran_last(store: Store) -> None:
    store.save(record("2026-01-02T10:00:00Z"))
    Store(store.root, "org/big").save(record("2026-01-01T10:00:00Z", model="org/big"))
    for cell, text in (("b", "["), ("c", "[1]"), ("d", '{"started": 2099}'), ("e", "[" * 100_000)):
        Store(store.root, "org/big").path(cell).write_text(text)

    assert [store.model for store in stores(store.root)] == ["tiny-gpt2", "org/big"]


def test_folders_without_records_are_no_models(tmp_path: Path) -> None:
    for name in (".venvs/x", "candidates/tiny", "empty", "old-cell/run"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "old-cell/partial.json").write_text("{}")
    (tmp_path / "candidates/tiny/x.json").write_text("{}")

    assert stores(tmp_path) == []
    assert stores(tmp_path / "missing") == []


def test_a_record_is_written_below_the_results_folder_only(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    store.root.mkdir()
    store.folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="leads out of"):
        store.save(record())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_secrets_do_not_get_into_records(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canaryCANARY1\n")
    error = Failure(type="ValueError", message="Illegal header value b'Bearer hf_canaryCANARY1\\n'")
    store.save(replace(record(), stages=(Result(name="download", outcome="failed", error=error),)))

    assert "canary" not in store.path("a").read_text()


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


def test_results_stay_out_of_the_repository_but_a_folder_of_the_teams_is_left_alone(tmp_path: Path) -> None:
    with Store(tmp_path / "results").locked("a"):
        assert (tmp_path / "results/.gitignore").read_text() == "*\n"
    (tmp_path / "theirs").mkdir()
    with Store(tmp_path / "theirs").locked("a"):
        assert not (tmp_path / "theirs/.gitignore").exists()
