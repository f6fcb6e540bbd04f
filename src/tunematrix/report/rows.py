"""The rows of a summary: one for each cell of the matrix, whatever the results folder has of it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.base.record import BROKEN, FAILED_OUTCOMES, UNTESTABLE, Failure, Record, stage_names
from tunematrix.base.store import Entry
from tunematrix.locks import neighbours
from tunematrix.locks.table import CORE, Cell, Matrix
from tunematrix.run import outdated
from tunematrix.run.outdated import Current, Reader
from tunematrix.verdict import diff
from tunematrix.verdict.answer import SAFE, Judgement, Knowledge, judge
from tunematrix.verdict.failures import kind_of
from tunematrix.verdict.ledger import PROBE, Issue, Ledger, errors

PACKAGES: Final = (*CORE, "accelerate", "datasets", "huggingface-hub", "tokenizers", "numpy", "torch")
INTERRUPTED: Final = "interrupted"  # the state of a cell whose last run the machine ended
# The types of notes, which are no failures of a cell.
NO_RECORD: Final = "no record"
UNREADABLE: Final = "unreadable"
OTHER_LOCK: Final = "other lock"
OUTDATED: Final = "outdated"  # also the word for a stage whose command has changed since it ran
NOTES: Final = (NO_RECORD, UNREADABLE, OTHER_LOCK, OUTDATED, INTERRUPTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One root cause, and the stages that fail because of it."""

    stages: tuple[str, ...]
    error: Failure
    issue: Issue | None = None

    @property
    def is_note(self) -> bool:
        return self.error.type in NOTES

    @property
    def kind(self) -> str:
        """The kind of failure from ``verdict.failures``; empty for a note."""
        return "" if self.is_note else kind_of(self.stages, self.error)

    @property
    def line(self) -> str:
        """The stages, the kind of failure and the error, in one line."""
        stages = f"{', '.join(self.stages)} " if self.stages else ""
        if self.issue:
            return f"{stages}[known: {self.issue.id}]: {self.issue.cause}; fix: {self.issue.fix}"
        return f"{stages}[{self.kind}]: {self.error.one_line}" if self.kind else self.error.one_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One cell of the summary; ``record`` is None if the cell has none for this model that can be read.

    ``judgement`` is of the step from the cell ``compared_with``, ``news`` of that from its own last run;
    ``current`` is the record as far as its work is still what its workload lists, and ``record`` that of it;
    ``group`` is the part of the table it belongs to; ``known_issues`` maps failed stages, failed probes and
    moved numbers to the issues that explain them. ``state`` is the outcome of the last run, ``known`` if the
    ledger explains all its failures, ``interrupted`` if the machine ended it, or ``outdated`` if a stage has
    not run as its workload lists it. ``notes`` say why the record is missing, old, or of another lock or
    workload.
    """

    cell: str
    record: Record | None
    versions: Mapping[str, str]
    judgement: Judgement
    compared_with: str | None
    group: str = "diagonal"
    news: Judgement | None = None
    known_issues: Mapping[str, Issue] = field(default_factory=dict)
    state: str = "unknown"
    notes: tuple[Failure, ...] = ()
    interrupted: Record | None = None
    current: Current | None = None

    @classmethod
    def from_record(cls, record: Record, ledger: Ledger) -> Row:
        """A row for the record of a run that just ended, compared with itself."""
        return cls(
            cell=record.cell,
            record=record,
            versions={},
            judgement=Judgement(answer=SAFE, diff=diff.compare(record, record)),
            compared_with=None,
            known_issues=ledger.known_issues(record),
            state=_state(Entry(record=record), None, ledger),
            interrupted=record if record.interruption else None,
        )

    @property
    def comparison(self) -> diff.Diff:
        return self.judgement.diff

    @property
    def outcome(self) -> str:
        return self.record.outcome if self.record else "unknown"

    @property
    def title(self) -> str:
        """The name of the cell, with a mark if the record is not what it seems."""
        return f"{self.cell} *" if self.record and self.notes else self.cell

    @property
    def reasons(self) -> list[Reason]:
        """The notes, then why the cell did not pass, one entry per root cause."""
        notes = [Reason(stages=(), error=note) for note in self.notes]
        return notes + (reasons(self.record, self.known_issues) if self.record else [])

    def displayed_outcomes(self, names: Sequence[str]) -> list[str]:
        """A word for each stage of ``names``: its outcome, ``known``, or the state of the cell."""
        if self.outcome in UNTESTABLE:
            return [self.state] * len(names)
        return ["known" if name in self.known_issues else self._displayed(name) for name in names]

    def _displayed(self, name: str) -> str:
        if self.current and name in self.current.changed:
            return OUTDATED
        return "unknown" if self.current and name in self.current.new else self._outcome_of(name)

    def _outcome_of(self, name: str) -> str:
        return self.record.stage(name).outcome if self.record else "unknown"

    @property
    def issue_ids(self) -> list[str]:
        """The ids of the known issues that explain its failures and its moved numbers."""
        return sorted({issue.id for issue in self.known_issues.values()})

    @property
    def stages(self) -> dict[str, str]:
        """The outcome of every stage; ``unknown`` for all of them without a record."""
        return {name: self._outcome_of(name) for name in stage_names(self.record)}


def rows(matrix: Matrix, entries: Mapping[str, Entry], knowledge: Knowledge) -> list[Row]:
    """A row for every cell, by group, each compared with the cell that it differs from by design.

    Of a record of scripts only what the file that lists them still has counts.
    """
    reader = Reader()
    current = {name: reader.current(entry.record) for name, entry in entries.items() if entry.record}
    entries = {
        name: replace(entry, record=current[name].record) if name in current else entry
        for name, entry in entries.items()
    }
    result = [_row(matrix, cell, entries, current.get(cell.name), knowledge) for cell in matrix.cells]
    return sorted(result, key=lambda row: neighbours.GROUPS.index(row.group))


def _row(
    matrix: Matrix,
    cell: Cell,
    entries: Mapping[str, Entry],
    current: Current | None,
    knowledge: Knowledge,
) -> Row:
    entry = entries.get(cell.name, Entry())
    record = entry.shown
    reference = neighbours.reference(matrix, cell)
    # A cell without a reference is compared with itself.
    before = entries.get(reference, Entry()).record if reference else record
    judgement = _judge(before, record, knowledge)
    installed = record.packages if record else {}
    issues = knowledge.ledger.known_issues(record) if record else {}
    return Row(
        cell=cell.name,
        record=record,
        versions={name: installed.get(name) or cell.pins.get(name, "") for name in PACKAGES},
        judgement=judgement,
        compared_with=reference,
        group=neighbours.group(matrix, cell),
        news=_judge(entry.previous, record, knowledge)
        if entry.previous and not (current and current.is_cut)
        else None,
        known_issues={**issues, **_moved_numbers(record, judgement.diff, knowledge.ledger)} if record else {},
        state=UNREADABLE if entry.problem else _state(entry, current, knowledge.ledger),
        notes=tuple(_notes(entry, matrix, cell, current)),
        interrupted=entry.interrupted,
        current=current,
    )


def _state(entry: Entry, current: Current | None, ledger: Ledger) -> str:
    """The state of a cell by its last run."""
    latest = entry.interrupted or entry.record
    if latest is None:
        return "unknown"
    if current and current.open and latest is entry.record and latest.outcome == "not_run":
        return OUTDATED
    failed, known_issues = [name for name, _ in errors(latest)], ledger.known_issues(latest)
    if failed and latest.outcome in FAILED_OUTCOMES and all(name in known_issues for name in failed):
        return "known"
    return INTERRUPTED if latest.interruption and latest.outcome in BROKEN else latest.outcome


def _notes(entry: Entry, matrix: Matrix, cell: Cell, current: Current | None) -> Iterator[Failure]:
    """What a reader must know to not take the record for more than it is."""
    if entry.problem:
        yield Failure(type=UNREADABLE, message=entry.problem)
    elif entry.shown is None:
        message = f"not run yet, or run with another model: nox -s 'e2e({cell.name})'"
        yield Failure(type=NO_RECORD, message=message)
    if entry.record and entry.interrupted:
        yield Failure(type=INTERRUPTED, message=describe_interruption(entry.interrupted, entry.record))
    if entry.record and _lock_changed(entry.record, matrix.lock_path(cell)):
        message = f"the record of {day(entry.record)} is of a lock that has changed since; run the cell again"
        yield Failure(type=OTHER_LOCK, message=message)
    if entry.record and current:
        for message in outdated.describe(current, day(entry.record), cell.name):
            yield Failure(type=OUTDATED, message=message)


def _lock_changed(record: Record, path: Path) -> bool:
    """Whether the lock at ``path`` is another one than the record's; False if either is missing."""
    recorded = record.lock.get("sha256")
    return bool(recorded) and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != recorded


def describe_interruption(interrupted: Record, record: Record) -> str:
    """When and why the last run says nothing, and which record is shown instead."""
    reason = interrupted.interruption.one_line if interrupted.interruption else ""
    what = "could not start" if interrupted.outcome in UNTESTABLE else "was cut off"
    return f"last run {day(interrupted)} {what}: {reason}; showing the record of {day(record)}"


def day(record: Record) -> str:
    """When a record was made, to the minute."""
    return record.started[:16].replace("T", " ") or "an unknown day"


def _judge(before: Record | None, record: Record | None, knowledge: Knowledge) -> Judgement:
    """The judgement of two records; that of a missing one if they ran with different options."""
    if before and record and not comparable(before, record):
        before = None
    return judge(before, record, knowledge)


def comparable(before: Record, record: Record) -> bool:
    """Whether two records ran with the same options."""
    try:
        diff.check_comparable(before, record)
    except UsageError:
        return False
    return True


def _moved_numbers(record: Record, comparison: diff.Diff, ledger: Ledger) -> dict[str, Issue]:
    """The issues that explain moved numbers, by the name of the number."""
    return {
        change.name: issue
        for change in comparison.changes
        for issue in ledger.issues
        if change.kind == "fingerprint"
        and issue.matches_field(change.name)
        and issue.applies_to(record.packages)
    }


def reasons(record: Record, known_issues: Mapping[str, Issue]) -> list[Reason]:
    """Why the cell did not pass, one entry per root cause, in the order of the stages."""
    by_cause: dict[str, list[tuple[str, Failure]]] = {}
    for name, error in errors(record):
        cause = known_issues[name].id if name in known_issues else error.one_line
        by_cause.setdefault(cause, []).append((name, error))
    return [
        Reason(
            stages=tuple(name.removeprefix(PROBE) for name, _ in failures if name != record.outcome),
            error=failures[0][1],
            issue=known_issues.get(failures[0][0]),
        )
        for failures in by_cause.values()
    ]


def age(record: Record) -> str:
    """How long ago the record's run started, such as ``3 h``."""
    started = datetime.datetime.fromisoformat(record.started)
    hours = max(0.0, (datetime.datetime.now(datetime.UTC) - started).total_seconds() / 3600)
    return (
        f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
    )
