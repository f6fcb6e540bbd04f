"""A ``nox`` whose cells and locks are planted: what ``$PLAN`` says, without runs; all else is the real one.

``$PLAN`` is a JSON file: by cell the errors of its stages, ``"cut off"`` or ``"passed"``; under ``latest`` in
``"releases"`` the version of trl that is newest today.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.pulls.matrix import MODEL, record
from tunematrix.base.record import Failure, Record
from tunematrix.base.store import Store
from tunematrix.locks.lock import read_versions

LOCK = "# made\npeft==0.20.0\ntransformers==5.1.0\ntrl=={}\n"


def main(arguments: list[str]) -> int:
    plan = json.loads(Path(os.environ["PLAN"]).read_text())
    if arguments[:2] == ["-s", "lock"]:
        return populate(plan["releases"])
    if cells := re.findall(r"e2e\(([^)]*)\)", " ".join(arguments)):
        for cell in cells:
            run(cell, plan.get(cell, "passed"))
        return 0
    return subprocess.run([sys.executable, "-m", "nox", *arguments], check=False).returncode


def populate(releases: dict[str, str]) -> int:
    for cell, version in releases.items():
        Path(f"constraints/{cell}.txt").write_text(LOCK.format(version))
    return 0


def run(cell: str, planned: Any) -> None:
    """Save what is planted; a record of the same lock and plan is reused."""
    store = Store(Path("results"), MODEL)
    content = Path(f"constraints/{cell}.txt").read_bytes()
    lock = {"path": f"constraints/{cell}.txt", "sha256": hashlib.sha256(content).hexdigest()}
    key = f"{lock['sha256']} {json.dumps(planned)}"
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    earlier = store.load(cell)
    if earlier and earlier.key == key:
        store.save(replace(earlier, reused=True, reused_at=now))
        return
    environment = {"packages": read_versions(Path(lock["path"]))}
    found = replace(planted(cell, planned), lock=lock, key=key, started=now, environment=environment)
    store.save(found)


def planted(cell: str, planned: Any) -> Record:
    if planned == "cut off":
        error = Failure(type="InfrastructureError", message="no space left on device")
        return replace(record(cell), outcome="crashed", error=error)
    return record(cell, **(planned if isinstance(planned, dict) else {}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
