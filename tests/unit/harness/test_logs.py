"""Logs of scripts that print without end."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

from tunematrix.harness.logs import short_logs
from tunematrix.shared import logs


def test_a_flood_leaves_a_short_log_with_its_end(tmp_path: Path) -> None:
    log = tmp_path / "work.log"
    with short_logs(tmp_path), log.open("ab") as stream:
        subprocess.run(["head", "-c", "70000000", "/dev/zero"], stdout=stream, check=True)
        end = time.monotonic() + 20
        while log.stat().st_size > logs.LIMIT and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.2)  # the log is cut, but its end may not be there yet
        stream.write(b"end\n")

    assert log.stat().st_size < 2 * logs.KEPT
    # Not at its start: what prints may be faster than the note after the cut.
    assert re.search(rb"\[\d\d,\d{3},\d{3} bytes, of which the last 1,048,576 are kept\]\n", log.read_bytes())
    assert log.read_bytes().endswith(b"\0end\n")


def test_nothing_watches_the_logs_afterwards(tmp_path: Path) -> None:
    log = tmp_path / "work.log"
    with short_logs(tmp_path):
        log.write_bytes(b"short")
    with log.open("wb") as stream:
        stream.truncate(logs.LIMIT + 1)
    time.sleep(0.5)

    assert log.stat().st_size == logs.LIMIT + 1
