"""The summary for a terminal: the table, then one line per root cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tunematrix.locks import neighbours
from tunematrix.locks.table import CORE
from tunematrix.report.overview import Line, Overview
from tunematrix.shared.lines import one_line
from tunematrix.verdict.answer import BEHAVIOUR_CHANGES, BREAKS, CANNOT_TELL, SHORT

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


def show(overview: Overview, console: Console | None = None) -> None:
    """Print the table, one line per root cause, and the counts.

    Leaves out the last two columns of the table if the whole table is too wide.
    """
    console = console or default_console()
    wide = _table(overview, wide=True)
    width = Measurement.get(console, console.options.update(width=10_000), wide).maximum
    console.print(wide if width <= console.width else _table(overview, wide=False))
    if width <= console.width and any(line.answer for line in overview.lines):
        console.print(_text(STEP, "dim"))
    for remark in overview.remarks:
        text = Text.assemble(_text(remark.cell, "bold"), " ", _text(remark.text))
        console.print(text, no_wrap=not remark.whole, overflow="fold" if remark.whole else "ellipsis")
    for known in overview.known:
        console.print(Text.assemble(("known ", "yellow"), _text(known.id, "bold"), _text(known.where)))
        console.print(_text(f"  {known.advice}"))
    if missing := [line.cell for line in overview.lines if line.state == "unknown"]:
        message = f"not run yet, or run with another model: {', '.join(missing)}"
        console.print(_text(message, "yellow"))
    for problem in overview.problems:
        console.print(_text(problem, "bold red"))
    states = Counter(line.state for line in overview.lines)
    console.print(_text(", ".join(f"{number} {state}" for state, number in states.items()), "bold"))


def _table(overview: Overview, *, wide: bool) -> Table:
    """The table of cells and stages by group; ``wide`` adds the comparison and the time."""
    title = _text(f"Compatibility summary: {overview.model or 'nothing run yet'}", "table.title")
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=0)
    table.add_column("cell", overflow="fold", min_width=8)
    for name in CORE:
        table.add_column(HEADERS.get(name, name), no_wrap=True)
    for name in overview.stages:
        table.add_column(HEADERS.get(name, name), justify="center", no_wrap=True)
    if wide:
        table.add_column("step", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
    groups = [list(members) for _, members in groupby(overview.lines, key=lambda line: line.group)]
    for members in groups:
        if len(groups) > 1:
            table.add_row(_text(neighbours.HEADINGS[members[0].group], "italic dim"))
        for line in members:
            table.add_row(*_cells(line, wide=wide))
    return table


def _cells(line: Line, *, wide: bool) -> Iterator[Text | str]:
    yield _text(line.title)
    yield from (_text(line.versions[name]) for name in CORE)
    yield from map(label, line.outcomes.values())
    if wide:
        yield _step(line)
        yield _time(line)


def _step(line: Line) -> Text:
    """The answer to the step from the cell that the line is compared with, in a word."""
    styles = {BREAKS: "bold red", BEHAVIOUR_CHANGES: "yellow", CANNOT_TELL: "dim"}
    return _text(SHORT[line.answer], styles.get(line.answer, "green")) if line.answer else Text("")


def _time(line: Line) -> str:
    if line.seconds is None:
        return ""
    return "reused" if line.reused else f"{line.seconds:.0f} s"
