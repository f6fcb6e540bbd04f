"""``tunematrix upgrade`` between two files that pin the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunematrix.cli.main import main
from tunematrix.locks import imported, package_files
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


def listed(text: str, **packages: str) -> ImportedLock:
    """The lock of a file with ``text``, which has what can be installed of it."""
    Path("listed.txt").write_text(text)
    return ImportedLock(
        packages=packages,
        added=(),
        moved={},
        left_out=(),
        listed=package_files.read(Path("listed.txt"), "3.11"),
    )


GIT = "{name} @ git+https://host/{name}.git@{commit}\nnumpy==2\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ((GIT.format(name="trl", commit="abc"), {}), (GIT.format(name="trl", commit="def"), {}),
         "trl git+https://host/trl.git@abc -> git+https://host/trl.git@def: not a release on an index"),
        # A release that another package requires stands in both locks for it.
        ((GIT.format(name="trl", commit="abc"), {"trl": "1.1"}),
         (GIT.format(name="trl", commit="def"), {"trl": "1.1"}),
         "trl git+https://host/trl.git@abc -> git+https://host/trl.git@def: not a release on an index"),
        # Without trl in one of the locks, all that imports it would fail there alone.
        (("trl==1.1\n", {"trl": "1.1"}), (GIT.format(name="trl", commit="def"), {}),
         "trl 1.1 -> git+https://host/trl.git@def: not a release on an index"),
        ((GIT.format(name="flash-attn", commit="abc"), {}), (GIT.format(name="flash-attn", commit="def"), {}),
         "flash-attn git+https://host/flash-attn.git@abc -> "),
    ],
)  # fmt: skip
def test_a_package_from_git_that_moves_is_named_and_never_safe(
    old: tuple[str, dict[str, str]],
    new: tuple[str, dict[str, str]],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    locks = {"old.txt": listed(old[0], **old[1], numpy="2"), "new.txt": listed(new[0], **new[1], numpy="2")}
    monkeypatch.setattr(imported, "import_lock", lambda path, *_: locks[path.name])
    assert upgrade("--answer", "answer.json") == 3
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("CANNOT TELL: listed.txt with "), "the file, not the name of a cell made of it"
    assert told in out
    assert "pin a release" in out
    content = json.loads(Path("answer.json").read_text())
    assert content["answer"] == "CANNOT TELL"
    assert content["untested"]


def test_a_package_from_git_that_the_work_does_not_import_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {f"{side}.txt": GIT.format(name="ours", commit=side) for side in ("old", "new")}
    monkeypatch.setattr(imported, "import_lock", lambda path, *_: listed(texts[path.name], numpy="2"))
    assert upgrade() == 0
    assert "NOTHING TO TEST" in capsys.readouterr().out
    Path("workload.toml").write_text('[[stage]]\nname = "work"\nrun = "python work.py"\n')
    assert upgrade() == 3, "a script may import it"
