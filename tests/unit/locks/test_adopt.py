"""Locks that another machine made are taken as data: releases in the files of the matrix, nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.locks.adopt import adopt

ROOT = Path(__file__).parents[3]


def cell(name: str, trl: str, extra: str = "") -> str:
    return f'[[cell]]\nname = "{name}"\n{extra}pins = {{trl = "{trl}"}}\n'


@pytest.fixture(name="folders")
def _folders(tmp_path: Path) -> tuple[Path, Path]:
    """The proposal and our own folder; our own has a hand-made cell and one by rule."""
    ours, proposed = tmp_path / "ours", tmp_path / "proposed"
    for folder, trl in ((ours, "1.0"), (proposed, "1.1")):
        folder.mkdir()
        rules = 'rule = "latest"\n'
        table = f"# a comment\nschema = 1\n{cell('hand', '0.9')}{cell('latest', trl, rules)}"
        (folder / "matrix.toml").write_text(table)
        (folder / "hand.txt").write_text("trl==0.9\n")
        (folder / "latest.txt").write_text(f"# made\ntrl=={trl}  # via x, y\nnumpy==2.0+cpu\n")
    return proposed, ours


def test_the_new_table_and_lock_are_taken_with_their_comments(folders: tuple[Path, Path]) -> None:
    proposed, ours = folders

    assert adopt(proposed, ours) == ["latest: trl 1.0 -> 1.1, 1 packages move"]
    for name in ("matrix.toml", "latest.txt", "hand.txt"):
        assert (ours / name).read_text() == (proposed / name).read_text()
    assert adopt(proposed, ours) == []


def test_cells_come_and_go_with_their_locks(folders: tuple[Path, Path]) -> None:
    proposed, ours = folders
    table = (proposed / "matrix.toml").read_text().replace('"latest"\nrule', '"newest"\nrule')
    (proposed / "matrix.toml").write_text(table)
    (proposed / "latest.txt").rename(proposed / "newest.txt")

    assert adopt(proposed, ours) == ["newest: trl (none) -> 1.1, 2 packages move", "latest: removed"]
    assert sorted(path.name for path in ours.iterdir()) == ["hand.txt", "matrix.toml", "newest.txt"]


def test_a_cell_that_could_not_be_resolved_has_no_lock(folders: tuple[Path, Path]) -> None:
    proposed, ours = folders
    (proposed / "latest.txt").unlink()

    assert adopt(proposed, ours) == ["latest: no lock"]
    assert not (ours / "latest.txt").exists()


def test_other_files_stay_where_they_are(folders: tuple[Path, Path]) -> None:
    proposed, ours = folders
    (proposed / "known-issues.toml").write_text("schema = 1\n")
    (proposed / "other.txt").write_text("trl==1\n")
    adopt(proposed, ours)

    assert sorted(path.name for path in ours.iterdir()) == ["hand.txt", "latest.txt", "matrix.toml"]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://evil.example/simple",
        "-e .",
        "trl @ https://evil.example/trl.whl",
        "trl @ git+ssh://evil.example/trl",
        "./trl.whl",
        "trl>=1.0",
        "trl==1.0 ; x @ https://evil.example",
        "trl==1.0 --hash=sha256:0",
    ],
)
def test_a_lock_with_anything_but_releases_is_refused_and_nothing_is_written(
    folders: tuple[Path, Path], line: str
) -> None:
    proposed, ours = folders
    (proposed / "latest.txt").write_text(f"numpy==2.0\n{line}\n")
    before = {path: path.read_text() for path in ours.iterdir()}

    with pytest.raises(UsageError, match=r"latest.txt: line 2: .* is not 'package==version'"):
        adopt(proposed, ours)
    assert {path: path.read_text() for path in ours.iterdir()} == before


def test_a_link_that_leads_out_is_refused(folders: tuple[Path, Path]) -> None:
    proposed, ours = folders
    (proposed / "latest.txt").unlink()
    (proposed / "latest.txt").symlink_to("/etc/hostname")

    with pytest.raises(UsageError, match="leads out of"):
        adopt(proposed, ours)


def test_our_own_locks_can_be_adopted(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "constraints", tmp_path / "ours")

    assert adopt(ROOT / "constraints", tmp_path / "ours") == []
