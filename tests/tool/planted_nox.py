"""A ``nox`` whose cells and locks are planted: what ``$PLAN`` says, without runs; all else is the real one.

``$PLAN`` is a JSON file: by cell the errors of its stages, ``"cut off"`` or ``"passed"``; under ``latest`` in
``"releases"`` the version of trl that is newest today, and under ``"now"`` the time. With ``"again"`` a cell
runs although nothing changed since it passed, and with ``"attempts"`` a stage passes at that one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.pulls.matrix import MODEL, record, stage
from tunematrix.base.record import Failure, Record
from tunematrix.base.store import Store
from tunematrix.locks.lock import read_versions
from tunematrix.shared.stages import STAGES

LOCK = "# made\npeft==0.20.0\ntransformers==5.1.0\ntrl=={}\n"


def main(arguments: list[str]) -> int:
    plan = json.loads(Path(os.environ["PLAN"]).read_text())
    if arguments[:2] == ["-s", "lock"]:
        return populate(plan["releases"])
    if cells := re.findall(r"e2e\(([^)]*)\)", " ".join(arguments)):
        for cell in cells:
            run(cell, plan.get(cell, "passed"), plan["now"])
        return 0
    return subprocess.run([sys.executable, "-m", "nox", *arguments], check=False).returncode


def populate(releases: dict[str, str]) -> int:
    for cell, version in releases.items():
        Path(f"constraints/{cell}.txt").write_text(LOCK.format(version))
    return 0


def run(cell: str, planned: Any, now: str) -> None:
    """Save what is planted; a record of the same lock and plan is reused."""
    store = Store(Path("results"), MODEL)
    content = Path(f"constraints/{cell}.txt").read_bytes()
    lock = {"path": f"constraints/{cell}.txt", "sha256": hashlib.sha256(content).hexdigest()}
    again = isinstance(planned, dict) and planned.get("again", False)
    key = f"{lock['sha256']} {json.dumps('passed' if again else planned)}"
    earlier = store.load(cell)
    if earlier and earlier.key == key and not again:
        store.save(replace(earlier, reused=True, reused_at=now))
        return
    environment = {"packages": read_versions(Path(lock["path"]))}
    found = replace(planted(cell, planned), lock=lock, key=key, started=now, environment=environment)
    store.save(found)


def planted(cell: str, planned: Any) -> Record:
    if planned == "cut off":
        error = Failure(type="InfrastructureError", message="no space left on device")
        return replace(record(cell), outcome="crashed", error=error)
    if planned == "passed":
        return record(cell)
    found = record(cell, **{name: text for name, text in planned.items() if name in STAGES})
    for name, attempts in planned.get("attempts", {}).items():
        found = stage(found, name, attempts=attempts)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
