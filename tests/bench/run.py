"""``nox -s bench``: the time of a cell, with and without fingerprint, compared with a bare script.

The script makes the same calls as the cell. All three run alternately, so that a busy machine slows all of
them; the medians are compared.
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
MAX_RATIO: Final = 1.25  # of a cell's time to the script's
MAX_FINGERPRINT: Final = 6.0  # seconds that the fingerprint may add to a cell
HERE: Final = Path(__file__).parent


def run_timed(command: list[str], variables: dict[str, str]) -> float:
    start = time.perf_counter()
    process = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{process.stdout}{process.stderr}")
    return time.perf_counter() - start


def main(venv: Path, rounds: int) -> int:
    times: dict[str, list[float]] = {"bare": [], "cell": [], "with fingerprint": []}
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
        outer = {**os.environ, "TUNEMATRIX_RESULTS": str(work / "results")}
        inner = environment.variables(venv, work, hub.variables, real_hub=False)
        run_timed(cell, outer)  # installs packages and compiles byte code
        for number in range(rounds):
            bare = [
                str(environment.interpreter(venv)),
                str(HERE / "bare.py"),
                f"tunematrix/{MODEL}",
                str(work / f"b{number}"),
            ]
            times["bare"].append(run_timed(bare, inner))
            times["cell"].append(run_timed([*cell, "-k", "not fingerprint"], outer))
            times["with fingerprint"].append(run_timed(cell, outer))
            print(", ".join(f"{name} {seconds[-1]:.1f} s" for name, seconds in times.items()), flush=True)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    ratio = medians["cell"] / medians["bare"]
    added = medians["with fingerprint"] - medians["cell"]
    print(
        f"medians: cell / bare {ratio:.2f}, at most {MAX_RATIO}; "
        f"the fingerprint adds {added:.1f} s, at most {MAX_FINGERPRINT:g} s"
    )
    return ratio > MAX_RATIO or added > MAX_FINGERPRINT


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
