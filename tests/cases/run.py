"""``nox -s cases``: combinations known to break end as they are known to, and those known to work pass.

Each case of ``breakages.toml`` becomes a cell of a scratch matrix and is run like any other, with the tiny
model. Named cases, ``--all``, or those marked as the sample.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import tomlkit

from tunematrix.matrix import ledger, lock, plan, table
from tunematrix.matrix.record import Record
from tunematrix.matrix.store import Store

HERE: Final = Path(__file__).parent
MODEL: Final = "tiny-gpt2"
Case = dict[str, Any]


def chosen(arguments: list[str]) -> list[Case]:
    """The cases asked for; exits with 2 for a name that there is not."""
    cases: list[Case] = tomllib.loads((HERE / "breakages.toml").read_text())["case"]
    if "--all" in arguments:
        return cases
    if unknown := set(arguments) - {case["id"] for case in cases}:
        sys.exit(f"no case {', '.join(sorted(unknown))} in {HERE / 'breakages.toml'}")
    return [case for case in cases if (case["id"] in arguments if arguments else case.get("sample"))]


def prepare(folder: Path, cases: list[Case]) -> None:
    """Write the scratch matrix and its locks."""
    cells = []
    for case in cases:
        row = {"name": case["id"], "why": case["title"], "pins": case["pins"]}
        cells.append(row | ({"as_of": case["as_of"]} if "as_of" in case else {}))
    content = {"schema": 1, "defaults": {"python": "3.11", "torch": "2.13.0"}, "cell": cells}
    (folder / table.FILE).write_text(tomlkit.dumps(content))
    matrix = table.load(folder)
    for case, cell in zip(cases, matrix.cells, strict=True):
        path = matrix.lock(cell)
        lock.write(cell, path)
        for name, version in case.get("forced", {}).items():
            text, count = re.subn(rf"(?m)^{name}==\S+", f"{name}=={version}", path.read_text())
            assert count == 1, f"{case['id']}: {name} is not in the lock"
            path.write_text(text)


def run(case: Case, scratch: Path) -> Record | None:
    own = {"TUNEMATRIX_CONSTRAINTS": str(scratch), "TUNEMATRIX_RESULTS": str(scratch / "results")}
    command = [sys.executable, "-m", "tunematrix", "run", case["id"], "--model", MODEL]
    subprocess.run(command, env={**os.environ, **own}, capture_output=True, check=False)
    return Store(scratch / "results").load(case["id"])


def wrong(case: Case, record: Record | None) -> Iterator[str]:
    """What is not as the case says."""
    if record is None:
        yield "left no record"
        return
    errors = dict(ledger.errors(record))
    if "stage" not in case:
        yield from (f"{part}: {error.line}" for part, error in errors.items())
    elif case["stage"] not in errors:
        yield f"{case['stage']} did not fail; failed: {', '.join(errors) or 'nothing'}"
    else:
        error = errors[case["stage"]]
        told = f"{error.type}: {error.message}\n{error.traceback}"
        if not re.search(case["error"], told, re.DOTALL):
            yield f"{case['stage']}: {error.line}, expected {case['error']}"


def main(arguments: list[str]) -> int:
    cases = chosen(arguments)
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), cases)
        with ThreadPoolExecutor(plan.degree(plan.cores(), plan.memory())) as pool:
            records = pool.map(lambda case: run(case, Path(scratch)), cases)
            for case, record in zip(cases, records, strict=True):
                lines = list(wrong(case, record))
                bad += bool(lines)
                print(
                    f"{'WRONG' if lines else 'as expected'}  {case['id']}: {case.get('stage', 'passes')}",
                    flush=True,
                )
                for line in lines:
                    print(f"    {line}")
    print(f"{len(cases) - bad} of {len(cases)} as expected")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
