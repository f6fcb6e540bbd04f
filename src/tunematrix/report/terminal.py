"""The summary for a terminal: the table, then one line per root cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tunematrix.base.record import stage_names
from tunematrix.locks import neighbours
from tunematrix.locks.table import CORE
from tunematrix.report.rows import Row
from tunematrix.report.summary import Summary
from tunematrix.shared.lines import one_line
from tunematrix.verdict.answer import BEHAVIOUR_CHANGES, BREAKS, CANNOT_TELL, SHORT
from tunematrix.verdict.ledger import Issue

LABELS: Final = {
    "passed": ("ok", "green"),
    "failed": ("FAIL", "bold red"),
    "crashed": ("CRASH", "bold red"),
    "timed_out": ("TIME", "bold red"),
    "skipped": ("skip", "yellow"),
    "unavailable": ("n/a", "dim"),
    "not_run": ("-", "dim"),
    "unknown": ("?", "bold yellow"),
    "interrupted": ("cut off", "bold yellow"),
    "known": ("known", "yellow"),
    "outdated": ("old", "yellow"),
    "unresolvable": ("no lock", "bold red"),
    "uninstallable": ("no env", "bold red"),
}
HEADERS: Final = {
    "transformers": "trans-\nformers",
    "download": "down-\nload",
    "finetune": "fine-\ntune",
    "finetune-resume": "tune\nresume",
    "align": "align\n(DPO)",
    "align-resume": "align\nresume",
    "generate": "gene-\nrate",
}
STEP: Final = "step: the answer to the change from the cell that summary.md names beside it"
WIDTH: Final = 120  # without a terminal: CI logs


def label(outcome: str) -> Text:
    word, style = LABELS.get(outcome, (outcome.upper(), "bold red"))
    return _text(word, style)


def _text(value: str, style: str = "") -> Text:
    """``value`` on one line, without markup and control characters."""
    return Text(one_line(value), style=style)


def default_console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def show(summary: Summary, console: Console | None = None) -> None:
    """Print the table, one line per root cause, and the counts.

    Leaves out the last two columns of the table if the whole table is too wide.
    """
    console = console or default_console()
    wide = _table(summary, wide=True)
    width = Measurement.get(console, console.options.update(width=10_000), wide).maximum
    console.print(wide if width <= console.width else _table(summary, wide=False))
    if width <= console.width and any(row.compared_with for row in summary.rows):
        console.print(_text(STEP, "dim"))
    for row in summary.rows:
        for reason in row.reasons if row.state != "unknown" else []:
            if not reason.issue:
                text = Text.assemble(_text(row.cell, "bold"), " ", _text(reason.line))
                whole = reason.is_note
                console.print(text, no_wrap=not whole, overflow="fold" if whole else "ellipsis")
    for text in _known_issues(summary.rows):
        console.print(text)
    if missing := [row.cell for row in summary.rows if row.state == "unknown"]:
        message = f"not run yet, or run with another model: {', '.join(missing)}"
        console.print(_text(message, "yellow"))
    for problem in summary.problems:
        console.print(_text(problem, "bold red"))
    states = Counter(row.state for row in summary.rows)
    console.print(_text(", ".join(f"{number} {state}" for state, number in states.items()), "bold"))


def _known_issues(rows: list[Row]) -> Iterator[Text]:
    """Two lines for each known issue: the stages and cells that it affects, then its cause and fix."""
    cells_by_issue: dict[str, tuple[Issue, list[str]]] = {}
    for row in rows:
        for issue in {issue.id: issue for issue in row.known_issues.values()}.values():
            cells_by_issue.setdefault(issue.id, (issue, []))[1].append(row.cell)
    for issue, cells in cells_by_issue.values():
        stages = f" {', '.join(issue.stages)}" if issue.stages else ""
        affected = _text(f":{stages} in {', '.join(cells)}")
        yield Text.assemble(("known ", "yellow"), _text(issue.id, "bold"), affected)
        yield _text(f"  {issue.cause}; fix: {issue.fix}")


def _table(summary: Summary, *, wide: bool) -> Table:
    """The table of cells and stages by group; ``wide`` adds the comparison and the time."""
    title = _text(f"Compatibility summary: {summary.model or 'nothing run yet'}", "table.title")
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=0)
    table.add_column("cell", overflow="fold", min_width=8)
    for name in CORE:
        table.add_column(HEADERS.get(name, name), no_wrap=True)
    names = stage_names(*(row.record for row in summary.rows))
    for name in names:
        table.add_column(HEADERS.get(name, name), justify="center", no_wrap=True)
    if wide:
        table.add_column("step", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
    groups = [list(members) for _, members in groupby(summary.rows, key=lambda row: row.group)]
    for members in groups:
        if len(groups) > 1:
            table.add_row(_text(neighbours.HEADINGS[members[0].group], "italic dim"))
        for row in members:
            table.add_row(*_cells(row, names, wide=wide))
    return table


def _cells(row: Row, names: Sequence[str], *, wide: bool) -> Iterator[Text | str]:
    yield _text(row.title)
    yield from (_text(row.versions[name]) for name in CORE)
    yield from (label(outcome) for outcome in row.displayed_outcomes(names))
    if wide:
        yield _step(row)
        yield _time(row)


def _step(row: Row) -> Text:
    """The answer to the step from the cell that the row is compared with, in a word."""
    if row.compared_with is None or row.record is None:
        return Text("")
    styles = {BREAKS: "bold red", BEHAVIOUR_CHANGES: "yellow", CANNOT_TELL: "dim"}
    return _text(SHORT[row.judgement.answer], styles.get(row.judgement.answer, "green"))


def _time(row: Row) -> str:
    if row.record is None:
        return ""
    return "reused" if row.record.reused else f"{row.record.seconds:.0f} s"
