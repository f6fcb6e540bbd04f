"""``run``, and the summary that follows it: ``report``, ``finish``."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks import lock as locks
from tunematrix.locks import table
from tunematrix.report import summary as view
from tunematrix.report import terminal, write
from tunematrix.run import cell as cells
from tunematrix.run.options import Options
from tunematrix.shared.stages import DEFAULT_MODEL
from tunematrix.verdict import ledger

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("name", metavar="CELL")
@click.option("--venv", type=PATH, help="Environment to use; by default one in the results folder.")
@click.option(
    "--model", default=DEFAULT_MODEL, show_default=True, help="A short name, or a Hub repository id."
)
@click.option("--rerun", is_flag=True, help="Run also when nothing has changed since the last record.")
@click.option("--keep", is_flag=True, help="Keep the work folder also when all passed.")
@click.option("-k", "select", metavar="EXPR", help="Only the tests that match; the cell's record stays.")
@click.option("--workload", type=PATH, help="Folder with your own finetune.yaml, align.yaml, data, tests.")
def run(name: str, **options: Any) -> int:
    """Run one cell and bring the summary up to date."""
    matrix, store = table.load(), Store()
    chosen = Options(**options)
    cell = matrix.cell(name)
    if (lock := matrix.lock(cell)).is_file() and (why := locks.stale(cell, lock)):
        click.echo(
            f"warning: {lock}: {why}; it is installed as it is. To remake it: nox -s lock -- {name}", err=True
        )
    click.echo(f"{name}: running; log: {store.work(name) / 'log.txt'}")
    issues = ledger.load(matrix.folder)
    record = cells.run(matrix, cell, chosen, store, issues.annotate)
    _tell(record, store, issues)
    if not chosen.select:
        write.refresh(matrix, store)
    row = view.Row.of(record, issues)
    wrong = [*view.Summary(model="", rows=[row], ledger=issues).unexpected, *_expired(issues)]
    return view.exit_code([row.state], _say(wrong))


def _expired(issues: ledger.Ledger) -> list[str]:
    return view.expired(issues, datetime.datetime.now(datetime.UTC).date())


def _say(wrong: list[str]) -> list[str]:
    for line in wrong:
        click.echo(line, err=True)
    return wrong


def _tell(record: Record, store: Store, issues: ledger.Ledger) -> None:
    """One line for the cell, and one per root cause."""
    how = "reused, nothing has changed; --rerun runs it again" if record.reused else f"{record.seconds:.0f} s"
    click.echo(f"{record.cell}: {record.outcome} ({how})")
    for reason in view.reasons(record.cell, record, issues.known(record)):
        click.echo(f"  {reason.line}")
    kept = store.work(record.cell) / "run"
    if kept.is_dir():
        click.echo(f"  work folder kept: {kept}")


@click.command()
def report() -> int:
    """Render the summary from the records there are, show it, and judge it."""
    return _show(table.load(), Store())


def _show(matrix: table.Matrix, store: Store, ran: Sequence[str] | None = None) -> int:
    """Show the summary and judge it: all of it, or the cells that ``ran`` and the ledger."""
    found = write.refresh(matrix, store)
    terminal.show(found)
    click.echo(f"details: {store.folder / 'summary.md'}")
    judged = [row.state for row in found.rows if ran is None or row.cell in ran]
    return view.exit_code(judged, [*found.problems, *_say(_expired(found.ledger))])


@click.command(hidden=True)
@click.argument("since", type=float)
def finish(since: float) -> int:
    """Show the summary once, after nox is done, if this nox ran a cell, and judge what it ran."""
    matrix, store = table.load(), Store()
    paths = {cell.name: store.path(cell.name) for cell in matrix.cells}
    ran = [name for name, path in paths.items() if path.is_file() and path.stat().st_mtime >= since]
    return _show(matrix, store, ran) if ran else 0
