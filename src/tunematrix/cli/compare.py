"""``show``: print one record. ``diff``: compare two."""

from __future__ import annotations

import json

import click

from tunematrix.cli.results import MODEL, load_record
from tunematrix.locks import table
from tunematrix.report import difference
from tunematrix.report.rows import reasons
from tunematrix.shared.output import print_lines
from tunematrix.verdict import diff, ledger
from tunematrix.verdict.answer import Knowledge, judge


@click.command()
@click.argument("name", metavar="CELL|FILE")
@MODEL
def show(name: str, *, model: str | None) -> None:
    """Show the stages, the failures and the adapted calls of a record."""
    record = load_record(name, model)
    print_lines(
        [f"{record.cell}: {record.outcome}, {record.model.get('name', 'no model')}, {record.started}"]
    )
    for result in (*record.stages, *record.probes):
        attempts = f", {result.attempts} attempts" if result.attempts > 1 else ""
        print_lines([f"  {result.name:<28} {result.outcome:<8} {result.seconds:6.1f} s{attempts}"])
    known_issues = ledger.load(table.constraints_folder()).known_issues(record)
    print_lines(f"  {reason.line}" for reason in reasons(record, known_issues))
    for call_site in record.call_sites:
        replacement = call_site["use"] or "dropped"
        print_lines([f"  adapted: {call_site['call']}({call_site['argument']}) -> {replacement}"])


@click.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/diff.md describes the format.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option("--all", "show_all", is_flag=True, help="Print all findings, and then every difference.")
@MODEL
def diff_command(
    before: str, after: str, *, as_json: bool, as_markdown: bool, show_all: bool, model: str | None
) -> int:
    """Compare two cells or record files.

    Prints what broke, what changed silently, and which calls to edit.
    """
    left, right = load_record(before, model), load_record(after, model)
    diff.check_comparable(left, right)
    judgement = judge(left, right, Knowledge.load(table.constraints_folder()))
    if as_json:
        click.echo(json.dumps(difference.diff_json(judgement, left.cell), indent=1, ensure_ascii=False))
    elif as_markdown:
        click.echo(difference.diff_markdown(left, right, judgement), nl=False)
    else:
        print_lines(difference.diff_lines(left, right, judgement, everything=show_all))
    return judgement.exit_code
