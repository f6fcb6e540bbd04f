"""The summary for a terminal: read at two in the morning, so what broke comes in plain words."""

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

SIGNS: Final = {
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
HEADS: Final = {
    "transformers": "trans-\nformers",
    "download": "down-\nload",
    "finetune": "fine-\ntune",
    "finetune-resume": "tune\nresume",
    "align": "align\n(DPO)",
    "align-resume": "align\nresume",
    "generate": "gene-\nrate",
}
KINDS: Final = {
    "fingerprint": "number",
    "call_site": "edit",
    "signature": "lost name",
    "warning": "new warning",
}
WIDTH: Final = 120  # without a terminal: CI logs


def sign(outcome: str) -> Text:
    word, style = SIGNS.get(outcome, (outcome.upper(), "bold red"))
    return Text(word, style=style)


def console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


def show(found: Summary, out: Console | None = None) -> None:
    """Print the table, then one line per root cause, then what moved and how it ended.

    Where the whole table is too wide, its last two columns are left out.
    """
    out = out or console()
    wide = _table(found, wide=True)
    fits = Measurement.get(out, out.options.update(width=10_000), wide).maximum <= out.width
    out.print(wide if fits else _table(found, wide=False))
    for row in found.rows:
        for reason in reasons(row.cell, row.record, row.known) if row.record else []:
            if not reason.issue:
                line = Text.assemble((row.cell, "bold"), " ", reason.line)
                out.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    for line in _known(found.rows):
        out.print(line)
    if missing := [row.cell for row in found.rows if not row.record]:
        out.print(Text(f"not run yet, or with another model: {', '.join(missing)}", style="yellow"))
    if moved := [f"  {row.cell}: {text}" for row in found.rows if (text := _moved(row))]:
        out.print(Text("\n".join(["moved since the cell above it; tunematrix diff A B tells what:", *moved])))
    for problem in found.problems:
        out.print(Text(problem, style="bold red"))
    counts = Counter(row.state for row in found.rows)
    out.print(Text(", ".join(f"{number} {state}" for state, number in counts.items()), style="bold"))


def _known(rows: list[Row]) -> Iterator[Text]:
    """A paragraph for each known issue: where it shows, why, and what mends it."""
    seen: dict[str, tuple[Issue, list[str]]] = {}
    for row in rows:
        for issue in {issue.id: issue for issue in row.known.values()}.values():
            seen.setdefault(issue.id, (issue, []))[1].append(row.cell)
    for issue, cells in seen.values():
        stages = f" {', '.join(issue.stages)}" if issue.stages else ""
        yield Text.assemble(("known ", "yellow"), (issue.id, "bold"), f":{stages} in {', '.join(cells)}")
        yield Text(f"  {issue.cause}; fix: {issue.fix}")


def _table(found: Summary, *, wide: bool) -> Table:
    title = "Does it work? The same work in every pinned combination; model: "
    shown = Table(
        box=box.SIMPLE_HEAD, title=title + (found.model or "nothing run yet"), title_justify="left", padding=0
    )
    shown.add_column("cell", overflow="fold", min_width=8)
    for name in CORE:
        shown.add_column(HEADS.get(name, name), no_wrap=True)
    for name in STAGES:
        shown.add_column(HEADS.get(name, name), justify="center", no_wrap=True)
    if wide:
        shown.add_column("since\nabove", no_wrap=True)
        shown.add_column("time", justify="right", no_wrap=True)
    for row in found.rows:
        versions = (row.versions[name] for name in CORE)
        signs = (sign(outcome) for outcome in row.shown)
        shown.add_row(row.cell, *versions, *signs, *((_since(row), _time(row)) if wide else ()))
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
