"""Logs that stay short, whatever a script prints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LIMIT: Final = 64 * 2**20  # bytes of a log
KEPT: Final = 2**20  # bytes of a longer one: people read its end


def shorten(log: Path) -> bool:
    """Cut ``log`` to its last ``KEPT`` bytes if it has more than ``LIMIT``; whether it had.

    Other processes may go on writing, if they append. Raises ``OSError``.
    """
    size = log.stat().st_size
    if size <= LIMIT:
        return False
    with log.open("rb") as stream:
        stream.seek(-KEPT, os.SEEK_END)
        end = stream.read(KEPT)
    os.truncate(log, 0)
    with log.open("ab") as stream:
        stream.write(f"[{size:,} bytes, of which the last {KEPT:,} are kept]\n".encode() + end)
    return True
