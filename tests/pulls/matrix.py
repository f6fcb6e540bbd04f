"""Planted results of the matrix: three cells with records, and the commands that act on them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Store
from tunematrix.cli.main import main
from tunematrix.shared.stages import STAGES

CELLS = ("old", "new", "latest")
MODEL = "tiny-gpt2"
PACKAGES = {"transformers": "5.1.0", "peft": "0.20.0", "trl": "1.16.0"}
TABLE = "".join(
    f'[[cell]]\nname = "{name}"\npins = {{transformers = "5.1.0", peft = "0.20.0", trl = "1.16.0"}}\n'
    for name in CELLS
)


def record(cell: str, day: int = 1, **errors: str) -> Record:
    """A record of a day of November 2026; ``errors`` are messages by stage."""

    def result(name: str) -> Result:
        message = errors.get(name.replace("-", "_"))
        error = Failure(type="KeyError", message=message, where=f"trl/x.py:{day}") if message else None
        return Result(name=name, outcome="failed" if message else "passed", error=error)

    return Record(
        cell=cell,
        outcome="failed" if errors else "passed",
        started=f"2026-11-{day:02}T03:17:00Z",
        seconds=20,
        model={"name": MODEL},
        environment={"packages": dict(PACKAGES)},
        stages=tuple(map(result, STAGES)),
    )


def stage(record: Record, name: str, **changes: Any) -> Record:
    stages = tuple(replace(each, **changes) if each.name == name else each for each in record.stages)
    return replace(record, stages=stages)


def write_table(ledger: str = "") -> None:
    Path("constraints").mkdir(exist_ok=True)
    Path("constraints/matrix.toml").write_text(f"schema = 1\n{TABLE}")
    Path("constraints/known-issues.toml").write_text(f"schema = 1\n{ledger}")
    Path("constraints/known-changes.toml").write_text("schema = 1\n")


def tunematrix(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return int(exit_.value.code or 0)


def act(*records: Record, options: tuple[str, ...] = ()) -> int:
    """Run ``ci issues`` on these records; those cells have passed that none is of."""
    write_table(Path("constraints/known-issues.toml").read_text().partition("\n")[2] if _has_table() else "")
    names = {record.cell for record in records}
    return only(*records, *(record(cell) for cell in CELLS if cell not in names), options=options)


def _has_table() -> bool:
    return Path("constraints/known-issues.toml").exists()


def only(*records: Record, options: tuple[str, ...] = ()) -> int:
    """As ``act``, but cells that none of the records is of have none."""
    shutil.rmtree("results", ignore_errors=True)
    for each in records:
        Store(Path("results"), MODEL).save(each)
    return tunematrix("ci", "issues", "--model", MODEL, *options)


def entry(body: str) -> str:
    """What an issue says to add to the ledger, with cause and fix written."""
    (text,) = re.findall(r"```\n(\[\[issue\]\].*?)\n```", body, re.DOTALL)
    return str(text)
