"""The summary as data, made from the matrix and the records alone.

It contains no clock time and nothing about the machine, so that rendering it again gives the same files.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.base.record import BROKEN, UNTESTABLE, Record
from tunematrix.report.rows import INTERRUPTED, OUTDATED, UNREADABLE, Row
from tunematrix.verdict import diff
from tunematrix.verdict.edits import describe_edit
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.ledger import Ledger
from tunematrix.verdict.past import Past

SCHEMA: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The rows for one model, the ledger that explains their failures, and what the history says of them.

    ``history_problem`` is why they could not be added to the history; empty if they were.
    """

    model: str
    rows: list[Row]
    ledger: Ledger
    history: tuple[Past, ...] = ()
    history_problem: str = ""

    @property
    def unexpected(self) -> list[str]:
        """The stages that pass although the ledger expects a failure, a line each, with the line to edit."""
        return [
            f"{self.ledger.location(issue)}: unexpected pass: {stage} passed in {row.cell}; "
            "narrow its 'when', or delete it"
            for row in self.rows
            if row.record
            for issue, stage in (self.ledger.unexpected_passes(row.record) if self.ledger.own else ())
        ]

    @property
    def problems(self) -> list[str]:
        """The errors in the ledger, a line each; only a full run can show that an entry matches nothing."""
        if not (self.ledger.own and all(row.record for row in self.rows)):
            return self.unexpected
        used = {issue.id for row in self.rows for issue in row.known_issues.values()}
        # Entries for an exchange of files are for `tunematrix exchange` to use.
        unused = (
            issue for issue in self.ledger.issues if issue.id not in used and not issue.only_of_exchange
        )
        return self.unexpected + [
            f"{self.ledger.location(issue)}: matched nothing in a full run; delete it, or widen its 'when'"
            for issue in unused
        ]


def expired_entries(ledger: Ledger, today: datetime.date) -> list[str]:
    """The entries of the ledger that have expired, a line each."""
    return [
        f"{ledger.location(issue)}: expired on {issue.expires}; "
        "check whether the issue persists, then move 'expires' or delete it"
        for issue in ledger.issues
        if issue.expires < today
    ]


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
                "state": row.state,
                "compared_with": row.compared_with,
                "verdict": row.comparison.verdict,
                "answer": row.judgement.answer if row.compared_with else None,
                "findings": [finding_json(finding) for finding in row.judgement.findings],
                "untested": list(row.judgement.untested),
                "stages": row.stages,
                "probes": {probe.name: probe.outcome for probe in row.record.probes} if row.record else {},
                "known_issues": row.issue_ids,
                "reasons": [
                    {"stages": list(reason.stages), "kind": reason.kind, "error": reason.error.one_line}
                    for reason in row.reasons
                ],
                "interrupted": _interrupted_json(row.interrupted),
                "changes": [change_json(change, row.compared_with) for change in row.comparison.changes],
            }
            for row in summary.rows
        ],
        "counts": dict(sorted(Counter(row.state for row in summary.rows).items())),
        "ledger": summary.problems,
    }


def _interrupted_json(record: Record | None) -> dict[str, str] | None:
    """The last run of a cell, if it was interrupted."""
    if record is None or record.interruption is None:
        return None
    return {
        "started": record.started,
        "outcome": record.outcome,
        "reason": record.interruption.one_line,
    }


def change_json(change: diff.Change, compared_with: str | None) -> dict[str, Any]:
    """A change in JSON types; ``<absent>`` stands for a value that one side does not have."""
    content = {"kind": change.kind, "name": change.name, "before": change.before, "after": change.after}
    content["since"] = compared_with
    if change.kind == "call_site":
        content["edit"] = describe_edit(change)
    return content | ({"why": change.why, "link": change.link} if change.why else {})


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding in JSON types; ``accepted`` is false, or true with the team's reason in ``reason``."""
    content = dataclasses.asdict(finding) | {"accepted": bool(finding.accepted)}
    if not finding.steps:  # of anything but an exchange of files
        del content["steps"]
    return content | ({"reason": finding.accepted} if finding.accepted else {})


def exit_code(states: Sequence[str], problems: Sequence[str] = ()) -> int:
    """1 if a cell broke or has no record or the ledger has problems; else 2 if a record cannot be read.

    Else 3 if a cell could not be tested, and 0 if all is well.
    """
    if problems or any(state in (*BROKEN, "unknown") for state in states):
        return 1
    if UNREADABLE in states:
        return 2
    return (
        3
        if any(state in (*UNTESTABLE, INTERRUPTED, OUTDATED, "skipped", "not_run") for state in states)
        else 0
    )
