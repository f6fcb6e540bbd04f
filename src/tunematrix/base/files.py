"""Atomic file writes, and the rule for where a file may be written."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.shared.secrets import mask

TEMPORARY: Final = "tunematrix-"  # in the names of files that are being written
LEFTOVER_SECONDS: Final = 600.0  # no write takes that long


def check_inside(path: Path, folder: Path) -> Path:
    """``path``, if it lies in ``folder``, which may be a symbolic link itself.

    Raises ``UsageError`` if ``..``, an absolute path or a symbolic link leads out.
    """
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links; a path that no file system can hold
        inside = False
    if not inside:
        raise UsageError(f"{str(path)!r:.200}: refused, because it leads out of {folder}")
    return path


def files_below(folder: Path) -> Iterator[Path]:
    """The files below ``folder``, without byte code."""
    yield from (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def write_atomic(path: Path, text: str, *, masked: bool = True) -> None:
    """Replace ``path`` with ``text``; if the process is killed or the disk is full, the old file stays.

    ``masked`` leaves out secrets; only a file that a person wrote keeps all its text.
    """
    text = mask(text) if masked else text
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no regular file, and is not replaced; name another")
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{TEMPORARY}"
    _remove_leftovers(path.parent, prefix)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _remove_leftovers(folder: Path, prefix: str) -> None:
    """Remove what writers that were killed left; a young file may be that of one that goes on."""
    for leftover in folder.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):  # another process removes it too
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                leftover.unlink()
