"""``run`` a cell, and show the summary: ``report``, ``finish``."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record, to_dict
from tunematrix.base.store import Store, stores
from tunematrix.cli import live, plan, questions
from tunematrix.cli.results import MODEL, open_store
from tunematrix.locks import imported, table
from tunematrix.locks import lock as locks
from tunematrix.report import markdown, problems, write
from tunematrix.report import summary as view
from tunematrix.report.overview import Overview
from tunematrix.report.rows import Row, age, day, reasons
from tunematrix.run import cell as cells
from tunematrix.run.options import Options
from tunematrix.shared.output import print_lines
from tunematrix.shared.stages import DEPTHS, FULL
from tunematrix.verdict import ledger

PATH = click.Path(path_type=Path)


def cell_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a run of a cell, which also decide whether its record can be reused."""
    for option in reversed(
        (
            questions.MODEL,
            click.option("--rerun", is_flag=True, help="Run even if nothing has changed."),
            click.option("--keep", is_flag=True, help="Keep the work folder even if every stage passes."),
            click.option(
                "-k",
                "select",
                metavar="EXPR",
                help="Run only the tests that match; leave the record as it is.",
            ),
            questions.WORKLOAD,
            questions.COMMAND,
            click.option(
                "--depth",
                type=click.Choice(DEPTHS),
                default=FULL,
                show_default=True,
                help="quick leaves out what the fingerprint measures by method; deep adds options of further "
                "trainers.",
            ),
            questions.RECORD_JSON,
            questions.QUIET,
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name", metavar="CELL")
@click.option("--venv", type=PATH, help="Environment to use. Default: one in the results folder.")
@cell_options
def run(name: str, *, as_json: bool, quiet: bool, **arguments: Any) -> int:
    """Run one cell and update the summary."""
    matrix, options = table.load(), Options.of(**arguments)
    options.check()
    cell = matrix.cell(name)
    store = open_store(options.model)
    if (lock := matrix.lock_path(cell)).is_file() and (why := locks.stale_reason(cell, lock)):
        click.echo(f"warning: {lock}: {why}; installed anyway. To update it: nox -s lock -- {name}", err=True)
    if warning := imported.outdated(matrix, cell):
        print_lines([f"warning: {warning}"], err=True)
    issues = ledger.load(matrix.folder)
    with live.shown(quiet=quiet) as progress:
        progress(f"{name}: running; log: {store.cell_folder(name) / 'log.txt'}")
        record = cells.run(matrix, cell, options, store, issues.annotate)
    if not (options.select or os.environ.get(plan.OUTER)):  # at its end nox makes the summary of all cells
        _print_errors(filter(None, [write.refresh(matrix, store).history_problem]))
    if as_json:
        click.echo(json.dumps(to_dict(record), indent=1, ensure_ascii=False))
    else:
        _print_record(record, store, issues)
        if not options.select and not os.environ.get(plan.OUTER):  # nox ends with it
            click.echo(f"open: {store.folder / 'summary.md'}   (as a page: tunematrix report)")
    row = Row.from_record(record, issues)
    problems = [*view.Summary(model="", rows=[row], ledger=issues).unexpected, *_expired(issues)]
    _print_errors(problems)
    return view.exit_code([row.state], problems)


def _expired(issues: ledger.Ledger) -> list[str]:
    return view.expired_entries(issues, datetime.datetime.now(datetime.UTC).date())


def _print_errors(lines: Iterable[str]) -> None:
    print_lines(lines, err=True)


def describe(record: Record, issues: ledger.Ledger) -> Iterator[str]:
    """One line for the cell, and one per root cause."""
    duration = f"{record.seconds:.0f} s"
    if record.reused:
        duration = f"reused, nothing has changed in {age(record)}; --rerun runs it again"
    yield f"{record.cell}: {record.outcome} ({duration})"
    yield from (f"  {reason.line}" for reason in reasons(record, issues.known_issues(record)))


def _print_record(record: Record, store: Store, issues: ledger.Ledger) -> None:
    """Print what there is to say of the cell, and where more is."""
    print_lines(describe(record, issues))
    if record.interruption and (earlier := store.load(record.cell)):
        click.echo(f"  the record of {day(earlier)} stays: a run that was cut off is no evidence")
    folder = store.cell_folder(record.cell) / "run"
    if folder.is_dir():
        click.echo(f"  work folder kept: {folder}")


@click.command()
@MODEL
@questions.RECORD_JSON
@click.option(
    "--strict", is_flag=True, help="Exit with 1 also for a broken or wrong finding without explanation."
)
@click.option("--brief", type=PATH, help="Also write a summary of one screen, as Markdown.")
def report(model: str | None, *, as_json: bool, strict: bool, brief: Path | None) -> int:
    """Write the summary from the existing records, and print it."""
    store = open_store(model)
    summary = write.refresh(table.load(), store, page=True)
    shown = Overview.of(summary)
    if not model:
        _print_errors(_other_model(store))
    expired = _print_problems(summary.ledger, summary.history_problem)
    if as_json:
        click.echo(json.dumps(view.summary_json(summary), indent=1, ensure_ascii=False))
    else:
        _print_overview(shown, store)
    found = problems.problems(summary) if strict or brief else []
    if brief:
        write_atomic(brief, markdown.brief(summary, found))
    _print_errors([f"{problem.id}: {problem.title}" for problem in found] if strict else [])
    code = view.exit_code([line.state for line in shown.lines], [*shown.problems, *expired])
    return 1 if strict and found else code


def _other_model(store: Store) -> Iterator[str]:
    """A line if the workload asks for another model than that of ``store``, which ran last."""
    with contextlib.suppress(UsageError):  # a workload that cannot be read is told where it runs
        asked = Options.of()
        if asked.scripts and store.cells() and asked.model != store.model:
            other = f"this is of {store.model}, which ran last"
            yield f"{asked.workload} asks for {asked.model}; {other}: nox -s e2e"


def _print_overview(overview: Overview, store: Store) -> None:
    from tunematrix.report import terminal  # rich is slow to import, and not all show a table

    terminal.show(overview)
    click.echo(f"open: {store.folder / 'summary.html'}   (as text: summary.md)")


def _print_problems(issues: ledger.Ledger, history_problem: str) -> list[str]:
    """Print what is wrong beside the cells; returns the entries of the ledger that have expired."""
    expired = _expired(issues)
    _print_errors(filter(None, [*expired, history_problem]))
    return expired


@click.command(hidden=True)
@click.argument("started", type=float)
def finish(started: float) -> int:
    """Print the summary at the end of nox if it ran a cell; STARTED is the Unix time when nox started."""
    matrix = table.load()
    codes = []
    for store in stores(open_store().root):
        ran = [cell.name for cell in matrix.cells if _ran_since(started, store, cell.name)]
        codes += [_finish(matrix, store, ran)] if ran else []
    return min(filter(None, codes), default=0)  # a regression is 1, which goes before 2 and 3


def _finish(matrix: table.Matrix, store: Store, ran: Sequence[str]) -> int:
    """Print the summary of a model; returns the exit code for the ledger and for the cells that ``ran``."""
    overview, history_problem = write.overview(matrix, store)
    expired = _print_problems(ledger.load(matrix.folder), history_problem)
    _print_overview(overview, store)
    states = [line.state for line in overview.lines if line.cell in ran]
    return view.exit_code(states, [*overview.problems, *expired])


def _ran_since(started: float, store: Store, cell: str) -> bool:
    paths = (store.path(cell), store.interrupted_path(cell), store.running_path(cell))
    return any(path.is_file() and path.stat().st_mtime >= started for path in paths)
