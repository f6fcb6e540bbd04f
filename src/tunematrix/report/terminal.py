"""The summary for a terminal: read at two in the morning, so what broke comes in plain words."""

from __future__ import annotations

from collections import Counter
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunematrix.matrix.record import STAGES
from tunematrix.matrix.table import CORE
from tunematrix.report.view import Row, reasons

SIGNS: Final = {
    "passed": ("ok", "green"),
    "failed": ("FAIL", "bold red"),
    "crashed": ("CRASH", "bold red"),
    "timed_out": ("TIME", "bold red"),
    "skipped": ("skip", "yellow"),
    "unavailable": ("n/a", "dim"),
    "not_run": ("-", "dim"),
    "unknown": ("?", "bold yellow"),
    "unresolvable": ("no lock", "bold red"),
    "uninstallable": ("no env", "bold red"),
}
HEADS: Final = {
    "transformers": "trans-\nformers",
    "download": "down-\nload",
    "finetune": "fine-\ntune",
    "finetune-resume": "tune\nresume",
    "align": "align\n(DPO)",
    "align-resume": "align\nresume",
    "generate": "gene-\nrate",
}
KINDS: Final = {"fingerprint": "number", "call_site": "edit"}
WIDTH: Final = 110  # without a terminal: CI logs
NARROW: Final = 96  # below, the last two columns are left out


def sign(outcome: str) -> Text:
    word, style = SIGNS.get(outcome, (outcome.upper(), "bold red"))
    return Text(word, style=style)


def console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


def show(table: list[Row], model: str, out: Console | None = None) -> None:
    """Print the table, then one line per root cause, then what moved and how it ended."""
    out = out or console()
    out.print(_table(table, model, wide=out.width >= NARROW))
    for row in table:
        for reason in reasons(row.cell, row.record):
            line = Text.assemble((row.cell, "bold"), " ", reason.line)
            out.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    if moved := [f"{row.cell}: {text}" for row in table if (text := _moved(row))]:
        out.print(Text("moved since the cell above it: " + "; ".join(moved)))
    counts = Counter(row.outcome for row in table)
    out.print(Text(", ".join(f"{number} {outcome}" for outcome, number in counts.items()), style="bold"))


def _table(table: list[Row], model: str, *, wide: bool) -> Table:
    title = f"Does it work? The same work in every pinned combination; model: {model or 'nothing run yet'}"
    shown = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=0)
    for name in ("cell", *CORE):
        shown.add_column(HEADS.get(name, name), no_wrap=True)
    for name in STAGES:
        shown.add_column(HEADS.get(name, name), justify="center", no_wrap=True)
    if wide:
        shown.add_column("since\nabove", no_wrap=True)
        shown.add_column("time", justify="right", no_wrap=True)
    for row in table:
        whole = row.outcome if row.outcome.startswith("un") else None
        outcomes = (sign(whole or outcome) for outcome in row.stages.values())
        versions = (row.versions[name] for name in CORE)
        shown.add_row(row.cell, *versions, *outcomes, *((_since(row), _time(row)) if wide else ()))
    return shown


def _since(row: Row) -> Text:
    if row.since is None or row.record is None:
        return Text("")
    style = {"regressed": "bold red", "fixed": "green", "changed": "yellow"}.get(row.compared.verdict, "dim")
    return Text(row.compared.verdict, style=style)


def _moved(row: Row) -> str:
    """How many changes since the cell before, by kind: ``3 numbers, 1 edit``."""
    counts = Counter(KINDS.get(change.kind, change.kind) for change in row.compared.changes)
    return ", ".join(f"{number} {kind}{'s' * (number > 1)}" for kind, number in counts.items())


def _time(row: Row) -> str:
    if row.record is None:
        return ""
    return "reused" if row.record.reused else f"{row.record.seconds:.0f} s"
