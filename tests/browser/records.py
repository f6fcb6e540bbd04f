"""The page from real records of SmolLM2, and from a real exchange of ten cells."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunematrix.base.history import History
from tunematrix.base.record import Record, from_dict
from tunematrix.base.store import Entry
from tunematrix.locks import lock
from tunematrix.locks.table import Matrix
from tunematrix.report import summary as view
from tunematrix.report.page import heat
from tunematrix.report.page.render import render
from tunematrix.report.remember import remember
from tunematrix.report.rows import rows
from tunematrix.verdict import ledger, releases
from tunematrix.verdict.answer import Knowledge
from tunematrix.verdict.past import pasts

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data"


def record(cell: str, name: str) -> Record:
    content: dict[str, Any] = json.loads(gzip.decompress((DATA / f"upgrades/{name}.json.gz").read_bytes()))
    for stage in content["record"]["stages"]:
        if stage.get("error"):
            stage["error"]["traceback"] = "Traceback (most recent call last):\n  in align"
    return from_dict({**content["record"], "cell": cell, "lock": {}})


def write_page(folder: Path, matrix: Matrix, records: Mapping[str, Record]) -> Path:
    """``summary.html`` in ``folder``, of ``records`` by cell, with what this project knows."""
    loaded = Knowledge.load(ROOT / "constraints", today=datetime.date.min)
    # As in a repository without a ledger of its own: nobody expects these few cells to use every entry.
    known = dataclasses.replace(loaded, ledger=ledger.shipped())
    entries = {cell: Entry(record=each) for cell, each in records.items()}
    summary = view.Summary(model="smollm2-135m", rows=rows(matrix, entries, known), ledger=known.ledger)
    paths = {cell.name: matrix.lock_path(cell) for cell in matrix.cells}
    locks = {name: lock.read(path) for name, path in paths.items() if path.is_file()}
    for source in (DATA / "exchange").glob("*.json.gz"):
        target = folder / source.name.partition(".")[0] / heat.FILE
        target.parent.mkdir()
        target.write_bytes(gzip.decompress(source.read_bytes()))
    exchange = heat.load(heat.files(folder / "smollm2-135m"))
    history = History(folder)
    assert remember(history, summary.rows, entries) == ""
    past = pasts(*history.read(summary.model), [cell.name for cell in matrix.cells])
    summary = dataclasses.replace(summary, history=tuple(past))
    text = render(summary, locks, releases.load(), ledger.known(ROOT / "constraints"), exchange)
    path = folder / "summary.html"
    path.write_text(text, encoding="utf-8")
    return path
