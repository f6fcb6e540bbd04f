"""The results folder. Writes are atomic, so a record stays until a complete newer one replaces it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record, from_dict, to_dict


def results_folder() -> Path:
    """``TUNEMATRIX_RESULTS``, by default ``results`` in the current folder."""
    return Path(os.environ.get("TUNEMATRIX_RESULTS") or "results")


class Store:
    """The records of one results folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or results_folder()

    def path(self, cell: str) -> Path:
        return self.folder / f"{cell}.json"

    def cell_folder(self, cell: str) -> Path:
        """The folder of the cell's environment, logs and kept artifacts."""
        return self.folder / cell

    def save(self, record: Record, path: Path | None = None) -> None:
        text = json.dumps(to_dict(record), indent=1, ensure_ascii=False) + "\n"
        write_atomic(path or self.path(record.cell), text)

    def load(self, cell: str) -> Record | None:
        """The cell's record; None if the file is missing or not a record."""
        try:
            return read_record(self.path(cell))
        except UsageError:
            return None

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock ``name``: a cell's name while it runs, ``summary`` while the summary is written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.folder / f".{name}.lock"):
            yield


def read_record(path: Path) -> Record:
    """The record in the file ``path``; raises ``UsageError`` if it is missing or not a record."""
    try:
        return from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such record; run the cell first: nox -s 'e2e({path.stem})'") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: not a record: {error}") from None
