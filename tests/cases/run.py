"""``nox -s cases``: known breakages break as known, what works passes, and silent changes are seen.

Each combination of ``breakages.toml`` becomes a cell of a scratch matrix and is run like any other, with
the tiny model; of ``drifts.toml`` both sides of each pair, and their records are compared. Named cases,
``--all``, or those marked as the sample; ``--into DIR`` keeps the scratch matrix and its records there, and
goes on with what it finds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import tomlkit

from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.cli import plan
from tunematrix.locks import lock, table
from tunematrix.verdict import diff, ledger

HERE: Final = Path(__file__).parent
MODEL: Final = "tiny-gpt2"
Case = dict[str, Any]


def chosen(arguments: argparse.Namespace) -> tuple[list[Case], list[Case]]:
    """The breakages and the pairs asked for; exits with 2 for a name that there is not."""
    found = [
        tomllib.loads((HERE / file).read_text())[key]
        for file, key in (("breakages.toml", "case"), ("drifts.toml", "pair"))
    ]
    names = {case["id"] for cases in found for case in cases}
    if unknown := set(arguments.ids) - names:
        sys.exit(f"no case {', '.join(sorted(unknown))} in {HERE}")

    def wanted(case: Case) -> bool:
        if arguments.all:
            return True
        return bool(case["id"] in arguments.ids if arguments.ids else case.get("sample"))

    breakages, pairs = ([case for case in cases if wanted(case)] for cases in found)
    return breakages, pairs


def cell_of(pins: Mapping[str, str]) -> str:
    """The name of a combination that has none of its own."""
    return "pins-" + hashlib.sha256(json.dumps(pins, sort_keys=True).encode()).hexdigest()[:8]


def prepare(folder: Path, breakages: list[Case], pairs: list[Case]) -> list[str]:
    """Write the scratch matrix and its locks; returns the names of its cells."""
    rows = {
        case["id"]: {"name": case["id"], "pins": case["pins"]}
        | ({"as_of": case["as_of"]} if "as_of" in case else {})
        for case in breakages
    }
    for pair in pairs:
        for pins in (pair["before"], pair["after"]):
            rows[cell_of(pins)] = {"name": cell_of(pins), "pins": pins}
    content = {
        "schema": 1,
        "defaults": {"python": "3.11", "torch": "2.13.0"},
        "cell": list(rows.values()),
    }
    (folder / table.FILE).write_text(tomlkit.dumps(content))
    matrix = table.load(folder)
    forced = {case["id"]: case.get("forced", {}) for case in breakages}
    for cell in matrix.cells:
        path = matrix.lock_path(cell)
        if not path.is_file():
            lock.write(cell, path)
        for name, version in forced.get(cell.name, {}).items():
            text, count = re.subn(rf"(?m)^{name}==\S+", f"{name}=={version}", path.read_text())
            assert count == 1, f"{cell.name}: {name} is not in the lock"
            path.write_text(text)
    return list(rows)


def run(cell: str, scratch: Path) -> Record | None:
    own = {"TUNEMATRIX_CONSTRAINTS": str(scratch), "TUNEMATRIX_RESULTS": str(scratch / "results")}
    command = [sys.executable, "-m", "tunematrix", "run", cell, "--model", MODEL]
    subprocess.run(command, env={**os.environ, **own}, capture_output=True, check=False)
    return Store(scratch / "results").load(cell)


def broken(case: Case, records: Mapping[str, Record | None]) -> Iterator[str]:
    """What is not as the case says."""
    record = records[case["id"]]
    if record is None:
        yield "left no record"
        return
    errors = dict(ledger.errors(record))
    if "stage" not in case:
        yield from (f"{part}: {error.one_line}" for part, error in errors.items())
    elif case["stage"] not in errors:
        yield f"{case['stage']} did not fail; failed: {', '.join(errors) or 'nothing'}"
    else:
        error = errors[case["stage"]]
        told = f"{error.type}: {error.message}\n{error.traceback}"
        if not re.search(case["error"], told, re.DOTALL):
            yield f"{case['stage']}: {error.one_line}, expected {case['error']}"


def unseen(pair: Case, records: Mapping[str, Record | None]) -> Iterator[str]:
    """The fields that ought to show the change and do not."""
    before, after = (records[cell_of(pair[side])] for side in ("before", "after"))
    if before is None or after is None:
        yield "left no record"
        return
    names = [change.name for change in diff.compare(before, after).changes]
    for pattern in pair["fields"]:
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"{pattern} did not change ({len(names)} others did)"


def told(cases: Sequence[Case], check: Any, records: Mapping[str, Record | None]) -> int:
    """Print a line for each case, and why it is wrong; returns how many are."""
    bad = 0
    for case in cases:
        lines = list(check(case, records))
        bad += bool(lines)
        what = case.get("stage") or ", ".join(case.get("fields", ["passes"]))
        print(f"{'WRONG' if lines else 'as expected'}  {case['id']}: {what}", flush=True)
        for line in lines:
            print(f"    {line}")
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    breakages, pairs = chosen(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = (arguments.into or Path(temporary)).resolve()
        scratch.mkdir(parents=True, exist_ok=True)
        names = prepare(scratch, breakages, pairs)
        with ThreadPoolExecutor(plan.parallel_cells(plan.available_cores(), plan.total_memory())) as pool:
            records = dict(zip(names, pool.map(lambda name: run(name, scratch), names), strict=True))
        bad = told(breakages, broken, records) + told(pairs, unseen, records)
    total = len(breakages) + len(pairs)
    print(f"{total - bad} of {total} as expected")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
