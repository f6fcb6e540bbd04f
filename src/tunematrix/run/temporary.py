"""The folder for the temporary files of a cell, which the scripts of others rarely remove."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder_for(cell_folder: Path) -> Iterator[Path]:
    """An empty folder, which is removed at the end of the block; needs the lock of the cell.

    It lies in the system's own place, not in ``cell_folder``, because the path of a socket in it has about
    100 characters at most. A run that was killed leaves it to the next run of the cell. Raises ``OSError``.
    """
    name = hashlib.sha256(os.fsencode(cell_folder.resolve())).hexdigest()[:12]
    prefix = f"tunematrix-{name}-"
    for leftover in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
