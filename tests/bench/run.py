"""``nox -s bench``: the time of a cell, without, with the quick and with the full fingerprint.

The time of a cell without fingerprint is compared with that of a bare script that makes the same calls. All
run alternately, so that a busy machine slows all of them; the medians are compared. Then comes a table of
where the fingerprint's time goes: the seconds of each of its children in a run on one core, where they run
one after the other.
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

from tunematrix.base.store import Store
from tunematrix.run import environment, models

CELL: Final = "latest"
MODEL: Final = "tiny-gpt2"
MAX_RATIO: Final = 1.25  # of a cell's time to the script's
MAX_QUICK: Final = 6.0  # seconds that the fingerprint of --depth quick may add to a cell
MAX_GENERAL: Final = 20.0  # seconds of one core for what --depth quick leaves out
HERE: Final = Path(__file__).parent


def run_timed(command: list[str], variables: dict[str, str]) -> float:
    start = time.perf_counter()
    process = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{process.stdout}{process.stderr}")
    return time.perf_counter() - start


def main(venv: Path, rounds: int) -> int:
    times: dict[str, list[float]] = {"bare": [], "cell": [], "quick": [], "full": []}
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
        quick: dict[str, float] = {}
        for number in range(rounds):
            bare = [
                str(environment.interpreter(venv)),
                str(HERE / "bare.py"),
                f"tunematrix/{MODEL}",
                str(work / f"b{number}"),
            ]
            times["bare"].append(run_timed(bare, inner))
            times["cell"].append(run_timed([*cell, "-k", "not fingerprint"], outer))
            times["quick"].append(run_timed([*cell, "--depth", "quick"], outer))
            quick = children(work / "results")
            times["full"].append(run_timed(cell, outer))
            print(", ".join(f"{name} {seconds[-1]:.1f} s" for name, seconds in times.items()), flush=True)
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        run_timed(cell, outer)
        os.sched_setaffinity(0, cores)
        full = children(work / "results")
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    ratio = medians["cell"] / medians["bare"]
    added = medians["quick"] - medians["cell"]
    general = {name: seconds for name, seconds in full.items() if name not in quick}
    for name, seconds in sorted(full.items(), key=lambda item: -item[1]):
        print(f"{seconds:6.1f} s  {name}{'' if name in general else '  (quick)'}")
    print(
        f"medians: cell / bare {ratio:.2f}, at most {MAX_RATIO}; the quick fingerprint adds {added:.1f} s, "
        f"at most {MAX_QUICK:g} s; the general measures take {sum(general.values()):.1f} s of one core, "
        f"at most {MAX_GENERAL:g} s"
    )
    return ratio > MAX_RATIO or added > MAX_QUICK or sum(general.values()) > MAX_GENERAL


def children(results: Path) -> dict[str, float]:
    """The seconds of each child of the fingerprint, by its name."""
    record = Store(results, MODEL).load(CELL)
    assert record is not None
    probes = [probe for probe in record.probes if probe.name.startswith("fingerprint:")]
    return {probe.name.removeprefix("fingerprint:"): probe.seconds for probe in probes}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5))
