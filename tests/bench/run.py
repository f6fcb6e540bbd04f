"""``nox -s bench``: what a cell costs beside a bare script that makes the same calls.

Both are run alternately, so that a busy machine slows both; the medians are compared.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tunematrix.matrix import env, models

CELL: Final = "latest"
MODEL: Final = "tiny-gpt2"
ALLOWED: Final = 1.25
HERE: Final = Path(__file__).parent


def timed(command: list[str], variables: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def main(venv: Path, rounds: int) -> int:
    costs: dict[str, list[float]] = {"cell": [], "bare": []}
    with tempfile.TemporaryDirectory() as scratch, models.hub_for(models.choose(MODEL), CELL) as hub:
        work = Path(scratch)
        cell = [
            sys.executable,
            "-m",
            "tunematrix",
            "run",
            CELL,
            "--venv",
            str(venv),
            "--model",
            MODEL,
            "--rerun",
        ]
        own = {**os.environ, "TUNEMATRIX_RESULTS": str(work / "results")}
        inside = env.variables(venv, work, hub.variables, real_hub=False)
        timed(cell, own)  # installs, and compiles byte code
        for number in range(rounds):
            bare = [
                str(env.python_of(venv)),
                str(HERE / "bare.py"),
                f"tunematrix/{MODEL}",
                str(work / f"b{number}"),
            ]
            costs["bare"].append(timed(bare, inside))
            costs["cell"].append(timed(cell, own))
            print(f"{number + 1}: bare {costs['bare'][-1]:.1f} s, cell {costs['cell'][-1]:.1f} s", flush=True)
    medians = {name: statistics.median(values) for name, values in costs.items()}
    ratio = medians["cell"] / medians["bare"]
    shown = ", ".join(f"{name} {value:.1f} s" for name, value in medians.items())
    print(f"median: {shown}; ratio {ratio:.2f}, at most {ALLOWED}")
    return ratio > ALLOWED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
