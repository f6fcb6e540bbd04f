"""``nox -s bench``: what a cell costs beside a bare script that makes the same calls, and its fingerprint.

All are run alternately, so that a busy machine slows all; the medians are compared.
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

from tunematrix.run import environment, models

CELL: Final = "latest"
MODEL: Final = "tiny-gpt2"
ALLOWED: Final = 1.25
FINGERPRINT: Final = 6.0  # seconds that it may add to a warm cell
HERE: Final = Path(__file__).parent


def timed(command: list[str], variables: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


def main(venv: Path, rounds: int) -> int:
    costs: dict[str, list[float]] = {"bare": [], "cell": [], "with fingerprint": []}
    with tempfile.TemporaryDirectory() as scratch, models.hub_for(models.choose(MODEL), CELL) as hub:
        work = Path(scratch)
        whole = [
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
        inside = environment.variables(venv, work, hub.variables, real_hub=False)
        timed(whole, own)  # installs, and compiles byte code
        for number in range(rounds):
            bare = [
                str(environment.interpreter(venv)),
                str(HERE / "bare.py"),
                f"tunematrix/{MODEL}",
                str(work / f"b{number}"),
            ]
            costs["bare"].append(timed(bare, inside))
            costs["cell"].append(timed([*whole, "-k", "not fingerprint"], own))
            costs["with fingerprint"].append(timed(whole, own))
            print(", ".join(f"{name} {times[-1]:.1f} s" for name, times in costs.items()), flush=True)
    medians = {name: statistics.median(values) for name, values in costs.items()}
    ratio = medians["cell"] / medians["bare"]
    added = medians["with fingerprint"] - medians["cell"]
    print(
        f"medians: cell / bare {ratio:.2f}, at most {ALLOWED}; "
        f"the fingerprint adds {added:.1f} s, at most {FINGERPRINT:g} s"
    )
    return ratio > ALLOWED or added > FINGERPRINT


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
