"""Moves the results of older releases, which kept one record per cell, to one per cell and model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.base.files import check_inside
from tunematrix.base.store import CANDIDATES, OTHER_FILES, Store, read_record

CELL_FILES: Final = ("log.txt", "report.jsonl", "partial.json", "run", "artifacts")
LOCK: Final = "_layout"  # no cell has this name


def migrate(root: Path) -> list[str]:
    """Move old results in ``root`` and its candidates; returns what stays where it is and why, a line each.

    Nothing is deleted, and no newer record replaced. Killed in the middle, the next call completes it.
    """
    notes = []
    for folder in (root, root / CANDIDATES):
        if any(_old_records(folder)) or any(_old_environments(folder)):
            with Store(folder).locked(LOCK):
                for environment in _old_environments(folder):
                    _move_environment(environment, folder)
                notes += [note for path in _old_records(folder) if (note := _move_cell(path, folder))]
    return notes


def _old_records(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*.json")):
        if path.is_file() and path.stem not in OTHER_FILES and not path.name.startswith("."):
            yield path


def _old_environments(folder: Path) -> Iterator[Path]:
    yield from (path.parent for path in sorted(folder.glob("*/venv/pyvenv.cfg")))


def _move_environment(environment: Path, root: Path) -> None:
    store, cell = Store(root), environment.parent.name
    with store.locked(cell):
        _move(environment, store.environment(cell), root)


def _move_cell(path: Path, root: Path) -> str:
    """Move a record and the files of its cell; returns why it stays, or nothing."""
    try:
        record = read_record(path)
    except UsageError as error:
        return f"{error}; left where it is"
    if record.cell != path.stem or not record.model.get("name"):
        return f"{path}: names another cell or no model; left where it is"
    store = Store(root, record.model["name"])
    target = store.interrupted_path(record.cell) if record.interruption else store.path(record.cell)
    with store.locked(record.cell):
        if reason := store.obstacle(record):
            return f"{path}: left where it is; {store.folder}: {reason}"
        for name in CELL_FILES:
            _move(root / record.cell / name, store.cell_folder(record.cell) / name, root)
        check_inside(target, root).parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        with contextlib.suppress(OSError):
            (root / record.cell).rmdir()
    return ""


def _move(source: Path, target: Path, root: Path) -> None:
    """Rename ``source`` to ``target``, unless there is no such source or already a target."""
    if source.exists() and not target.exists():
        check_inside(target, root).parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
