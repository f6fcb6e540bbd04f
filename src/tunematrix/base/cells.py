"""Which folder defines cells: many teams have a ``constraints`` folder that knows nothing of this project."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

MATRIX: Final = "matrix.toml"
VARIABLE: Final = "TUNEMATRIX_CONSTRAINTS"
# The header of a lock, or the tool without which no cell can run: the constraints of pip have neither.
LOCK: Final = re.compile(r"^(# (inputs|content): |# Imported from |pytest[-_.]reportlog\s*==)", re.MULTILINE)
START: Final = 1_000_000  # characters of a file that are looked at


def has_cells(folder: Path) -> bool:
    """Whether the folder defines cells: by a ``matrix.toml``, or by locks alone.

    Where the environment names the folder, each ``*.txt`` is a lock; elsewhere, only what a cell can be
    installed from.
    """
    if (folder / MATRIX).is_file():
        return True
    named = os.environ.get(VARIABLE)
    texts = [path for path in folder.glob("*.txt") if path.is_file()]
    return bool(texts) and ((bool(named) and _same(folder, Path(named or "."))) or any(map(_is_lock, texts)))


def _same(folder: Path, other: Path) -> bool:
    return other.exists() and folder.samefile(other)


def _is_lock(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return LOCK.search(stream.read(START)) is not None
    except OSError:
        return False
