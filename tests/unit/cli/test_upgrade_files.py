"""``tunematrix upgrade`` between two files that pin the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunematrix.cli.main import main
from tunematrix.locks import imported
from tunematrix.locks.imported import ImportedLock

LOCK = ImportedLock(
    packages={"trl": "1.1", "click": "8.0"},
    added=(),
    moved={"click": ("7.0", "8.0")},
    left_out=("flash-attn",),
)


def upgrade(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["upgrade", "--baseline", "old.txt", "--against", "new.txt", *arguments])
    return int(exit_.value.code or 0)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.txt").write_text("trl==1.1\n")
    (tmp_path / "new.txt").write_text("trl==1.1  # the same\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imported, "import_lock", lambda *_: LOCK)


def test_where_nothing_moves_every_file_that_was_requested_is_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert upgrade("--json", "--answer", "answer.json", "--markdown", "answer.md") == 0
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads(Path("answer.json").read_text())
    assert (content["answer"], content["moved"]) == ("NOTHING TO TEST", {})
    assert content["reason"] == "nothing moves: new.txt pins what old.txt pins"
    assert "nothing moves: new.txt pins what old.txt pins" in Path("answer.md").read_text()


def test_what_is_left_out_of_the_files_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert upgrade() == 0
    out = capsys.readouterr().out
    for side in ("baseline", "candidate"):
        assert f"pins         {side}: left out, not releases for a CPU: flash-attn\n" in out
        assert f"pins         {side}: click 7.0 -> 8.0, for the test tools\n" in out


def test_an_answer_that_cannot_be_written_is_told_before_anything_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert upgrade("--answer", "none/answer.json") == 2
    assert "--answer none/answer.json: the folder none is not there" in capsys.readouterr().err
