"""``nox -s planted``: each fault of ``planted.toml``, planted into the newest stack, becomes a finding.

Runs the cell ``latest`` in an environment of its own, as it is and with one fault at a time, and compares.
The special measures do not know these faults; what sees them is the general ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks import table
from tunematrix.verdict.answer import Knowledge, judge

CELL: Final = "latest"
MODEL: Final = "tiny-gpt2"
FAULTS: Final = Path(__file__).with_name("planted.toml")


def run(venv: Path, results: Path) -> Record:
    command = [
        sys.executable,
        "-m",
        "tunematrix",
        "run",
        CELL,
        "--model",
        MODEL,
        "--venv",
        str(venv),
        "--rerun",
    ]
    variables = {**os.environ, "TUNEMATRIX_RESULTS": str(results)}
    process = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    record = Store(results, MODEL).load(CELL)
    if record is None:
        sys.exit(f"{CELL} left no record:\n{process.stdout}{process.stderr}")
    return record


@contextmanager
def planted(venv: Path, fault: dict[str, str]) -> Iterator[None]:
    """The fault in the environment; its file is replaced, because it is a link into uv's cache."""
    [path] = venv.glob(f"lib/python*/site-packages/{fault['file']}")
    text = path.read_text()
    if fault["old"] not in text:
        sys.exit(f"{fault['id']}: {path} has no {fault['old']!r}; find its place in this release")
    _replace(path, text.replace(fault["old"], fault["new"]))
    try:
        yield
    finally:
        _replace(path, text)


def _replace(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ids", nargs="*", metavar="ID")
    chosen = parser.parse_args().ids
    faults = [
        fault for fault in tomllib.loads(FAULTS.read_text())["fault"] if not chosen or fault["id"] in chosen
    ]
    missed = 0
    with tempfile.TemporaryDirectory() as scratch:
        venv, results = Path(scratch) / "venv", Path(scratch) / "results"
        known = Knowledge.load(table.constraints_folder())
        before = run(venv, results)
        for fault in faults:
            with planted(venv, fault):
                findings = judge(before, run(venv, results), known).findings
            found = [
                finding
                for finding in findings
                if finding.severity == fault["severity"]
                and any(fnmatchcase(name, fault["field"]) for name in finding.fields)
            ]
            missed += not found
            print(
                f"{'seen  ' if found else 'MISSED'}  {fault['id']}: {fault['severity']} {fault['field']}",
                flush=True,
            )
            for finding in (found or findings)[:6]:
                print(f"        {finding.severity}: {finding.title}")
    print(f"{len(faults) - missed} of {len(faults)} seen")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
