"""``badge``: the state of the matrix, a cell or a lock as a picture for a README."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.store import CANDIDATES, Store
from tunematrix.cli.results import MODEL, open_store
from tunematrix.cli.upgrade import check_writable
from tunematrix.locks import table
from tunematrix.locks.table import Matrix
from tunematrix.report import badge as badges
from tunematrix.report.write import summarize
from tunematrix.shared import reading
from tunematrix.shared.output import print_lines
from tunematrix.verdict import ledger

PATH = click.Path(path_type=Path)
RUN = "tunematrix upgrade --against FILE"


@click.command("badge")
@click.argument("name", metavar="[CELL | LOCKFILE]", required=False)
@click.option("--svg", "picture", type=PATH, metavar="FILE", help="Write the badge as an SVG.")
@click.option("--json", "endpoint", type=PATH, metavar="FILE", help="Write JSON for the endpoint of shields.")
@click.option("--label", help="The text on the left. Default: tunematrix, the cell, or the name of the lock.")
@MODEL
def badge_command(
    name: str | None, *, picture: Path | None, endpoint: Path | None, label: str | None, model: str | None
) -> None:
    """Print how many cells pass, or the state of a cell or of a lock, and write it as a badge.

    The record of a lock is found by its checksum. What has not run is "not tested", never a pass; the badge
    is written all the same.
    """
    for option, path in (("--svg", picture), ("--json", endpoint)):
        check_writable(option, path)
    badge = _badge(name, label, table.load(), open_store(model))
    if picture:
        write_atomic(picture, badges.svg(badge))
    if endpoint:
        write_atomic(endpoint, json.dumps(badges.endpoint(badge), ensure_ascii=False) + "\n")
    print_lines([f"{badge.label}: {badge.message}"])


def _badge(name: str | None, label: str | None, matrix: Matrix, store: Store) -> badges.Badge:
    if name is None:
        return badges.of_matrix(summarize(matrix, store)[0].rows, label or "tunematrix")
    if name not in {cell.name for cell in matrix.cells} and reading.is_file(name):
        path = reading.expand_path(name)
        record = _record_of_lock(path, store)
        if record is None:
            print_lines([f"{path}: no record of this lock with {store.model}; run it: {RUN}"], err=True)
        return badges.of_record(record, ledger.load(matrix.folder), label or path.name)
    try:
        cell = matrix.cell(name)
    except UsageError as error:
        raise UsageError(f"{error}; name a cell, or a lock file that is there") from None
    row = next(row for row in summarize(matrix, store)[0].rows if row.cell == cell.name)
    return badges.of_cell(row, label or cell.name)


def _record_of_lock(path: Path, store: Store) -> Record | None:
    """The last record, also of a candidate, whose lock has the bytes of the file ``path``."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    matches = [record for record in _records(store) if record.lock.get("sha256") == digest]
    return max(matches, key=lambda record: record.last_used, default=None)


def _records(store: Store) -> Iterator[Record]:
    """The last runs of all cells and candidates with a model, also those that were cut off."""
    for each in (store, Store(store.root / CANDIDATES, store.model)):
        for entry in map(each.entry, each.cells()):
            yield from (record for record in (entry.record, entry.interrupted) if record)
