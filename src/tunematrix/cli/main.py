"""``tunematrix``: the commands that the nox sessions call."""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from tunematrix import __version__
from tunematrix.base.errors import RegressionError, TunematrixError, UntestableError, UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store, read
from tunematrix.cli import ci, questions
from tunematrix.locks import imported as bring
from tunematrix.locks import lock as locks
from tunematrix.locks import populate, table
from tunematrix.report import difference, terminal, write
from tunematrix.report import summary as view
from tunematrix.run import cell as cells
from tunematrix.run import models
from tunematrix.verdict import causes as known
from tunematrix.verdict import diff, ledger

PATH = click.Path(path_type=Path)
VERDICTS = {"regressed": RegressionError.exit_code, "unknown": UntestableError.exit_code}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """The same real fine-tuning work in every pinned combination, recorded and compared.

    Exit codes: 0 as expected; 1 a regression; 2 bad input or usage; 3 could not be tested.
    """


@cli.command()
@click.argument("name", metavar="CELL")
@click.option("--venv", type=PATH, help="Environment to use; by default one in the results folder.")
@click.option(
    "--model", default=models.DEFAULT, show_default=True, help="A short name, or a Hub repository id."
)
@click.option("--rerun", is_flag=True, help="Run also when nothing has changed since the last record.")
@click.option("--keep", is_flag=True, help="Keep the work folder also when all passed.")
@click.option("-k", "select", metavar="EXPR", help="Only the tests that match; the cell's record stays.")
@click.option("--workload", type=PATH, help="Folder with your own finetune.yaml, align.yaml, data, tests.")
def run(name: str, **options: Any) -> int:
    """Run one cell and bring the summary up to date."""
    matrix, store = table.load(), Store()
    chosen = cells.Options(**options)
    cell = matrix.cell(name)
    if (lock := matrix.lock(cell)).is_file() and (why := locks.stale(cell, lock)):
        click.echo(
            f"warning: {lock}: {why}; it is installed as it is. To remake it: nox -s lock -- {name}", err=True
        )
    click.echo(f"{name}: running; log: {store.work(name) / 'log.txt'}")
    record = cells.run(matrix, cell, chosen, store)
    issues = ledger.load(matrix.folder)
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


@cli.command()
@click.argument("names", nargs=-1, metavar="[CELL]...")
@click.option("--check", is_flag=True, help="Only say which locks are stale; exit 1 if any is.")
@click.option(
    "--from", "source", type=PATH, help="Make a cell of requirements, a freeze, pylock.toml or uv.lock."
)
@click.option("--name", help="Name of the cell that --from makes; by default the file's.")
@click.option("--populate", "by_rule", is_flag=True, help="Add and retire cells as [policy] asks, then lock.")
def lock(names: tuple[str, ...], *, check: bool, source: Path | None, name: str | None, by_rule: bool) -> int:
    """Make the locks of the named cells, or of all; what comes out the same keeps every byte."""
    matrix = table.load()
    if by_rule:
        names = tuple(_populate(matrix))
        if not names:
            return 0
        matrix = table.load()
    if source:
        return _bring(matrix, source, name or source.stem)
    chosen = [matrix.cell(name) for name in names] or [cell for cell in matrix.cells if not cell.given]
    return (
        _check_locks(matrix, chosen)
        if check
        else max((_make_lock(matrix, cell) for cell in chosen), default=0)
    )


def _populate(matrix: table.Matrix) -> list[str]:
    """Bring the table to its policy, tell the difference, and return the cells that want a lock."""
    found = populate.change(matrix, datetime.datetime.now(datetime.UTC).date())
    before = {cell.name: cell for cell in found.drop}
    for cell in found.drop:
        if cell.name not in {one.name for one, _ in found.put}:
            click.echo(f"- {_told(cell)}")
    for cell, _ in found.put:
        old = f" (was {_told(before[cell.name])})" if cell.name in before else ""
        click.echo(f"{'~' if old else '+'} {_told(cell)}{old}")
    for name, why in found.left_out.items():
        click.echo(f"  {name}: left out, {why}")
    if not found.put and not found.drop:
        click.echo(f"{table.FILE} is as its policy asks")
    populate.apply(matrix, found)
    return [cell.name for cell, _ in found.put]


def _told(cell: table.Cell) -> str:
    pins = " ".join(f"{name}=={version}" for name, version in cell.pins.items() if name != "torch")
    return f"{cell.name}: {pins}{f' as of {cell.as_of}' if cell.as_of else ''}"


def _bring(matrix: table.Matrix, source: Path, name: str) -> int:
    """Make the cell ``name`` of somebody's file, and say what that took."""
    cell, brought = bring.cell_of(matrix, source, name)
    for package, (theirs, ours) in brought.moved.items():
        click.echo(f"moved: {package} {theirs} -> {ours}, for the test tools")
    if brought.left_out:
        click.echo(f"left out, not releases for a CPU: {', '.join(brought.left_out)}")
    click.echo(f"added: {', '.join(brought.added) or 'nothing'}")
    click.echo(f"{matrix.lock(cell)}: {len(brought.packages)} packages; run it: nox -s 'e2e({name})'")
    return 0


def _check_locks(matrix: table.Matrix, chosen: list[table.Cell]) -> int:
    found = {cell.name: locks.stale(cell, matrix.lock(cell)) for cell in chosen}
    stale = {name: why for name, why in found.items() if why}
    for name, why in stale.items():
        click.echo(f"{name}: {why}; nox -s lock -- {name}")
    click.echo(f"{len(chosen) - len(stale)} of {len(chosen)} locks are as {table.FILE} asks")
    return RegressionError.exit_code if stale else 0


def _make_lock(matrix: table.Matrix, cell: table.Cell) -> int:
    try:
        changed = locks.write(cell, matrix.lock(cell))
    except UntestableError as error:
        click.echo(f"{cell.name}: {error.outcome}\n{error}", err=True)
        return error.exit_code
    click.echo(f"{cell.name}: {'written' if changed else 'unchanged'}")
    return 0


@cli.command()
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


@cli.command()
@click.argument("name", metavar="CELL|FILE")
def show(name: str) -> None:
    """Show one record: its stages, what went wrong, and what the pipeline had to adapt."""
    record = _record(name)
    click.echo(f"{record.cell}: {record.outcome}, {record.model.get('name', 'no model')}, {record.started}")
    for part in (*record.stages, *record.probes):
        tries = f", {part.attempts} attempts" if part.attempts > 1 else ""
        click.echo(f"  {part.name:<28} {part.outcome:<8} {part.seconds:6.1f} s{tries}")
    known_there = ledger.load(table.constraints_folder()).known(record)
    for reason in view.reasons(record.cell, record, known_there):
        click.echo(f"  {reason.line}")
    for row in record.call_sites:
        click.echo(f"  adapted: {row['call']}({row['argument']}) -> {row['use'] or 'dropped'}")


@cli.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="As JSON; docs/diff.md has the contract.")
@click.option("--markdown", is_flag=True, help="As Markdown.")
@click.option("--all", "whole", is_flag=True, help="All rows of every section, not the first 20.")
def compare(before: str, after: str, *, as_json: bool, markdown: bool, whole: bool) -> int:
    """Compare two cells, or two record files: what broke, what silently changed, what to edit."""
    one, other = (_record(name) for name in (before, after))
    diff.check_comparable(one, other)
    found = known.annotate(diff.compare(one, other), known.load(table.constraints_folder()))
    if as_json:
        click.echo(json.dumps(difference.plain(found, one.cell), indent=1, ensure_ascii=False))
    elif markdown:
        click.echo(difference.markdown(one, other, found), nl=False)
    else:
        click.echo("\n".join(difference.terminal(one, other, found, None if whole else 20)))
    return VERDICTS.get(found.verdict, 0)


def _record(name: str) -> Record:
    """The record in a file, or of a cell; raises ``UsageError`` where there is none."""
    path = Path(name)
    if path.suffix == ".json" or path.is_file():
        return read(path)
    return read(Store().path(table.load().cell(name).name))


@cli.command()
@click.argument("sessions", type=click.File(), default="-")
def jobs(sessions: TextIO) -> None:
    """Turn the output of 'nox -l --json' into a job matrix for GitHub."""
    try:
        listed = json.load(sessions)
    except ValueError as error:
        raise UsageError(f"not the output of 'nox -l --json': {error}") from None
    click.echo(json.dumps(ci.jobs(listed)))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def merge(folder: Path) -> int:
    """Bring the records of several jobs, below FOLDER, into the results folder; then see 'report'."""
    wrong = ci.merge(table.load(), folder, Store())
    for line in wrong:
        click.echo(line, err=True)
    return UsageError.exit_code if wrong else 0


@cli.command(hidden=True)
@click.argument("since", type=float)
def finish(since: float) -> int:
    """Show the summary once, after nox is done, if this nox ran a cell, and judge what it ran."""
    matrix, store = table.load(), Store()
    paths = {cell.name: store.path(cell.name) for cell in matrix.cells}
    ran = [name for name, path in paths.items() if path.is_file() and path.stat().st_mtime >= since]
    return _show(matrix, store, ran) if ran else 0


for question in (questions.upgrade_command, questions.bisect_command, questions.bounds_command):
    cli.add_command(question)


@contextlib.contextmanager
def exits() -> Iterator[None]:
    """The one place that turns errors into messages and exit codes."""
    try:
        yield
    except TunematrixError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except OSError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(3)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def main(arguments: list[str] | None = None) -> NoReturn:
    code = 0
    with exits():
        code = cli.main(arguments, prog_name="tunematrix", standalone_mode=False)
    sys.exit(code if isinstance(code, int) else 0)
