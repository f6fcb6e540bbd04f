"""The history: a small database beside the results, of every run of every cell and what its step showed.

It holds what people ask about later and no whole records: those stay the truth, and are read again by
``tunematrix history --import``. docs/history.md describes the tables.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Final

from tunematrix.base.errors import InfrastructureError, TunematrixError, UsageError
from tunematrix.base.files import check_inside
from tunematrix.base.runs import Noted, Part, Run, Step
from tunematrix.base.store import HISTORY, make_root
from tunematrix.shared.lines import one_line

SCHEMA: Final = 2
APPLICATION: Final = 0x74756E65  # "tune", by which another program's database is recognised
MAGIC: Final = b"SQLite format 3\0"
BUSY_SECONDS: Final = 60.0  # to wait for another process that writes
REBUILD: Final = "tunematrix history --import"
# Errors of the machine, after which the file is as it was; all others mean that the file is damaged.
MACHINE: Final = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)
TABLES: Final = """
CREATE TABLE run (
  id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, model TEXT NOT NULL, cell TEXT NOT NULL,
  started TEXT NOT NULL, key TEXT NOT NULL, lock TEXT NOT NULL, outcome TEXT NOT NULL,
  interruption TEXT NOT NULL, attempts INTEGER NOT NULL, seconds REAL NOT NULL,
  options TEXT NOT NULL DEFAULT ''
);
CREATE INDEX run_of_cell ON run (model, cell, started);
CREATE TABLE part (
  run INTEGER NOT NULL REFERENCES run, name TEXT NOT NULL, outcome TEXT NOT NULL, attempts INTEGER NOT NULL,
  seconds REAL NOT NULL, error TEXT NOT NULL, PRIMARY KEY (run, name)
) WITHOUT ROWID;
CREATE TABLE step (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, before INTEGER NOT NULL REFERENCES run,
  answer TEXT NOT NULL, UNIQUE (run, before)
);
CREATE TABLE finding (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
  UNIQUE (name, severity, title)
);
CREATE TABLE step_finding (
  step INTEGER NOT NULL REFERENCES step, finding INTEGER NOT NULL REFERENCES finding,
  PRIMARY KEY (step, finding)
) WITHOUT ROWID;
"""
# By the schema that it brings up to the next one.
MIGRATIONS: Final = {1: "ALTER TABLE run ADD COLUMN options TEXT NOT NULL DEFAULT ''"}
OLDER_RUNS: Final = "SELECT *, '' FROM run WHERE model = ? ORDER BY started, digest"


class History:
    """The history of a results folder, ``root``; the file is made by the first ``append``.

    Each method raises ``UsageError`` for a file that is damaged, of another program or of a newer release,
    which stays as it is, and ``InfrastructureError`` if the machine does not let it be read or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / HISTORY

    def append(self, runs: Iterable[Run], steps: Iterable[Step] = ()) -> int:
        """Add what is not there yet, all or nothing; returns the number of new runs.

        A step that was judged otherwise before is replaced. Several processes may append at a time.
        """
        with self._open(write=True) as database:
            (before,) = database.execute("SELECT count(*) FROM run").fetchone()
            for run in runs:
                _add_run(database, run)
            for step in steps:
                _add_step(database, step)
            (after,) = database.execute("SELECT count(*) FROM run").fetchone()
        return int(after) - int(before)

    def read(self, model: str) -> tuple[list[Run], list[Step]]:
        """The runs with a model and the steps between them, each in the order of their start."""
        with self._open(write=False) as database:
            try:
                runs = _runs(database, one_line(model))
                return list(runs.values()), _steps(database, runs)
            except (TypeError, ValueError) as error:  # another type than that of the column
                raise self._damaged(str(error)) from None

    def models(self) -> list[str]:
        """The models with runs; that of the last one first."""
        query = "SELECT model FROM run GROUP BY model ORDER BY max(started) DESC, model"
        with self._open(write=False) as database:
            return [str(model) for (model,) in database.execute(query)]

    def judged(self) -> set[tuple[str, str]]:
        """The steps that are there, by the digests of the run and of the one before."""
        query = "SELECT run.digest, r.digest FROM step JOIN run ON run.id = run JOIN run r ON r.id = before"
        with self._open(write=False) as database:
            return {(str(run), str(before)) for run, before in database.execute(query)}

    @contextmanager
    def _open(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """The database, in one transaction; ``write`` makes it if there is none."""
        check_inside(self.path, self.root)
        if not (self.path.exists() or write):
            raise self._missing()
        try:
            if write:
                make_root(self.root)
            if self.path.exists():
                self._check_header()
            # To read, it is opened for writing too: SQLite may have to undo what a killed process began.
            uri = f"{self.path.absolute().as_uri()}?mode={'rwc' if write else 'rw'}"
            connect = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            with closing(connect) as database:
                database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                self._check(database, write=write)
                yield database
                database.execute("COMMIT")  # an error closes the connection, which undoes everything
        except sqlite3.Error as error:
            raise self._explain(error) from None
        except UnicodeDecodeError as error:  # in a message of SQLite about a damaged file
            raise self._damaged(str(error)) from None
        except OSError as error:
            raise InfrastructureError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _check_header(self) -> None:
        """Refuse what is no database: SQLite takes a text of less than a page for an empty one."""
        if not self.path.is_file():
            raise self._damaged("it is no regular file")
        with self.path.open("rb") as stream:
            start = stream.read(len(MAGIC))
        if start not in (b"", MAGIC):
            raise self._damaged("file is not a database")

    def _check(self, database: sqlite3.Connection, *, write: bool) -> None:
        """Refuse what is no history, or of a newer schema; to write, make or update its tables."""
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (version, application, tables) == (0, 0, 0):
            if not write:
                raise self._missing()
            for statement in filter(str.strip, TABLES.split(";")):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            return
        if application != APPLICATION:
            raise self._damaged("it is a database of another program")
        if version > SCHEMA:
            raise UsageError(
                f"{self.path}: written by a newer tunematrix: its schema is {version}, this release reads "
                f"{SCHEMA}; update tunematrix, or move the file away and type: {REBUILD}"
            )
        (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if version < 1 or state != "ok":
            raise self._damaged(one_line(str(state)) if state != "ok" else f"its schema is {version}")
        if write and version < SCHEMA:
            for schema in range(version, SCHEMA):
                database.execute(MIGRATIONS[schema])
            database.execute(f"PRAGMA user_version = {SCHEMA}")

    def _explain(self, error: sqlite3.Error) -> TunematrixError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in MACHINE:
            return InfrastructureError(
                f"{self.path}: cannot be read or written: {error}; no record is affected; make room, or the "
                f"folder writable, then type: {REBUILD}"
            )
        return self._damaged(str(error))

    def _damaged(self, why: str) -> UsageError:
        return UsageError(
            f"{self.path}: not a history that can be read: {why}; move it away, or put a copy of it back, "
            f"then type: {REBUILD}"
        )

    def _missing(self) -> UsageError:
        return UsageError(f"{self.path}: no history yet; run a cell, or read the records in: {REBUILD}")


def _add_run(database: sqlite3.Connection, run: Run) -> int:
    """The id of the run, added if it is not there."""
    if run.options and run.key:
        # Those of the first schema did not say theirs; runs of one key have the same.
        query = "UPDATE run SET options = ? WHERE (model, cell, key, options) = (?, ?, ?, '')"
        database.execute(query, [run.options, run.model, run.cell, run.key])
    found = database.execute("SELECT id FROM run WHERE digest = ?", [run.digest]).fetchone()
    if found:
        return int(found[0])
    values = [run.digest, *astuple(run)[:-1]]
    row = database.execute("INSERT INTO run VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values).lastrowid
    parts = ([row, *astuple(part)] for part in run.parts)
    database.executemany("INSERT INTO part VALUES (?, ?, ?, ?, ?, ?)", parts)
    return int(row or 0)


def _add_step(database: sqlite3.Connection, step: Step) -> None:
    key = [_add_run(database, step.run), _add_run(database, step.before)]
    findings = {_add_finding(database, finding) for finding in step.findings}
    found = database.execute("SELECT id, answer FROM step WHERE run = ? AND before = ?", key).fetchone()
    if found:
        query = "SELECT finding FROM step_finding WHERE step = ?"
        known = {finding for (finding,) in database.execute(query, [found[0]])}
        if (known, found[1]) == (findings, step.answer):
            return
        database.execute("DELETE FROM step_finding WHERE step = ?", [found[0]])
        database.execute("DELETE FROM step WHERE id = ?", [found[0]])
    row = database.execute("INSERT INTO step VALUES (NULL, ?, ?, ?)", [*key, step.answer]).lastrowid
    pairs = ((row, finding) for finding in sorted(findings))
    database.executemany("INSERT INTO step_finding VALUES (?, ?)", pairs)


def _add_finding(database: sqlite3.Connection, finding: Noted) -> int:
    query = "SELECT id FROM finding WHERE (name, severity, title) = (?, ?, ?)"
    found = database.execute(query, astuple(finding)).fetchone()
    if found:
        return int(found[0])
    row = database.execute("INSERT INTO finding VALUES (NULL, ?, ?, ?)", astuple(finding)).lastrowid
    return int(row or 0)


def _runs(database: sqlite3.Connection, model: str) -> dict[int, Run]:
    parts: dict[int, list[Part]] = {}
    query = "SELECT part.* FROM part JOIN run ON run.id = run WHERE model = ? ORDER BY run, part.name"
    for run, name, outcome, attempts, seconds, error in database.execute(query, [model]):
        part = Part(
            name=str(name),
            outcome=str(outcome),
            attempts=int(attempts),
            seconds=float(seconds),
            error=str(error),
        )
        parts.setdefault(run, []).append(part)
    (schema,) = database.execute("PRAGMA user_version").fetchone()
    # To read, the file may lie in a folder that cannot be written: an older one is read as it is.
    query = OLDER_RUNS if schema == 1 else "SELECT * FROM run WHERE model = ? ORDER BY started, digest"
    return {
        row: Run(
            **dict(zip(("model", "cell", "started", "key", "lock", "outcome"), map(str, texts), strict=True)),
            interruption=str(interruption),
            attempts=int(attempts),
            seconds=float(seconds),
            options=str(options),
            parts=tuple(parts.get(row, ())),
        )
        for row, _, *texts, interruption, attempts, seconds, options in database.execute(query, [model])
    }


def _steps(database: sqlite3.Connection, runs: dict[int, Run]) -> list[Step]:
    """The steps between ``runs``; one of a run with another model is none."""
    findings: dict[int, list[Noted]] = {}
    query = "SELECT step, name, severity, title FROM step_finding JOIN finding ON id = finding ORDER BY name"
    for step, *texts in database.execute(query):
        findings.setdefault(step, []).append(Noted.of(*map(str, texts)))
    steps = [
        Step(run=runs[run], before=runs[before], answer=str(answer), findings=tuple(findings.get(row, ())))
        for row, run, before, answer in database.execute("SELECT * FROM step")
        if run in runs and before in runs
    ]
    return sorted(steps, key=lambda step: (step.started, step.run.started, step.run.digest))
