"""The summary as Markdown, for the page of a CI job and for the results folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunematrix.locks.table import CORE
from tunematrix.report.summary import Row, Summary, reasons
from tunematrix.report.terminal import label
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.diff import Change


def render(summary: Summary) -> str:
    """The content of ``summary.md``."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Summary) -> Iterator[str]:
    yield f"# Compatibility summary: {summary.model or 'nothing run yet'}"
    yield ""
    yield "Each row is one pinned combination; each column after the versions is a stage of the same work."
    yield ""
    header = ["cell", *CORE, *STAGES, "vs. the cell above"]
    yield from _table(header, [_cells(row) for row in summary.rows])
    failures = [
        (row, reason) for row in summary.rows for reason in reasons(row.cell, row.record, row.known_issues)
    ]
    if failures:
        yield from ("", "## Why", "")
    for row, reason in failures:
        link = f" ([upstream]({reason.issue.link}))" if reason.issue and reason.issue.link else ""
        yield f"- **{row.cell}** {inline_code(reason.line)}{link}"
    if summary.problems:
        yield from ("", "## Problems in the ledger", "", *(f"- {problem}" for problem in summary.problems))
    for row in summary.rows:
        yield from _changes(row)


def _cells(row: Row) -> list[str]:
    verdict = row.comparison.verdict if row.compared_with and row.record else ""
    labels = (label(outcome).plain for outcome in row.displayed_outcomes)
    return [row.cell, *(row.versions[name] for name in CORE), *labels, verdict]


def _changes(row: Row) -> Iterator[str]:
    if not row.comparison.changes:
        return
    yield from ("", f"## {row.compared_with} -> {row.cell}: what changed", "")
    changes = [
        [
            change.kind,
            inline_code(change.name),
            inline_code(shorten(change.before)),
            inline_code(shorten(change.after)),
            _why(change),
        ]
        for change in row.comparison.changes
    ]
    yield from _table(["kind", "name", "before", "after", "why"], changes)


def _why(change: Change) -> str:
    return f"[{change.why}]({change.link})" if change.link else change.why


def _table(header: list[str], body: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for cells in body:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def shorten(value: Any) -> str:
    text = str(value) if value != "" else "(dropped)"
    return text if len(text) <= 100 else f"{text[:97]}..."


def inline_code(text: str) -> str:
    """Inline code that a backtick in ``text`` cannot end."""
    fence = "``" if "`" in text else "`"
    padding = " " if "`" in text else ""
    return f"{fence}{padding}{text}{padding}{fence}"
