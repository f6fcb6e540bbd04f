"""``show``: print one record. ``diff``: compare two."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunematrix.base.errors import RegressionError, UntestableError
from tunematrix.base.record import Record
from tunematrix.base.store import Store, read_record
from tunematrix.locks import table
from tunematrix.report import difference
from tunematrix.report import summary as view
from tunematrix.verdict import causes, diff, ledger

EXIT_CODES = {"regressed": RegressionError.exit_code, "unknown": UntestableError.exit_code}


@click.command()
@click.argument("name", metavar="CELL|FILE")
def show(name: str) -> None:
    """Show the stages, the failures and the adapted calls of a record."""
    record = _load_record(name)
    click.echo(f"{record.cell}: {record.outcome}, {record.model.get('name', 'no model')}, {record.started}")
    for result in (*record.stages, *record.probes):
        attempts = f", {result.attempts} attempts" if result.attempts > 1 else ""
        click.echo(f"  {result.name:<28} {result.outcome:<8} {result.seconds:6.1f} s{attempts}")
    known_issues = ledger.load(table.constraints_folder()).known_issues(record)
    for reason in view.reasons(record.cell, record, known_issues):
        click.echo(f"  {reason.line}")
    for call_site in record.call_sites:
        replacement = call_site["use"] or "dropped"
        click.echo(f"  adapted: {call_site['call']}({call_site['argument']}) -> {replacement}")


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/diff.md describes the format.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option("--all", "show_all", is_flag=True, help="Print all entries of every section, not the first 20.")
def diff_command(before: str, after: str, *, as_json: bool, as_markdown: bool, show_all: bool) -> int:
    """Compare two cells or record files.

    Prints what broke, what changed silently, and which calls to edit.
    """
    left, right = _load_record(before), _load_record(after)
    diff.check_comparable(left, right)
    comparison = causes.annotate(diff.compare(left, right), causes.load(table.constraints_folder()))
    if as_json:
        click.echo(json.dumps(difference.diff_json(comparison, left.cell), indent=1, ensure_ascii=False))
    elif as_markdown:
        click.echo(difference.diff_markdown(left, right, comparison), nl=False)
    else:
        click.echo("\n".join(difference.diff_lines(left, right, comparison, None if show_all else 20)))
    return EXIT_CODES.get(comparison.verdict, 0)


def _load_record(name: str) -> Record:
    """The record of a cell or in a file; raises ``UsageError`` if there is none."""
    path = Path(name)
    if path.suffix == ".json" or path.is_file():
        return read_record(path)
    return read_record(Store().path(table.load().cell(name).name))
