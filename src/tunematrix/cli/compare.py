"""``show`` one record, ``diff`` two."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunematrix.base.errors import RegressionError, UntestableError
from tunematrix.base.record import Record
from tunematrix.base.store import Store, read
from tunematrix.locks import table
from tunematrix.report import difference
from tunematrix.report import summary as view
from tunematrix.verdict import causes, diff, ledger

VERDICTS = {"regressed": RegressionError.exit_code, "unknown": UntestableError.exit_code}


@click.command()
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


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="As JSON; docs/diff.md has the contract.")
@click.option("--markdown", is_flag=True, help="As Markdown.")
@click.option("--all", "whole", is_flag=True, help="All rows of every section, not the first 20.")
def diff_command(before: str, after: str, *, as_json: bool, markdown: bool, whole: bool) -> int:
    """Compare two cells, or two record files: what broke, what silently changed, what to edit."""
    one, other = (_record(name) for name in (before, after))
    diff.check_comparable(one, other)
    found = causes.annotate(diff.compare(one, other), causes.load(table.constraints_folder()))
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
