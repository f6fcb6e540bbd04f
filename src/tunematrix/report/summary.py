"""The summary as data, made from the matrix and the records alone.

No clock and no machine goes in, so that rendering again gives the same files.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.base.errors import UsageError
from tunematrix.base.record import UNTESTABLE, Failure, Record
from tunematrix.locks.table import CORE, Matrix
from tunematrix.shared.stages import STAGES
from tunematrix.verdict import diff
from tunematrix.verdict.causes import KnownChange, annotate
from tunematrix.verdict.failures import kind_of
from tunematrix.verdict.ledger import PROBE, Issue, Ledger, errors

SCHEMA: Final = 1
SHOWN: Final = (*CORE, "accelerate", "datasets", "huggingface-hub", "tokenizers", "numpy", "torch")
NO_RECORD: Final = "no record"
BROKEN: Final = ("failed", "crashed", "timed_out")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One cell of the summary; ``record`` is None where the cell has none for this model."""

    cell: str
    record: Record | None
    versions: Mapping[str, str]
    compared: diff.Diff
    since: str | None
    known: Mapping[str, Issue] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record, ledger: Ledger) -> Row:
        """The row of one record by itself."""
        alone = diff.compare(record, record)
        known = ledger.known(record)
        return cls(cell=record.cell, record=record, versions={}, compared=alone, since=None, known=known)

    @property
    def outcome(self) -> str:
        return self.record.outcome if self.record else "unknown"

    @property
    def state(self) -> str:
        """The outcome, or ``known`` where the ledger explains every failure."""
        failed = [part for part, _ in errors(self.record)] if self.record else []
        explained = failed and all(part in self.known for part in failed)
        return "known" if explained and self.outcome in (*BROKEN, *UNTESTABLE) else self.outcome

    @property
    def shown(self) -> list[str]:
        """A word for each stage: its outcome, ``known``, or the cell's where it never came to run."""
        if self.outcome in UNTESTABLE:
            return [self.state] * len(STAGES)
        return ["known" if stage in self.known else outcome for stage, outcome in self.stages.items()]

    @property
    def issues(self) -> list[str]:
        """The ids of the known issues behind its failures and its moved numbers."""
        return sorted({issue.id for issue in self.known.values()})

    @property
    def stages(self) -> dict[str, str]:
        """The outcome of every stage; ``unknown`` for all of them without a record."""
        return {name: self.record.stage(name).outcome if self.record else "unknown" for name in STAGES}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One root cause, and the stages that it brought down."""

    stages: tuple[str, ...]
    error: Failure
    issue: Issue | None = None

    @property
    def kind(self) -> str:
        """The word of ``verdict.failures``; none where there is no record to judge."""
        return kind_of(self.stages, self.error) if self.error.type != NO_RECORD else ""

    @property
    def line(self) -> str:
        """What broke, of what kind, and by what: one line for people."""
        where = f"{', '.join(self.stages)} " if self.stages else ""
        if self.issue:
            return f"{where}[known: {self.issue.id}]: {self.issue.cause}; fix: {self.issue.fix}"
        return f"{where}[{self.kind}]: {self.error.line}" if self.kind else self.error.line


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The rows of one model's records, and the ledger they were held against."""

    model: str
    rows: list[Row]
    ledger: Ledger

    @property
    def unexpected(self) -> list[str]:
        """Passes that the ledger says cannot be, a line each, with the file's line to edit."""
        return [
            f"{self.ledger.at(issue)}: unexpected pass: {stage} passed in {row.cell}; "
            "narrow its 'when', or delete it"
            for row in self.rows
            if row.record
            for issue, stage in self.ledger.passes(row.record)
        ]

    @property
    def problems(self) -> list[str]:
        """Where the ledger is wrong, a line each; that an entry matched nothing only a full run can tell."""
        if not all(row.record for row in self.rows):
            return self.unexpected
        used = {issue.id for row in self.rows for issue in row.known.values()}
        unused = (issue for issue in self.ledger.issues if issue.id not in used)
        return self.unexpected + [
            f"{self.ledger.at(issue)}: matched nothing in a full run; delete it, or widen its 'when'"
            for issue in unused
        ]


def rows(
    matrix: Matrix,
    records: Mapping[str, Record],
    ledger: Ledger,
    known: tuple[KnownChange, ...] = (),
) -> list[Row]:
    """A row for every cell of the matrix, each compared with the one before it in time."""
    found: list[Row] = []
    for cell in matrix.cells:
        record = records.get(cell.name)
        before = found[-1] if found else None
        installed = record.packages if record else {}
        versions = {name: installed.get(name) or cell.pins.get(name, "") for name in SHOWN}
        # Nothing lies before the first cell: it is compared with itself.
        compared = annotate(_compared(before.record if before else record, record), known)
        since = before.cell if before else None
        explained = {**ledger.known(record), **_moves(record, compared, ledger)} if record else {}
        found.append(
            Row(
                cell=cell.name,
                record=record,
                versions=versions,
                compared=compared,
                since=since,
                known=explained,
            )
        )
    return found


def _compared(before: Record | None, record: Record | None) -> diff.Diff:
    """The comparison of neighbours; unknown where they ran with different options."""
    try:
        if before and record:
            diff.check_comparable(before, record)
    except UsageError:
        before = None
    return diff.compare(before, record)


def _moves(record: Record, compared: diff.Diff, ledger: Ledger) -> dict[str, Issue]:
    """The issues that explain moved numbers, by the numbers' names."""
    return {
        change.name: issue
        for change in compared.changes
        for issue in ledger.issues
        if change.kind == "fingerprint" and issue.names(change.name) and issue.holds(record.packages)
    }


def expired(ledger: Ledger, today: datetime.date) -> list[str]:
    """The entries whose day is over, a line each."""
    return [
        f"{ledger.at(issue)}: expired on {issue.expires}; see whether it is still so, then move 'expires'"
        for issue in ledger.issues
        if issue.expires < today
    ]


def one_model(records: Mapping[str, Record]) -> tuple[str, dict[str, Record]]:
    """The model run last, and the records that are about it: other models' numbers do not compare."""
    if not records:
        return "", {}
    latest = max(records.values(), key=lambda record: record.started)
    model = latest.model.get("name", "")
    return model, {name: record for name, record in records.items() if record.model.get("name") == model}


def summary(found: Summary) -> dict[str, Any]:
    """The content of ``summary.json``."""
    return {
        "schema": SCHEMA,
        "model": found.model,
        "expected": [row.cell for row in found.rows],
        "cells": [
            {
                "cell": row.cell,
                "versions": {name: version for name, version in row.versions.items() if version},
                "outcome": row.outcome,
                "verdict": row.compared.verdict,
                "stages": row.stages,
                "probes": {probe.name: probe.outcome for probe in row.record.probes} if row.record else {},
                "known_issues": row.issues,
                "reasons": [
                    {"stages": list(reason.stages), "kind": reason.kind, "error": reason.error.line}
                    for reason in reasons(row.cell, row.record, row.known)
                ],
                "changes": [plain_change(change, row.since) for change in row.compared.changes],
            }
            for row in found.rows
        ],
        "counts": dict(sorted(Counter(row.state for row in found.rows).items())),
        "ledger": found.problems,
    }


def plain_change(change: diff.Change, since: str | None) -> dict[str, Any]:
    """A change in JSON types; ``<absent>`` stands for what a side does not have."""
    row = {"kind": change.kind, "name": change.name, "before": change.before, "after": change.after}
    row["since"] = since
    if change.kind == "call_site":
        row["edit"] = diff.edit(change)
    return row | ({"why": change.why, "link": change.link} if change.why else {})


def reasons(cell: str, record: Record | None, known: Mapping[str, Issue]) -> list[Reason]:
    """Why the cell did not pass, one entry per root cause, in the order of the stages."""
    if record is None:
        error = Failure(type=NO_RECORD, message=f"not run yet, or with another model: nox -s 'e2e({cell})'")
        return [Reason(stages=(), error=error)]
    grouped: dict[str, list[tuple[str, Failure]]] = {}
    for part, error in errors(record):
        cause = known[part].id if part in known else error.line
        grouped.setdefault(cause, []).append((part, error))
    return [
        Reason(
            stages=tuple(part.removeprefix(PROBE) for part, _ in group if part != record.outcome),
            error=group[0][1],
            issue=known.get(group[0][0]),
        )
        for group in grouped.values()
    ]


def exit_code(states: Sequence[str], wrong: Sequence[str] = ()) -> int:
    """1 where a cell broke, is unknown, or the ledger is wrong; 3 where one could not be tested; else 0."""
    if wrong or any(state in (*BROKEN, "unknown") for state in states):
        return 1
    return 3 if any(state in (*UNTESTABLE, "skipped", "not_run") for state in states) else 0
