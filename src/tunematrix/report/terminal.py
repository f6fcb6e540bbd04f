"""The summary for a terminal: the table, then one line per root cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tunematrix.locks.table import CORE
from tunematrix.report.summary import Row, Summary, reasons
from tunematrix.shared.stages import STAGES
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
    "known": ("known", "yellow"),
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
CHANGE_KINDS: Final = {
    "fingerprint": "number",
    "call_site": "edit",
    "signature": "lost name",
    "warning": "new warning",
}
WIDTH: Final = 120  # without a terminal: CI logs


def label(outcome: str) -> Text:
    word, style = LABELS.get(outcome, (outcome.upper(), "bold red"))
    return Text(word, style=style)


def default_console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def show(summary: Summary, console: Console | None = None) -> None:
    """Print the table, one line per root cause, what changed, and the counts.

    Leaves out the last two columns of the table if the whole table is too wide.
    """
    console = console or default_console()
    wide = _table(summary, wide=True)
    width = Measurement.get(console, console.options.update(width=10_000), wide).maximum
    console.print(wide if width <= console.width else _table(summary, wide=False))
    for row in summary.rows:
        for reason in reasons(row.cell, row.record, row.known_issues) if row.record else []:
            if not reason.issue:
                line = Text.assemble((row.cell, "bold"), " ", reason.line)
                console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    for line in _known_issues(summary.rows):
        console.print(line)
    if missing := [row.cell for row in summary.rows if not row.record]:
        message = f"not run yet, or run with another model: {', '.join(missing)}"
        console.print(Text(message, style="yellow"))
    if changed := [f"  {row.cell}: {counts}" for row in summary.rows if (counts := _change_counts(row))]:
        heading = "changed compared with the cell above; for details: tunematrix diff A B"
        console.print(Text("\n".join([heading, *changed])))
    for problem in summary.problems:
        console.print(Text(problem, style="bold red"))
    states = Counter(row.state for row in summary.rows)
    console.print(Text(", ".join(f"{number} {state}" for state, number in states.items()), style="bold"))


def _known_issues(rows: list[Row]) -> Iterator[Text]:
    """Two lines for each known issue: the stages and cells that it affects, then its cause and fix."""
    cells_by_issue: dict[str, tuple[Issue, list[str]]] = {}
    for row in rows:
        for issue in {issue.id: issue for issue in row.known_issues.values()}.values():
            cells_by_issue.setdefault(issue.id, (issue, []))[1].append(row.cell)
    for issue, cells in cells_by_issue.values():
        stages = f" {', '.join(issue.stages)}" if issue.stages else ""
        yield Text.assemble(("known ", "yellow"), (issue.id, "bold"), f":{stages} in {', '.join(cells)}")
        yield Text(f"  {issue.cause}; fix: {issue.fix}")


def _table(summary: Summary, *, wide: bool) -> Table:
    """The table of cells and stages; ``wide`` adds the comparison and the time."""
    title = f"Compatibility summary: {summary.model or 'nothing run yet'}"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=0)
    table.add_column("cell", overflow="fold", min_width=8)
    for name in CORE:
        table.add_column(HEADERS.get(name, name), no_wrap=True)
    for name in STAGES:
        table.add_column(HEADERS.get(name, name), justify="center", no_wrap=True)
    if wide:
        table.add_column("vs.\nabove", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
    for row in summary.rows:
        versions = (row.versions[name] for name in CORE)
        labels = (label(outcome) for outcome in row.displayed_outcomes)
        table.add_row(row.cell, *versions, *labels, *((_verdict(row), _time(row)) if wide else ()))
    return table


def _verdict(row: Row) -> Text:
    if row.compared_with is None or row.record is None:
        return Text("")
    styles = {"regressed": "bold red", "fixed": "green", "changed": "yellow"}
    return Text(row.comparison.verdict, style=styles.get(row.comparison.verdict, "dim"))


def _change_counts(row: Row) -> str:
    """The number of changes by kind: ``3 numbers, 1 edit``."""
    counts = Counter(CHANGE_KINDS.get(change.kind, change.kind) for change in row.comparison.changes)
    return ", ".join(f"{number} {kind}{'s' * (number > 1)}" for kind, number in counts.items())


def _time(row: Row) -> str:
    if row.record is None:
        return ""
    return "reused" if row.record.reused else f"{row.record.seconds:.0f} s"
