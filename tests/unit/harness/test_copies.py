"""Copies of a team's folder: nothing in them leads back to it, and what cannot be read stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunematrix.harness import copies


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_their_files_are_copied_and_never_written(tmp_path: Path) -> None:
    source, copy = tmp_path / "theirs", tmp_path / "copy"
    for name in ("a.py", "data/b.json", ".git/c", "env/pyvenv.cfg", "results/d"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    with (source / "large.bin").open("wb") as stream:
        stream.truncate(21_000_000)
    os.mkfifo(source / "pipe")
    assert copies.copy_repository(source, copy) == []
    assert tree(copy) == ["a.py", "data", "data/b.json", "large.bin"]
    assert not (copy / "large.bin").is_symlink()
    with (copy / "large.bin").open("r+b") as stream:
        stream.write(b"theirs")
    assert (source / "large.bin").read_bytes()[:6] == bytes(6)


def test_a_very_large_file_is_not_copied_five_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_share_blocks", lambda *_: False)
    source, copy = tmp_path / "theirs", tmp_path / "copy"
    source.mkdir()
    with (source / "weights.bin").open("wb") as stream:
        stream.truncate(copies.LARGE + 1)
    copies.copy_repository(source, copy)
    assert (copy / "weights.bin").readlink() == source / "weights.bin"


def test_links_lead_to_the_copy_or_stay_outside(tmp_path: Path) -> None:
    source, copy, outside = tmp_path / "theirs", tmp_path / "copy", tmp_path / "outside"
    (source / "data").mkdir(parents=True)
    (source / "results").mkdir()
    outside.mkdir()
    for path in (source / "data/rows", source / "results/last", outside / "rows"):
        path.write_text("theirs")
    (source / "inside").symlink_to(source / "data")  # absolute: would lead back to their folder
    (source / "outside").symlink_to(outside)
    (source / "last").symlink_to("results/last")
    (copy.parent / "theirs" / "gone").symlink_to("nowhere")
    copies.copy_repository(source, copy)
    assert tree(copy) == ["data", "data/rows", "inside", "last", "outside"]
    assert (copy / "outside").readlink() == outside, "data of any size may lie there"
    for name in ("inside/rows", "last"):
        (copy / name).write_text("ours")
    assert (copy / "data/rows").read_text() == "ours"
    assert [path.read_text() for path in (source / "data/rows", source / "results/last")] == ["theirs"] * 2


def test_links_without_an_end_stop_no_copy(tmp_path: Path) -> None:
    source, outside = tmp_path / "theirs", tmp_path / "outside"
    source.mkdir()
    outside.mkdir()
    (source / "a.py").write_text("x")
    for name, target in (("here", "."), ("again", "."), ("up", ".."), ("self", "self"), ("out", outside)):
        (source / name).symlink_to(target)
    (outside / "round").symlink_to(outside)
    unread = copies.copy_repository(source, tmp_path / "copy")
    assert tree(tmp_path / "copy") == ["a.py", "again", "here", "out"]
    assert [Path(each.partition(" (")[0]).name for each in unread] == ["self", "up"]


def test_an_unreadable_folder_is_named_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs" / "secret").mkdir(parents=True)
    (tmp_path / "theirs" / "z.py").write_text("x")
    iterdir = Path.iterdir

    def refuse(path: Path) -> object:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert copies.copy_repository(tmp_path / "theirs", tmp_path / "copy") == ["secret"]
    assert (tmp_path / "copy" / "z.py").is_file()
