"""The summary as Markdown, for a job's page and for the results folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunematrix.locks.table import CORE
from tunematrix.report.summary import Row, Summary, reasons
from tunematrix.report.terminal import sign
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.diff import Change


def render(found: Summary) -> str:
    """The whole of ``summary.md``."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Summary) -> Iterator[str]:
    yield f"# Compatibility summary: {found.model or 'nothing run yet'}"
    yield ""
    yield "Each row is one pinned combination; each column after the versions is a step of the same work."
    yield ""
    head = ["cell", *CORE, *STAGES, "since the cell above"]
    yield from _table(head, [_row(row) for row in found.rows])
    broken = [(row, reason) for row in found.rows for reason in reasons(row.cell, row.record, row.known)]
    if broken:
        yield from ("", "## Why", "")
    for row, reason in broken:
        link = f" ([upstream]({reason.issue.link}))" if reason.issue and reason.issue.link else ""
        yield f"- **{row.cell}** {code(reason.line)}{link}"
    if found.problems:
        yield from ("", "## The ledger is wrong", "", *(f"- {line}" for line in found.problems))
    for row in found.rows:
        yield from _changes(row)


def _row(row: Row) -> list[str]:
    verdict = row.compared.verdict if row.since and row.record else ""
    signs = (sign(outcome).plain for outcome in row.shown)
    return [row.cell, *(row.versions[name] for name in CORE), *signs, verdict]


def _changes(row: Row) -> Iterator[str]:
    if not row.compared.changes:
        return
    yield from ("", f"## {row.since} -> {row.cell}: what moved", "")
    shown = [
        [one.kind, code(one.name), code(short(one.before)), code(short(one.after)), _why(one)]
        for one in row.compared.changes
    ]
    yield from _table(["kind", "what", "before", "after", "why"], shown)


def _why(change: Change) -> str:
    return f"[{change.why}]({change.link})" if change.link else change.why


def _table(head: list[str], body: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for cells in body:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def short(value: Any) -> str:
    text = str(value) if value != "" else "(dropped)"
    return text if len(text) <= 100 else f"{text[:97]}..."


def code(text: str) -> str:
    """Inline code that no backtick in ``text`` can end."""
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"
