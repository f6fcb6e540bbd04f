"""The summary as Markdown, for the page of a CI job and for the results folder.

What needs attention comes first, then the table, then the findings of each step along the diagonal. Every
difference is in the ``changes.md`` of the cell's folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final
from urllib.parse import quote

from tunematrix.base.record import stage_names
from tunematrix.locks import neighbours
from tunematrix.locks.table import CORE
from tunematrix.report.difference import finding_markdown
from tunematrix.report.escape import inline_code, link, plain_text, shorten, table_row
from tunematrix.report.problems import Problem
from tunematrix.report.rows import NO_RECORD, Row
from tunematrix.report.summary import Summary
from tunematrix.report.terminal import label
from tunematrix.verdict.answer import SHORT, Judgement
from tunematrix.verdict.ledger import Issue

BRIEF: Final = 58  # lines of the summary of a job, which stays on one screen
CHANGES: Final = "changes.md"  # in the folder of a cell


def render(summary: Summary, folder: str = "") -> str:
    """The content of ``summary.md``; ``folder`` leads from it to the folders of the cells."""
    return "\n".join(_lines(summary, folder)) + "\n"


def _lines(summary: Summary, folder: str) -> Iterator[str]:
    yield f"# Compatibility summary: {plain_text(summary.model or 'nothing run yet')}"
    yield ""
    counts = Counter(row.state for row in summary.rows)
    yield plain_text(", ".join(f"{number} {state}" for state, number in counts.items()))
    yield from _section("Needs attention", _attention(summary))
    yield from _section("New since the last run", _news(summary.rows))
    yield from _section("Known issues", _known_issues(summary.rows))
    yield from ("", "## All cells", "")
    yield "Each row is one pinned combination, each column after the versions a stage of the same work. The"
    yield "step is from the cell that the row is compared with."
    for group, members in groupby(summary.rows, key=lambda row: row.group):
        yield from ("", f"### {neighbours.HEADINGS[group]}", "")
        yield from _table(list(members))
    yield from _steps(summary.rows, folder)


def brief(summary: Summary, problems: Sequence[Problem], lines: int = BRIEF) -> str:
    """The summary in at most ``lines`` lines, the worst first; the last line counts what is left out."""
    counts = Counter(row.state for row in summary.rows)
    content = [
        f"# Compatibility summary: {plain_text(summary.model or 'nothing run yet')}",
        "",
        plain_text(", ".join(f"{number} {state}" for state, number in counts.items())),
        *_section("Unexplained", map(_problem, problems)),
        *_section("Needs attention", _attention(summary)),
        "",
        "## All cells",
        "",
        *_table(summary.rows),
        *_section("Known issues", _known_issues(summary.rows)),
    ]
    if len(content) > lines:
        rest = len(content) - lines + 2
        content = [*content[: lines - 2], "", f"and {rest} more lines: the artifact with the results has all"]
    return "\n".join(content) + "\n"


def _problem(problem: Problem) -> str:
    cells = plain_text(", ".join(problem.cells))
    return f"- **{problem.severity}** {inline_code(shorten(problem.title))} in {cells}"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    content = list(lines)
    yield from ("", f"## {title}", "", *content) if content else ()


def _attention(summary: Summary) -> Iterator[str]:
    """Failures that nobody expects, cells that say nothing, and where the ledger is wrong."""
    for row in summary.rows:
        for reason in row.reasons:
            if not reason.issue and reason.error.type != NO_RECORD:
                yield f"- **{plain_text(row.cell)}** {inline_code(reason.line)}"
    if missing := [row.cell for row in summary.rows if row.state == "unknown"]:
        yield f"- not run yet, or run with another model: {plain_text(', '.join(missing))}"
    yield from (f"- {plain_text(problem)}" for problem in summary.problems)


def _news(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        if row.news and (findings := [finding for finding in row.news.findings if finding.loud]):
            yield f"- **{plain_text(row.cell)}**: {_counts(row.news)}; worst: {plain_text(findings[0].title)}"


def _known_issues(rows: Iterable[Row]) -> Iterator[str]:
    """Each known issue once, with the cells where it shows."""
    cells: dict[str, tuple[Issue, list[str]]] = {}
    for row in rows:
        for issue in {issue.id: issue for issue in row.known_issues.values()}.values():
            cells.setdefault(issue.id, (issue, []))[1].append(row.cell)
    for issue, names in cells.values():
        stages = f"{plain_text(', '.join(issue.stages))} in " if issue.stages else ""
        yield (
            f"- {link(issue.id, issue.link)}: {stages}{plain_text(', '.join(names))}: "
            f"{plain_text(issue.cause)}; fix: {plain_text(issue.fix)}"
        )


def _table(rows: list[Row]) -> Iterator[str]:
    names = stage_names(*(row.record for row in rows))
    header = ["cell", *CORE, *names, "compared with", "step"]
    yield table_row(header)
    yield f"|{'---|' * len(header)}"
    for row in rows:
        labels = (label(outcome).plain for outcome in row.displayed_outcomes(names))
        versions = (row.versions[name] for name in CORE)
        step = SHORT[row.judgement.answer] if row.compared_with and row.record else ""
        yield table_row(map(plain_text, (row.title, *versions, *labels, row.compared_with or "", step)))


def _steps(rows: Sequence[Row], folder: str) -> Iterator[str]:
    """The findings of each step along the diagonal in full; of the other cells, how many."""
    present = {row.cell for row in rows if row.record}
    compared = [row for row in rows if row.compared_with in present and row.record]
    for row in compared:
        if row.group == "diagonal":
            step = f"{plain_text(row.compared_with)} -> {plain_text(row.cell)}"
            yield from ("", f"## {step}: {row.judgement.answer}", "", *_findings(row), _details(row, folder))
    others = [row for row in compared if row.group != "diagonal"]
    yield from _section("Other steps", (_brief(row, folder) for row in others))


def _details(row: Row, folder: str) -> str:
    return f"- [every difference]({quote(f'{folder}{row.cell}/{CHANGES}')})"


def _findings(row: Row) -> Iterator[str]:
    untested = row.judgement.untested
    if untested:
        more = f" and {len(untested) - 1} more" if len(untested) > 1 else ""
        yield f"- **not tested** {inline_code(untested[0])}{more}"
    loud = [finding for finding in row.judgement.findings if finding.loud]
    yield from (f"- {finding_markdown(finding)}" for finding in loud)
    if not loud and not untested:
        yield "Nothing that was measured differs."


def _brief(row: Row, folder: str) -> str:
    step = f"{plain_text(row.compared_with)} -> **{plain_text(row.cell)}**"
    return f"{_details(row, folder)} {step}: {row.judgement.answer}; {_counts(row.judgement)}"


def _counts(judgement: Judgement) -> str:
    counts = Counter(finding.severity for finding in judgement.findings if finding.loud)
    return ", ".join(f"{number} {severity}" for severity, number in counts.items()) or "no findings"
