"""The summary as data, made from the matrix and the records alone.

No clock and no machine goes in, so that rendering again gives the same files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.matrix import diff
from tunematrix.matrix.kinds import kind
from tunematrix.matrix.record import STAGES, UNTESTABLE, Failure, Record
from tunematrix.matrix.table import CORE, Matrix

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

    @property
    def outcome(self) -> str:
        return self.record.outcome if self.record else "unknown"

    @property
    def stages(self) -> dict[str, str]:
        """The outcome of every stage; ``unknown`` for all of them without a record."""
        return {name: self.record.stage(name).outcome if self.record else "unknown" for name in STAGES}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """One root cause, and the stages that it brought down."""

    stages: tuple[str, ...]
    error: Failure

    @property
    def kind(self) -> str:
        """The word of ``matrix.kinds``; none where there is no record to judge."""
        return kind(self.stages, self.error) if self.error.type != NO_RECORD else ""

    @property
    def line(self) -> str:
        """What broke, of what kind, and by what: one line for people."""
        where = f"{', '.join(self.stages)} " if self.stages else ""
        return f"{where}[{self.kind}]: {self.error.line}" if self.kind else self.error.line


def rows(matrix: Matrix, records: Mapping[str, Record]) -> list[Row]:
    """A row for every cell of the matrix, each compared with the one before it in time."""
    found: list[Row] = []
    for cell in matrix.cells:
        record = records.get(cell.name)
        before = found[-1] if found else None
        known = record.packages if record else {}
        versions = {name: known.get(name) or cell.pins.get(name, "") for name in SHOWN}
        # Nothing lies before the first cell: it is compared with itself.
        compared = diff.compare(before.record if before else record, record)
        since = before.cell if before else None
        found.append(Row(cell=cell.name, record=record, versions=versions, compared=compared, since=since))
    return found


def one_model(records: Mapping[str, Record]) -> tuple[str, dict[str, Record]]:
    """The model run last, and the records that are about it: other models' numbers do not compare."""
    if not records:
        return "", {}
    latest = max(records.values(), key=lambda record: record.started)
    model = latest.model.get("name", "")
    return model, {name: record for name, record in records.items() if record.model.get("name") == model}


def summary(table: list[Row], model: str) -> dict[str, Any]:
    """The content of ``summary.json``."""
    return {
        "schema": SCHEMA,
        "model": model,
        "expected": [row.cell for row in table],
        "cells": [
            {
                "cell": row.cell,
                "versions": {name: version for name, version in row.versions.items() if version},
                "outcome": row.outcome,
                "verdict": row.compared.verdict,
                "stages": row.stages,
                "probes": {probe.name: probe.outcome for probe in row.record.probes} if row.record else {},
                "known_issues": [],
                "reasons": [
                    {"stages": list(reason.stages), "kind": reason.kind, "error": reason.error.line}
                    for reason in reasons(row.cell, row.record)
                ],
                "changes": [
                    {"kind": c.kind, "name": c.name, "before": c.before, "after": c.after, "since": row.since}
                    for c in row.compared.changes
                ],
            }
            for row in table
        ],
        "counts": dict(sorted(Counter(row.outcome for row in table).items())),
    }


def reasons(cell: str, record: Record | None) -> list[Reason]:
    """Why the cell did not pass, one entry per root cause, in the order of the stages."""
    if record is None:
        error = Failure(type=NO_RECORD, message=f"not run yet, or with another model: nox -s 'e2e({cell})'")
        return [Reason(stages=(), error=error)]
    grouped: dict[str, list[tuple[str, Failure]]] = {}
    for name, error in _errors(record):
        grouped.setdefault(error.line, []).append((name, error))
    return [
        Reason(stages=tuple(name for name, _ in group if name), error=group[0][1])
        for group in grouped.values()
    ]


def _errors(record: Record) -> Iterator[tuple[str, Failure]]:
    if record.error:
        yield "", record.error
    for part in (*record.stages, *record.probes):
        if part.error and part.outcome not in ("passed", "not_run", "unavailable"):
            yield part.name, part.error


def exit_code(outcomes: list[str]) -> int:
    """1 where a cell broke or is unknown, 3 where one could not be tested, else 0."""
    if any(outcome in (*BROKEN, "unknown") for outcome in outcomes):
        return 1
    return 3 if any(outcome in (*UNTESTABLE, "skipped", "not_run") for outcome in outcomes) else 0
