"""The time and memory to import many records into a history: python tests/bench/history.py [COUNT] [RECORD].

The records are nights of ten cells, written to a temporary folder; with a RECORD, copies of that real one.
Prints the time and memory of a first import, which judges 9 steps a night, of a second one, which only finds
that nothing is new, and of the table; then the size of the database.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

CELLS: Final = 10
RUN: Final = """
import resource, sys
from tunematrix.cli.main import cli
cli.main(["history", *sys.argv[1:]], standalone_mode=False)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(f"{usage.ru_utime + usage.ru_stime:.1f} s of a core, at most {usage.ru_maxrss // 1024} MB", flush=True)
"""


def synthetic() -> dict[str, Any]:
    """A small record: with the stages and probes of a real one, and a fingerprint of 200 numbers."""
    names = ("import", "download", "finetune", "finetune-resume", "align", "align-resume", "generate")
    return {
        "schema": 1,
        "outcome": "passed",
        "model": {"name": "tiny-gpt2"},
        "stages": [{"name": name, "outcome": "passed", "seconds": 1.5} for name in names],
        "probes": [{"name": f"probe-{number}", "outcome": "passed"} for number in range(8)],
        "fingerprint": {f"number.{number}": [number / 7] for number in range(200)},
        "environment": {
            "python": "3.11.7",
            "packages": {"trl": "1.0", "transformers": "5.0", "peft": "0.18"},
        },
    }


def write(folder: Path, count: int, content: dict[str, Any]) -> None:
    """``count`` records in nights of ``CELLS`` cells, and the matrix of these cells."""
    lines = ["schema = 1"]
    for number in range(CELLS):
        lines += ["[[cell]]", f'name = "cell-{number}"', "[cell.pins]", f'trl = "1.{number}"']
    (folder / "matrix.toml").write_text("\n".join(lines))
    for number in range(count):
        night, cell = number // CELLS, f"cell-{number % CELLS}"
        started = f"{2020 + night // 336}-{night // 28 % 12 + 1:02}-{night % 28 + 1:02}T10:00:00Z"
        record = {**content, "cell": cell, "started": started, "key": cell, "seconds": 20 + number % 7}
        path = folder / f"nights/{night}/tiny-gpt2/{cell}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))


def main(count: int, record: Path | None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, count, json.loads(record.read_text()) if record else synthetic())
        variables = {
            "TUNEMATRIX_CONSTRAINTS": name,
            "TUNEMATRIX_RESULTS": f"{name}/results",
            "PYTHONPATH": "src",
        }
        for arguments in (["--import", f"{name}/nights"], ["--import", f"{name}/nights"], []):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", RUN, *arguments], env=variables, check=True)
            print(f"history {' '.join(arguments)}: {time.perf_counter() - start:.1f} s", flush=True)
        size = (folder / "results/history.sqlite").stat().st_size
        print(f"{size / 2**20:.1f} MB for {count} runs")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1000, Path(sys.argv[2]) if sys.argv[2:] else None)
