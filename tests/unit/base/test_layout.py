"""Results of older releases are moved over, and nothing is lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tunematrix.base.layout import migrate
from tunematrix.base.store import Store, stores

FLAT_RESULTS = Path(__file__).parents[2] / "data/flat-results"
MOVED = {
    "old.json": "smollm2-135m/old.json",
    "old/log.txt": "smollm2-135m/old/log.txt",
    "old/report.jsonl": "smollm2-135m/old/report.jsonl",
    "old/artifacts/align/data/dpo.json": "smollm2-135m/old/artifacts/align/data/dpo.json",
    "old/venv/pyvenv.cfg": ".venvs/old/pyvenv.cfg",
    "old/venv/bin/python": ".venvs/old/bin/python",
    "tiny.json": "org--tiny/tiny.json",
    "tiny/log.txt": "org--tiny/tiny/log.txt",
    "new.json": "smollm2-135m/new/interrupted.json",
    "unfinished/venv/pyvenv.cfg": ".venvs/unfinished/pyvenv.cfg",
    "candidates/old-trl-1.1-abc123.json": "candidates/smollm2-135m/old-trl-1.1-abc123.json",
    "candidates/old-trl-1.1-abc123/log.txt": "candidates/smollm2-135m/old-trl-1.1-abc123/log.txt",
    "candidates/old-trl-1.1-abc123/venv/pyvenv.cfg": "candidates/.venvs/old-trl-1.1-abc123/pyvenv.cfg",
}


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    shutil.copytree(FLAT_RESULTS, tmp_path / "results")
    return tmp_path / "results"


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_every_file_is_moved_to_its_model_or_stays_where_it_is(root: Path) -> None:
    before = contents(root)
    notes = migrate(root)

    assert contents(root) == {MOVED.get(name, name): content for name, content in before.items()}
    assert [note.split(": ")[0] for note in notes] == [str(root / "answer.json"), str(root / "broken.json")]
    assert all(note.endswith("left where it is") for note in notes)
    assert not (root / "old").exists()
    assert [store.model for store in stores(root)] == ["smollm2-135m", "org/tiny"]
    assert Store(root).entry("new").interrupted is not None


def test_moving_again_changes_nothing(root: Path) -> None:
    migrate(root)
    before = contents(root)
    migrate(root)

    assert contents(root) == before


def test_a_folder_without_old_results_is_not_touched(tmp_path: Path) -> None:
    assert migrate(tmp_path / "missing") == []
    assert list(tmp_path.iterdir()) == []


def test_a_newer_record_is_not_replaced(root: Path) -> None:
    newer = root / "smollm2-135m/old.json"
    newer.parent.mkdir()
    newer.write_text((root / "old.json").read_text().replace("2026-10-01", "2026-11-01"))
    before = contents(root)
    notes = migrate(root)

    assert any("old.json: left where it is; " in note for note in notes)
    assert contents(root)["smollm2-135m/old.json"] == before["smollm2-135m/old.json"]
    assert contents(root)["old.json"] == before["old.json"]


def test_an_older_record_is_replaced_and_its_log_kept(root: Path) -> None:
    older = root / "smollm2-135m/old.json"
    (older.parent / "old").mkdir(parents=True)
    older.write_text((root / "old.json").read_text().replace("2026-10-01", "2026-09-01"))
    (older.parent / "old/log.txt").write_text("there already")
    before = contents(root)
    migrate(root)

    assert contents(root)["smollm2-135m/old.json"] == before["old.json"]
    assert contents(root)["smollm2-135m/old/log.txt"] == b"there already"
    assert contents(root)["old/log.txt"] == before["old/log.txt"]


def test_a_kill_in_the_middle_is_completed_by_the_next_call(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(root)
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.name == "old.json":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        migrate(root)
    monkeypatch.undo()
    migrate(root)

    assert contents(root) == {MOVED.get(name, name): content for name, content in before.items()}


def test_a_cell_with_the_name_of_its_model_moves_into_its_own_folder(tmp_path: Path) -> None:
    text = (FLAT_RESULTS / "old.json").read_text().replace("smollm2-135m", "old")
    (tmp_path / "old").mkdir()
    (tmp_path / "old.json").write_text(text)
    (tmp_path / "old/log.txt").write_text("log")
    migrate(tmp_path)

    assert set(contents(tmp_path)) == {"old/old.json", "old/old/log.txt"}


def test_the_time_of_a_record_stays_since_finish_judges_by_it(root: Path) -> None:
    os.utime(root / "old.json", (1_000_000, 1_000_000))
    migrate(root)

    assert (root / "smollm2-135m/old.json").stat().st_mtime == 1_000_000
