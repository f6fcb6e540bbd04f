"""Copies of folders: a team's repository without what tools leave in it, and the states between stages."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tunematrix.shared.repositories import LEFT_OUT

CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)")
LARGE: Final = 200_000_000  # bytes; of larger files, five copies for a stage would fill a disk
FICLONE: Final = 0x40049409  # <linux/fs.h>: share the blocks of a file until one of the two is written


def copy_repository(source: Path, target: Path) -> list[str]:
    """Copy a folder without what tools and runs leave in it; the result is what could not be read.

    Links that lead out of the folder stay links, since data of any size may lie there. So does a file above
    ``LARGE`` where the file system cannot share its blocks.
    """
    return _Repository(source, target).copy()


class _Repository:
    """One copy of a repository; ``unread`` collects what could not be copied."""

    def __init__(self, source: Path, target: Path) -> None:
        self.root, self.target = source.resolve(), target
        self.unread: list[str] = []

    def copy(self) -> list[str]:
        self._folder(self.root, self.target, (self.root,))
        return self.unread

    def _folder(self, folder: Path, target: Path, inside: tuple[Path, ...]) -> None:
        """Copy ``folder``; ``inside`` are the folders that it lies in, to which a link would never end."""
        paths = sorted(folder.iterdir())
        target.mkdir()
        for path in paths:
            try:
                if path.name not in LEFT_OUT and not (path / "pyvenv.cfg").is_file():
                    self._entry(path, target / path.name, inside)
            except (PermissionError, RuntimeError):  # a link to itself is a RuntimeError
                self.unread.append(
                    str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)
                )

    def _entry(self, path: Path, target: Path, inside: tuple[Path, ...]) -> None:
        real = path.resolve()
        if path.is_symlink() and self._is_copied(real):
            there = self.target / real.relative_to(self.root)
            target.symlink_to(os.path.relpath(there, target.parent))
        elif path.is_dir() and (real in inside or self.root.is_relative_to(real)) and path.is_symlink():
            self.unread.append(f"{path} (a link to a folder that it lies in)")
        elif path.is_symlink() and not real.is_relative_to(self.root):
            target.symlink_to(real)
        elif path.is_dir():
            self._folder(path, target, (*inside, real))
        elif path.is_file() and path.stat().st_size <= LARGE:  # no socket, no pipe
            clone(path, target)
        elif path.is_file() and not _share_blocks(path, target):
            target.unlink(missing_ok=True)
            target.symlink_to(real)

    def _is_copied(self, real: Path) -> bool:
        """Whether the target of a link is in the copy too."""
        return (
            real.exists()
            and real.is_relative_to(self.root)
            and not any(part in LEFT_OUT for part in real.relative_to(self.root).parts)
        )


def copy_all(source: Path, target: Path) -> None:
    """Copy all of a folder, links as links, in place of ``target``."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        paths = [Path(folder) / name for name in names]
        return [path.name for path in paths if not (path.is_symlink() or path.is_dir() or path.is_file())]

    remove(target)
    shutil.copytree(source, target, symlinks=True, ignore=left_out, copy_function=clone)


def add_all(source: Path, target: Path, without: Collection[Path] = ()) -> None:
    """Copy all files of a folder into another, except those in the folders ``without``."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and not any(folder in path.parents for folder in without):
            add(path, target / path.relative_to(source))


def add(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    clone(path, target)


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def clone(source: str | Path, target: str | Path) -> None:
    """Copy a file, without its blocks where the file system can share them."""
    if not _share_blocks(source, target):
        shutil.copyfile(source, target)
    shutil.copystat(source, target)


def _share_blocks(source: str | Path, target: str | Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    with Path(source).open("rb") as reader, Path(target).open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), FICLONE, reader.fileno())
        except OSError:
            return False
    return True


def step_of(path: Path) -> int | None:
    """The step in the name of a checkpoint; None for another folder."""
    found = CHECKPOINT.fullmatch(path.name)
    return int(found[1]) if found else None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints directly in a folder, by step."""
    steps = {path: step for path in folder.glob("checkpoint-*") if (step := step_of(path)) is not None}
    return sorted((path for path in steps if path.is_dir()), key=lambda path: steps[path])
