"""``nox -s cases``: known breakages fail as expected, working combinations pass, silent changes show.

Each combination in ``breakages.toml`` becomes a cell of a temporary matrix and runs with the tiny model like
any other cell. So does each side of a pair in ``drifts.toml``, and the two records are compared. Runs the
named cases, all with ``--all``, or by default those marked as sample. ``--into DIR`` keeps the matrix and its
records in DIR and reuses those already there.
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


def select_cases(arguments: argparse.Namespace) -> tuple[list[Case], list[Case]]:
    """The selected breakages and pairs; exits with an error message for an unknown id."""
    breakages, pairs = [
        tomllib.loads((HERE / file).read_text())[key]
        for file, key in (("breakages.toml", "case"), ("drifts.toml", "pair"))
    ]
    ids = {case["id"] for case in [*breakages, *pairs]}
    if unknown := set(arguments.ids) - ids:
        sys.exit(f"no case {', '.join(sorted(unknown))} in {HERE}")

    def is_selected(case: Case) -> bool:
        if arguments.all:
            return True
        return bool(case["id"] in arguments.ids if arguments.ids else case.get("sample"))

    return list(filter(is_selected, breakages)), list(filter(is_selected, pairs))


def cell_name(pins: Mapping[str, str]) -> str:
    """The name of the cell for one side of a pair."""
    return "pins-" + hashlib.sha256(json.dumps(pins, sort_keys=True).encode()).hexdigest()[:8]


def prepare(folder: Path, breakages: list[Case], pairs: list[Case]) -> list[str]:
    """Write the temporary matrix and its locks; returns the names of its cells."""
    cells = {
        case["id"]: {"name": case["id"], "pins": case["pins"]}
        | ({"as_of": case["as_of"]} if "as_of" in case else {})
        for case in breakages
    }
    for pair in pairs:
        for pins in (pair["before"], pair["after"]):
            cells[cell_name(pins)] = {"name": cell_name(pins), "pins": pins}
    content = {
        "schema": 1,
        "defaults": {"python": "3.11", "torch": "2.13.0"},
        "cell": list(cells.values()),
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
    return list(cells)


def run(cell: str, folder: Path) -> Record | None:
    settings = {"TUNEMATRIX_CONSTRAINTS": str(folder), "TUNEMATRIX_RESULTS": str(folder / "results")}
    command = [sys.executable, "-m", "tunematrix", "run", cell, "--model", MODEL]
    subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=False)
    return Store(folder / "results", MODEL).entry(cell).shown


def check_breakage(case: Case, records: Mapping[str, Record | None]) -> Iterator[str]:
    """The ways in which the record differs from what the case expects."""
    record = records[case["id"]]
    if record is None:
        yield "left no record"
        return
    errors = dict(ledger.errors(record))
    if "stage" not in case:
        yield from (f"{stage}: {error.one_line}" for stage, error in errors.items())
    elif case["stage"] not in errors:
        yield f"{case['stage']} did not fail; failed: {', '.join(errors) or 'nothing'}"
    else:
        error = errors[case["stage"]]
        text = f"{error.type}: {error.message}\n{error.traceback}"
        if not re.search(case["error"], text, re.DOTALL):
            yield f"{case['stage']}: {error.one_line}, expected {case['error']}"
    if "general" in case and not any(_faults(record, case["general"])):
        yield f"{case['general']} shows no fault"


def _faults(record: Record, pattern: str) -> Iterator[str]:
    """The measured fields, or the children that measure them, that match and show a fault."""
    for name, value in record.fingerprint.items():
        if fnmatchcase(name, pattern):
            raises = name.endswith("error") or "raises" in str(value)
            if raises or value is False or (name.endswith("difference") and value != 0):
                yield name
    yield from (probe.name for probe in record.probes if probe.failed and fnmatchcase(probe.name, pattern))


def check_drift(pair: Case, records: Mapping[str, Record | None]) -> Iterator[str]:
    """The fields that should show the change but do not.

    ``fields`` are of the measures for what people have met; ``general`` are those that show the change
    without them: what the surface lists, and what is measured by method. What one stack writes and another
    does not read has only these: each reads the same files of every generation.
    """
    before, after = (records[cell_name(pair[side])] for side in ("before", "after"))
    if before is None or after is None:
        yield "left no record"
        return
    names = [change.name for change in diff.compare(before, after).changes]
    for pattern in (*pair.get("fields", ()), *pair.get("general", ())):
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"{pattern} did not change ({len(names)} others did)"


def report(cases: Sequence[Case], check: Any, records: Mapping[str, Record | None]) -> int:
    """Print one line per case, and its problems if there are any; returns how many cases have some."""
    wrong = 0
    for case in cases:
        problems = list(check(case, records))
        wrong += bool(problems)
        fields = case.get("fields") or (["passes"] if "pins" in case else case["general"])
        expected = case.get("stage") or ", ".join(fields)
        print(f"{'WRONG' if problems else 'as expected'}  {case['id']}: {expected}", flush=True)
        for problem in problems:
            print(f"    {problem}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--into", type=Path)
    arguments = parser.parse_args()
    breakages, pairs = select_cases(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.into or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        names = prepare(folder, breakages, pairs)
        with ThreadPoolExecutor(plan.parallel_cells(plan.available_cores(), plan.total_memory())) as pool:
            records = dict(zip(names, pool.map(lambda name: run(name, folder), names), strict=True))
        wrong = report(breakages, check_breakage, records) + report(pairs, check_drift, records)
    faults = [case for case in (*breakages, *pairs) if "stage" in case or "before" in case]
    general = sum("general" in case for case in faults)
    print(f"{general} of {len(faults)} faults and changes show in a general measure")
    total = len(breakages) + len(pairs)
    print(f"{total - wrong} of {total} as expected")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
