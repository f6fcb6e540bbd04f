"""The logs of scripts, which may print without end."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tunematrix.harness.descendants import die_with_parent
from tunematrix.harness.isolate import CAN_FORK
from tunematrix.shared.logs import shorten

PAUSE: Final = 0.2  # seconds between two looks at the logs


@contextlib.contextmanager
def short_logs(folder: Path) -> Iterator[None]:
    """Keep the logs in ``folder`` short during the block, where a process can be forked for that.

    Not in a thread, because a process with two threads cannot safely fork, and not in the process that runs
    the script, which might wait for all of its children.
    """
    if not CAN_FORK:
        yield
        return
    process = multiprocessing.get_context("fork").Process(target=_shorten_logs, args=(folder,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _shorten_logs(folder: Path) -> None:
    die_with_parent()
    while True:
        for log in folder.glob("*.log"):
            with contextlib.suppress(OSError):
                shorten(log)
        time.sleep(PAUSE)
