"""``nox -s scale``: what listing, planning, merging and reporting cost with 10, 100 and 1,000 cells.

``python tests/bench/scale.py [SIZE ...]``. The records are copies of real ones under other names, with
numbers that differ. Each command is a process of its own; the seconds of a core that it takes and its largest
memory are told, and the run fails above the limits.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

SIZES: Final = (10, 100, 1000)
MAX_SECONDS: Final = 10.0
MAX_MB: Final = 500
ROOT: Final = Path(__file__).parents[2]
RECORDS: Final = ROOT / "tests/data/upgrades"
MODEL: Final = "smollm2-135m"


def records() -> list[dict[str, Any]]:
    """Real records of whole runs."""
    read = (json.loads(gzip.decompress(path.read_bytes())) for path in sorted(RECORDS.glob("*.json.gz")))
    found = [content["record"] for content in read if "record" in content]
    return [record for record in found if record["outcome"] in ("passed", "failed")]


def prepare(folder: Path, size: int) -> None:
    """Cells, and their records as the jobs of a CI service leave them."""
    constraints = folder / "constraints"
    constraints.mkdir(parents=True)
    lines = ["schema = 1", "[defaults]", 'python = "3.11"']
    templates = records()
    for number in range(size):
        name = f"cell-{number:04}"
        template = templates[number % len(templates)]
        packages = template["environment"]["packages"]
        pins = ", ".join(f'{each} = "{packages[each]}"' for each in ("transformers", "peft", "trl"))
        lines += ["[[cell]]", f'name = "{name}"', f"pins = {{{pins}}}"]
        lock = "".join(f"{package}=={version}\n" for package, version in sorted(packages.items()))
        (constraints / f"{name}.txt").write_text(lock)
        fingerprint = {
            field: [each + number * 1e-6 if isinstance(each, float) else each for each in value]
            if isinstance(value, list)
            else value
            for field, value in template["fingerprint"].items()
        }
        model = {**template["model"], "name": MODEL}
        record = {**template, "cell": name, "model": model, "fingerprint": fingerprint}
        path = folder / "artifacts" / f"record-{name}" / MODEL / f"{name}.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record))
    (constraints / "matrix.toml").write_text("\n".join(lines) + "\n")


def measured(arguments: list[str], folder: Path, stdin: str = "") -> tuple[float, float, str]:
    """Seconds of a core and MB of a command, and what it prints; ends the program if it cannot run."""
    variables = {
        **os.environ,
        "TUNEMATRIX_CONSTRAINTS": str(folder / "constraints"),
        "TUNEMATRIX_RESULTS": str(folder / "results"),
    }
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as source:
        source.write(stdin)
        source.seek(0)
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=variables, stdin=source, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode not in (0, 1):  # a report exits 1 for failures that nobody expects
        sys.exit(f"{' '.join(arguments)} ended with {process.returncode}:\n{text[-2000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def main(sizes: Sequence[int]) -> int:
    program = [sys.executable, "-m", "tunematrix"]
    exceeded = []
    print(f"{'cells':>6}  {'':10} {'seconds':>8} {'MB':>6}")
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            prepare(folder, size)
            _, _, sessions = measured([sys.executable, "-m", "nox", "-l", "--json"], folder)
            commands = {
                "list": ([sys.executable, "-m", "nox", "-l", "--json"], ""),
                "plan": ([*program, "jobs", "--max", "64"], sessions),
                "merge": ([*program, "merge", str(folder / "artifacts")], ""),
                "report": ([*program, "report"], ""),
                "history": ([*program, "history", "--import", str(folder / "artifacts")], ""),
            }
            for name, (arguments, stdin) in commands.items():
                seconds, megabytes, _ = measured(arguments, folder, stdin)
                print(f"{size:>6}  {name:10} {seconds:8.1f} {megabytes:6.0f}", flush=True)
                if seconds > MAX_SECONDS or megabytes > MAX_MB:
                    exceeded.append(f"{name} with {size} cells: {seconds:.1f} s, {megabytes:.0f} MB")
    for line in exceeded:
        print(f"over the limit of {MAX_SECONDS:.0f} s and {MAX_MB} MB: {line}")
    return int(bool(exceeded))


if __name__ == "__main__":
    sys.exit(main([int(size) for size in sys.argv[1:]] or SIZES))
