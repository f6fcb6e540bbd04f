"""The summary as data, made from the matrix and the records alone.

It contains no clock time and nothing about the machine, so that rendering it again gives the same files.
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
PACKAGES: Final = (*CORE, "accelerate", "datasets", "huggingface-hub", "tokenizers", "numpy", "torch")
NO_RECORD: Final = "no record"
BROKEN: Final = ("failed", "crashed", "timed_out")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One cell of the summary; ``record`` is None if the cell has none for this model.

    ``comparison`` is with the cell ``compared_with``; ``known_issues`` maps failed stages, failed probes and
    moved numbers to the issues that explain them.
    """

    cell: str
    record: Record | None
    versions: Mapping[str, str]
    comparison: diff.Diff
    compared_with: str | None
    known_issues: Mapping[str, Issue] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Record, ledger: Ledger) -> Row:
        """A row for one record, compared with itself."""
        return cls(
            cell=record.cell,
            record=record,
            versions={},
            comparison=diff.compare(record, record),
            compared_with=None,
            known_issues=ledger.known_issues(record),
        )

    @property
    def outcome(self) -> str:
        return self.record.outcome if self.record else "unknown"

    @property
    def state(self) -> str:
        """The outcome, or ``known`` if the ledger explains every failure."""
        failed = [name for name, _ in errors(self.record)] if self.record else []
        explained = failed and all(name in self.known_issues for name in failed)
        return "known" if explained and self.outcome in (*BROKEN, *UNTESTABLE) else self.outcome

    @property
    def displayed_outcomes(self) -> list[str]:
        """A word for each stage: its outcome, ``known``, or the state of a cell that could not run."""
        if self.outcome in UNTESTABLE:
            return [self.state] * len(STAGES)
        return ["known" if stage in self.known_issues else outcome for stage, outcome in self.stages.items()]

    @property
    def issue_ids(self) -> list[str]:
        """The ids of the known issues that explain its failures and its moved numbers."""
        return sorted({issue.id for issue in self.known_issues.values()})

    @property
    def stages(self) -> dict[str, str]:
        """The outcome of every stage; ``unknown`` for all of them without a record."""
        return {name: self.record.stage(name).outcome if self.record else "unknown" for name in STAGES}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One root cause, and the stages that fail because of it."""

    stages: tuple[str, ...]
    error: Failure
    issue: Issue | None = None

    @property
    def kind(self) -> str:
        """The kind of failure from ``verdict.failures``; empty without a record."""
        return kind_of(self.stages, self.error) if self.error.type != NO_RECORD else ""

    @property
    def line(self) -> str:
        """The stages, the kind of failure and the error, in one line."""
        stages = f"{', '.join(self.stages)} " if self.stages else ""
        if self.issue:
            return f"{stages}[known: {self.issue.id}]: {self.issue.cause}; fix: {self.issue.fix}"
        return f"{stages}[{self.kind}]: {self.error.one_line}" if self.kind else self.error.one_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The rows for one model, and the ledger that explains their failures."""

    model: str
    rows: list[Row]
    ledger: Ledger

    @property
    def unexpected(self) -> list[str]:
        """The stages that pass although the ledger expects a failure, a line each, with the line to edit."""
        return [
            f"{self.ledger.location(issue)}: unexpected pass: {stage} passed in {row.cell}; "
            "narrow its 'when', or delete it"
            for row in self.rows
            if row.record
            for issue, stage in self.ledger.unexpected_passes(row.record)
        ]

    @property
    def problems(self) -> list[str]:
        """The errors in the ledger, a line each; only a full run can show that an entry matches nothing."""
        if not all(row.record for row in self.rows):
            return self.unexpected
        used = {issue.id for row in self.rows for issue in row.known_issues.values()}
        unused = (issue for issue in self.ledger.issues if issue.id not in used)
        return self.unexpected + [
            f"{self.ledger.location(issue)}: matched nothing in a full run; delete it, or widen its 'when'"
            for issue in unused
        ]


def rows(
    matrix: Matrix,
    records: Mapping[str, Record],
    ledger: Ledger,
    known_changes: tuple[KnownChange, ...] = (),
) -> list[Row]:
    """A row for every cell of the matrix, each compared with the row before it."""
    result: list[Row] = []
    for cell in matrix.cells:
        record = records.get(cell.name)
        previous = result[-1] if result else None
        installed = record.packages if record else {}
        # The first cell has no predecessor: it is compared with itself.
        comparison = annotate(_compare(previous.record if previous else record, record), known_changes)
        result.append(
            Row(
                cell=cell.name,
                record=record,
                versions={name: installed.get(name) or cell.pins.get(name, "") for name in PACKAGES},
                comparison=comparison,
                compared_with=previous.cell if previous else None,
                known_issues={**ledger.known_issues(record), **_moved_numbers(record, comparison, ledger)}
                if record
                else {},
            )
        )
    return result


def _compare(before: Record | None, record: Record | None) -> diff.Diff:
    """The comparison of neighbours; unknown if they ran with different options."""
    try:
        if before and record:
            diff.check_comparable(before, record)
    except UsageError:
        before = None
    return diff.compare(before, record)


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


def expired_entries(ledger: Ledger, today: datetime.date) -> list[str]:
    """The entries of the ledger that have expired, a line each."""
    return [
        f"{ledger.location(issue)}: expired on {issue.expires}; "
        "check whether the issue persists, then move 'expires' or delete it"
        for issue in ledger.issues
        if issue.expires < today
    ]


def latest_model(records: Mapping[str, Record]) -> tuple[str, dict[str, Record]]:
    """The model of the latest run, and its records; those of other models cannot be compared with them."""
    if not records:
        return "", {}
    latest = max(records.values(), key=lambda record: record.started)
    model = latest.model.get("name", "")
    return model, {name: record for name, record in records.items() if record.model.get("name") == model}


def summary_json(summary: Summary) -> dict[str, Any]:
    """The content of ``summary.json``."""
    return {
        "schema": SCHEMA,
        "model": summary.model,
        "expected": [row.cell for row in summary.rows],
        "cells": [
            {
                "cell": row.cell,
                "versions": {name: version for name, version in row.versions.items() if version},
                "outcome": row.outcome,
                "verdict": row.comparison.verdict,
                "stages": row.stages,
                "probes": {probe.name: probe.outcome for probe in row.record.probes} if row.record else {},
                "known_issues": row.issue_ids,
                "reasons": [
                    {"stages": list(reason.stages), "kind": reason.kind, "error": reason.error.one_line}
                    for reason in reasons(row.cell, row.record, row.known_issues)
                ],
                "changes": [change_json(change, row.compared_with) for change in row.comparison.changes],
            }
            for row in summary.rows
        ],
        "counts": dict(sorted(Counter(row.state for row in summary.rows).items())),
        "ledger": summary.problems,
    }


def change_json(change: diff.Change, compared_with: str | None) -> dict[str, Any]:
    """A change in JSON types; ``<absent>`` stands for a value that one side does not have."""
    content = {"kind": change.kind, "name": change.name, "before": change.before, "after": change.after}
    content["since"] = compared_with
    if change.kind == "call_site":
        content["edit"] = diff.describe_edit(change)
    return content | ({"why": change.why, "link": change.link} if change.why else {})


def reasons(cell: str, record: Record | None, known_issues: Mapping[str, Issue]) -> list[Reason]:
    """Why the cell did not pass, one entry per root cause, in the order of the stages."""
    if record is None:
        message = f"not run yet, or run with another model: nox -s 'e2e({cell})'"
        return [Reason(stages=(), error=Failure(type=NO_RECORD, message=message))]
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


def exit_code(states: Sequence[str], problems: Sequence[str] = ()) -> int:
    """1 if a cell broke or is unknown or the ledger has problems; 3 if one could not be tested; else 0."""
    if problems or any(state in (*BROKEN, "unknown") for state in states):
        return 1
    return 3 if any(state in (*UNTESTABLE, "skipped", "not_run") for state in states) else 0
