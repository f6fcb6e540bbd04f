"""Where a file may be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.base.files import check_inside, write_atomic


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A folder that is a link itself, with a link to a file outside and a loop of links."""
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "real/out").symlink_to(tmp_path / "outside")
    (tmp_path / "real/in").symlink_to("sub")
    (tmp_path / "real/loop").symlink_to("loop")
    return tmp_path / "folder"


@pytest.mark.parametrize("name", ["a.json", "sub/new/a.json", "in/a.json", "sub/../a.json", "a..json"])
def test_a_path_inside_is_returned(folder: Path, name: str) -> None:
    assert check_inside(folder / name, folder) == folder / name


@pytest.mark.parametrize(
    "name", ["../a.json", "sub/../../a.json", "/etc/passwd", "out/a.json", "out", "a\0b", "loop/a.json"]
)
def test_a_path_that_leads_out_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match="leads out of"):
        check_inside(folder / name, folder)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    before = path.stat().st_mode

    with pytest.raises(UsageError, match="no regular file"):
        write_atomic(path, "x")
    assert path.stat().st_mode == before


def test_what_a_kill_between_write_and_rename_leaves_is_removed_by_a_later_write(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    code = (
        "import os, sys; from pathlib import Path; from tunematrix.base import files\n"
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "files.write_atomic(Path(sys.argv[1]), 'new')"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    (leftover,) = set(tmp_path.iterdir()) - {path}
    assert path.read_text() == "old"

    write_atomic(path, "newer")
    assert leftover.exists(), "a young file may be that of a process that goes on"
    os.utime(leftover, (0, 0))
    own = tmp_path / ".a.json.bak"
    own.write_text("own")
    os.utime(own, (0, 0))
    write_atomic(path, "newest")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "a.json": "newest",
        ".a.json.bak": "own",
    }
