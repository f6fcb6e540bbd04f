"""Atomic file writes, and the rule for where a file may be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tunematrix.base.errors import UsageError
from tunematrix.shared.secrets import mask


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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
