"""What the history keeps of a run, and of what was found from one to another: no more than it reports.

Nothing of it changes when a record is reused or another ledger explains it, so that a run has one digest.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.base.record import BROKEN, Record, Result
from tunematrix.base.store import read_record
from tunematrix.shared.lines import one_line

MAX_TEXT: Final = 200
# Most of a record, and of the time to check it; none of it is kept.
NOT_KEPT: Final = (
    "fingerprint", "defaults", "signatures", "symbols", "renames", "call_sites", "warnings", "tried",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A stage, or a probe that failed or took several attempts; ``error`` is the type of its error."""

    name: str
    outcome: str
    attempts: int = 1
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of a cell; ``interruption`` is why it says nothing about the whole cell, empty if it does.

    ``options`` are those with which it does other work than runs without, such as ``depth quick``.
    """

    model: str
    cell: str
    started: str
    key: str
    lock: str
    outcome: str
    interruption: str = ""
    attempts: int = 1
    seconds: float = 0.0
    options: str = ""
    parts: tuple[Part, ...] = ()

    @classmethod
    def of(cls, record: Record) -> Run:
        """What the history keeps of ``record``: nothing that its reuse or another ledger would change."""
        probes = [probe for probe in record.probes if probe.outcome in BROKEN or probe.attempts > 1]
        parts = {part.name: part for part in map(_part, (*probes, *record.stages))}
        return cls(
            model=one_line(record.model.get("name", "")),
            cell=record.cell,
            started=record.started,
            key=_text(record.key),
            lock=record.lock.get("sha256", ""),
            outcome=record.outcome,
            interruption=_text(record.interruption.type) if record.interruption else "",
            attempts=_count(record.attempts),
            seconds=_seconds(record.seconds),
            options=_options(record),
            parts=tuple(parts[name] for name in sorted(parts)),
        )

    @property
    def digest(self) -> str:
        """The same for the same run, wherever its record lies; of two runs, never."""
        return _digest(self)


@lru_cache(maxsize=4096)  # it is needed several times: to find a run, and in each of its steps
def _digest(run: Run) -> str:
    # Without the options, which the first schema did not have: the key covers them.
    *values, _, parts = astuple(run)
    return hashlib.sha256(json.dumps([*values, parts]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """A finding of a step, as far as the history keeps it."""

    id: str
    severity: str
    title: str

    @classmethod
    def of(cls, name: str, severity: str, title: str) -> Noted:
        return cls(id=_text(name), severity=_text(severity), title=_text(title))


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What was found from a run of the cell that is compared with, ``before``, to a run of a cell."""

    run: Run
    before: Run
    answer: str
    findings: tuple[Noted, ...] = ()

    @property
    def started(self) -> str:
        """When both had run."""
        return max(self.run.started, self.before.started)


def _options(record: Record) -> str:
    """In words; a workload by its file or folder, so that an edit in it does not begin another history."""
    options, described = dict(record.options), record.workload
    digest, stages = options.pop("workload", ""), options.pop("stages", "")
    work = described.get("file") or described.get("folder") or stages or digest[:12]
    words = sorted(f"{name} {value}" for name, value in options.items())
    return _text(", ".join([*words, f"workload {work}"] if work else words))


def _part(result: Result) -> Part:
    return Part(
        name=_text(result.name),
        outcome=result.outcome,
        attempts=_count(result.attempts),
        seconds=_seconds(result.seconds),
        error=_text(result.error.type) if result.error else "",
    )


def _text(text: str) -> str:
    """``text`` as the database can hold it: one short line, without secrets."""
    return one_line(text)[:MAX_TEXT]


def _count(number: int) -> int:
    return min(number, 2**31)  # SQLite's integers have 63 bits, those of a record 64


def _seconds(seconds: float) -> float:
    return float(seconds) if math.isfinite(seconds) else 0.0


def read_run(path: Path, cell: str) -> Run:
    """What the history keeps of the record in the file ``path``, in a third of the time to read it whole.

    Raises ``UsageError`` if it is no record, not of ``cell``, or of no model.
    """
    return Run.of(check_owner(read_record(path, without=NOT_KEPT), path, cell))


def check_owner(record: Record, path: Path, cell: str) -> Record:
    """``record``, read from ``path``; raises ``UsageError`` if it is not of ``cell``, or names no model."""
    if record.cell != cell:
        raise UsageError(f"{path}: it is of cell {record.cell!r}, not of '{cell}'")
    if not record.model.get("name"):
        raise UsageError(f"{path}: it does not name its model")
    return record
