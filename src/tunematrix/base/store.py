"""The results folder: one record per cell and model, and beside it a later run that did not end.

Writes are atomic, so a record stays until a complete newer one replaces it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock

from tunematrix.base.cells import has_cells
from tunematrix.base.errors import UsageError
from tunematrix.base.files import check_inside, write_atomic
from tunematrix.base.record import Record, from_dict, to_dict
from tunematrix.shared import reading
from tunematrix.shared.secrets import mask_all
from tunematrix.shared.stages import DEFAULT_MODEL

STATE: Final = ".tunematrix"
CANDIDATES: Final = "candidates"  # in the results folder: the locks and results of candidates
ENVIRONMENTS: Final = ".venvs"
HISTORY: Final = "history.sqlite"
# Files beside the records of cells; no cell may have such a name.
OTHER_FILES: Final = ("summary", "exchange", "interrupted", "partial", "previous", "running", "unreadable")
PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RESERVED_NAME: Final = re.compile(
    rf"{CANDIDATES}|history\.sqlite.*|.*\.(json|md|html|txt|lock)", re.IGNORECASE
)


def results_folder() -> Path:
    """``TUNEMATRIX_RESULTS``; by default ``results`` where there are cells, else ``.tunematrix``.

    A repository without cells may have results of its own in a folder of that name.
    """
    own = os.environ.get("TUNEMATRIX_CONSTRAINTS") or has_cells(Path("constraints"))
    return Path(os.environ.get("TUNEMATRIX_RESULTS") or ("results" if own else STATE))


def folder_name(model: str) -> str:
    """The name of a model's folder: ``org--name`` for ``org/name``. No two models have the same."""
    name = model.replace("/", "--")
    if PLAIN_NAME.fullmatch(name) and name.replace("--", "/") == model and not RESERVED_NAME.fullmatch(name):
        return name
    readable = re.sub(r"[^A-Za-z0-9]+", "-", model)[:60].strip("-")
    return f"{readable or 'model'}+{hashlib.sha256(model.encode(errors='surrogatepass')).hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a store has of one cell.

    ``record`` is the last complete record, ``interrupted`` a later run that says nothing about the whole
    cell, and ``problem`` why one of the two files cannot be read.
    """

    record: Record | None = None
    interrupted: Record | None = None
    previous: Record | None = None  # the complete record before ``record``
    problem: str = ""

    @property
    def shown(self) -> Record | None:
        """The complete record, or else what the interrupted run left."""
        return self.record or self.interrupted

    @property
    def last_used(self) -> str:
        """When the cell last ran; empty if it never did."""
        return max((record.last_used for record in (self.record, self.interrupted) if record), default="")


class Store:
    """The records of one model in a results folder, ``root``."""

    def __init__(self, root: Path | None = None, model: str = DEFAULT_MODEL) -> None:
        self.root = root or results_folder()
        self.model = model
        self.folder = self.root / folder_name(model)

    def path(self, cell: str) -> Path:
        return self.folder / f"{cell}.json"

    def interrupted_path(self, cell: str) -> Path:
        return self.cell_folder(cell) / "interrupted.json"

    def running_path(self, cell: str) -> Path:
        """The record that a run leaves if it is killed; it replaces it with its own at its end."""
        return self.cell_folder(cell) / "running.json"

    def cell_folder(self, cell: str) -> Path:
        """The folder of the cell's logs and kept artifacts."""
        return self.folder / cell

    def environment(self, cell: str) -> Path:
        """The virtual environment of a cell that nox did not make, shared by all models."""
        return self.root / ENVIRONMENTS / cell

    def save(self, record: Record) -> None:
        """Save the record of a run that just ended, under the model that it names.

        A run that was interrupted is saved beside the last complete record, which stays; a complete one
        replaces both.
        """
        store = Store(self.root, record.model.get("name") or self.model)
        interrupted = store.interrupted_path(record.cell)
        if not record.interruption and not record.reused:
            store._keep_previous(record)
        store.write(record, interrupted if record.interruption else store.path(record.cell))
        if not record.interruption:
            interrupted.unlink(missing_ok=True)

    def save_reuse(self, record: Record) -> None:
        """Save a record of which nothing is new but its reuse; to write it anew takes ten times as long."""
        path = self.path(record.cell)
        text = path.read_text(encoding="utf-8")
        for name, value in (("reused", record.reused), ("reused_at", record.reused_at)):
            line = re.compile(rf'^ "{name}": .*$', re.MULTILINE)  # as ``write`` lays a record out
            text, count = line.subn(f' "{name}": {json.dumps(value)},', text, count=1)
            if not count:
                self.save(record)
                return
        write_atomic(check_inside(path, self.root), text)
        self.interrupted_path(record.cell).unlink(missing_ok=True)

    def _keep_previous(self, record: Record) -> None:
        """Keep the record that ``record`` replaces, so that what is new since the last run can be shown.

        One that cannot be read is kept too: a newer release may have written it.
        """
        path = self.path(record.cell)
        if not path.is_file():
            return
        try:
            earlier = self._read_own(path, record.cell)
        except UsageError:
            aside = check_inside(self.cell_folder(record.cell) / "unreadable.json", self.root)
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.replace(aside)
            return
        if not earlier.interruption and earlier.started != record.started:
            self.write(earlier, self.previous_path(record.cell))

    def previous_path(self, cell: str) -> Path:
        return self.cell_folder(cell) / "previous.json"

    @contextmanager
    def running(self, record: Record) -> Iterator[None]:
        """Leave ``record`` behind if the process is killed in the block; needs the lock of the cell."""
        path = self.running_path(record.cell)
        self.write(record, path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def _was_killed(self, cell: str) -> bool:
        """Whether a run of the cell left its record and goes on no more."""
        if not self.running_path(cell).is_file():
            return False
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(self._lock_path(cell), timeout=0):
            return True
        return False

    def save_partial(self, record: Record) -> None:
        """Save a run of selected tests, which must not replace the record of the whole cell."""
        self.write(record, self.cell_folder(record.cell) / "partial.json")

    def add(self, record: Record) -> str:
        """Save a record from elsewhere if it may replace what is here; returns why it was left out."""
        store = Store(self.root, record.model.get("name") or self.model)
        with store.locked(record.cell):
            if reason := store.obstacle(record):
                return reason
            interrupted = store.entry(record.cell, previous=False).interrupted
            if interrupted and interrupted.last_used > record.last_used:
                store.write(record, store.path(record.cell))
            else:
                store.save(record)
        return ""

    def obstacle(self, record: Record) -> str:
        """Why ``record`` must not replace what this store has of its cell; empty if it may."""
        present = self.entry(record.cell, previous=False)
        if present.problem:  # it may be the record of a newer release
            return f"what is there cannot be read: {present.problem}"
        rivals = (present.record, present.interrupted) if record.interruption else (present.record,)
        for rival in rivals:
            if rival and to_dict(rival) == to_dict(record):
                return "already there"
            if rival and rival.last_used >= record.last_used:
                return f"not newer than the one there, of {rival.last_used or 'an unknown day'}"
        return ""

    def write(self, record: Record, path: Path) -> None:
        content = mask_all(to_dict(record))
        write_atomic(check_inside(path, self.root), json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def load(self, cell: str) -> Record | None:
        """The last complete record of a cell; None if there is none that can be read."""
        return self.entry(cell, previous=False).record

    def entry(self, cell: str, *, previous: bool = True) -> Entry:
        """What there is of a cell; a file that cannot be read is a problem, not an error.

        Without ``previous``, not the record before the last.
        """
        read, problems = [], []
        paths = [self.path(cell), self.interrupted_path(cell)]
        for path in [*paths, self.running_path(cell)] if self._was_killed(cell) else paths:
            if not os.path.lexists(path):
                continue
            try:
                read.append(self._read_own(path, cell))
            except UsageError as error:
                problems.append(str(error))
        # An older release, or a person, may have put an interrupted run where complete records are.
        complete = next((record for record in read if not record.interruption), None)
        interrupted = max(
            (record for record in read if record.interruption),
            key=lambda record: record.last_used,
            default=None,
        )
        if complete and interrupted and interrupted.last_used < complete.last_used:
            interrupted = None
        return Entry(
            record=complete,
            interrupted=interrupted,
            previous=self._previous(cell) if previous else None,
            problem="; ".join(problems),
        )

    def _previous(self, cell: str) -> Record | None:
        """The record before the last; one that cannot be read is no problem, since nothing depends on it."""
        with contextlib.suppress(UsageError):
            return self._read_own(self.previous_path(cell), cell)
        return None

    def _read_own(self, path: Path, cell: str) -> Record:
        record = read_record(path)
        model = record.model.get("name") or self.model
        if (record.cell, folder_name(model)) != (cell, self.folder.name):
            raise UsageError(
                f"{path}: is of cell '{record.cell}' and model '{model}'; move it where it belongs"
            )
        return record

    def cells(self) -> list[str]:
        """The cells with a record or an interrupted run."""
        names = {path.stem for path in self.folder.glob("*.json")}
        for name in ("interrupted.json", "running.json"):
            names |= {path.parent.name for path in self.folder.glob(f"*/{name}")}
        return sorted(name for name in names if name not in OTHER_FILES and not name.startswith("."))

    def last_used(self) -> str:
        """When a cell last ran or was reused; empty if that stands in no file.

        Reads no more of a record than this, because checking hundreds against the schema takes seconds.
        """
        paths = (path for cell in self.cells() for path in (self.path(cell), self.interrupted_path(cell)))
        return max(map(_last_used, paths), default="")

    def newest(self) -> Record | None:
        """A complete record of the cell that ran last; of a folder without one, that of the folder above."""
        paths = [path for path in self.folder.glob("*.json") if path.stem not in OTHER_FILES]
        if paths:
            return self.load(max(paths, key=lambda path: path.stat().st_mtime).stem)
        return Store(self.root.parent, self.model).newest() if self.root.name == CANDIDATES else None

    def records(self) -> Iterator[Record]:
        """The complete records that can be read."""
        yield from filter(None, map(self.load, self.cells()))

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock ``name``: a cell's name while it runs, ``summary`` while the summary is written.

        A lock covers all models, because they share the cell's environment.
        """
        make_root(self.root)
        with filelock.FileLock(self._lock_path(name)):
            yield

    def _lock_path(self, name: str) -> Path:
        return self.root / f".{name}.lock"


def make_root(root: Path) -> None:
    """Create the folder of the results, which git ignores: gigabytes that belong into no repository.

    One that people made and called so is theirs, and stays as it is.
    """
    ignore = root / ".gitignore"
    if not root.exists() or (root.name == STATE and not ignore.exists()):
        root.mkdir(parents=True, exist_ok=True)
        ignore.write_text("*\n")


def stores(root: Path) -> list[Store]:
    """A store for each model with results in ``root``; the model that ran last comes first."""
    found = list(filter(None, map(_store_of, sorted(root.glob("*/")))))
    return sorted(found, key=Store.last_used, reverse=True) if len(found) > 1 else found


def ran_last(store: Store) -> bool:
    """Whether the model of ``store`` ran last: the results folder has copies of its summary."""
    return next(iter(stores(store.root)), store).model == store.model


def _store_of(folder: Path) -> Store | None:
    """The store whose folder is ``folder``; None if that is not a model's, or empty."""
    if folder.name in (CANDIDATES, ENVIRONMENTS):
        return None
    candidates = [folder.name, folder.name.replace("--", "/")]
    for path in (*folder.glob("*.json"), *folder.glob("*/interrupted.json")) if "+" in folder.name else ():
        with contextlib.suppress(UsageError):
            candidates.append(read_record(path).model.get("name", ""))
    model = next((model for model in candidates if folder_name(model) == folder.name), None)
    return store if model is not None and (store := Store(folder.parent, model)).cells() else None


def _last_used(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            return max(
                text for key in ("started", "reused_at") if isinstance(text := content.get(key, ""), str)
            )
    return ""


def read_record(path: Path, without: Collection[str] = ()) -> Record:
    """The record in the file ``path``, of the shape of the schema; keys ``without`` are left out unchecked.

    Raises ``UsageError`` that names the file and what is wrong.
    """
    if not os.path.exists(path):  # noqa: PTH110  # Path.exists raises for a path that no file system can hold
        raise UsageError(f"{path}: no such record; run the cell first: nox -s 'e2e({path.stem})'")
    try:
        content = reading.parse_json(reading.read_text(path), f"{path}: not a record", allow_nan=True)
    except reading.UnreadableError as error:
        raise UsageError(str(error)) from None
    if without and isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in without}
    try:
        return from_dict(content)
    except ValueError as error:
        raise UsageError(f"{path}: not a record: {error}") from None
