"""``show``: print one record. ``diff``: compare two."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunematrix.base import toml
from tunematrix.base.errors import UsageError
from tunematrix.base.record import to_dict
from tunematrix.cli import explain
from tunematrix.cli.questions import RECORD_JSON
from tunematrix.cli.results import MODEL, load_record
from tunematrix.locks import table
from tunematrix.report import difference
from tunematrix.report.rows import reasons
from tunematrix.shared import reading
from tunematrix.shared.output import print_lines
from tunematrix.verdict import diff, ledger
from tunematrix.verdict.answer import Knowledge, judge


@click.command()
@click.argument("name", metavar="CELL|FILE")
@MODEL
@RECORD_JSON
def show(name: str, *, model: str | None, as_json: bool) -> None:
    """Show the stages, the failures and the adapted calls of a record."""
    record = load_record(name, model)
    if as_json:
        click.echo(json.dumps(to_dict(record), indent=1, ensure_ascii=False))
        return
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


def _lists_packages(name: str) -> bool:
    """Whether ``name`` is a file that is no record, whatever the name of a record's file is."""
    if Path(name).suffix == ".json" or not reading.is_file(name):
        return False
    return not toml.read_text(Path(name)).lstrip().startswith("{")


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
    """Compare two cells or record files, or two files that list packages.

    Of records it prints what broke, what changed silently, and which calls to edit. Of two environments, such
    as requirements.txt, uv.lock or pylock.toml, what moves and what is known to change with that, without
    running anything; 'upgrade --baseline A --against B' runs them.
    """
    listing = [name for name in (before, after) if _lists_packages(name)]
    if len(listing) == 2:
        style = "json" if as_json else "markdown" if as_markdown else "text"
        explain.diff_files(before, after, style=style, everything=show_all)
        return 0
    if listing:
        raise UsageError(
            f"{listing[0]} lists packages, and the other is a cell or a record; name two files that list "
            "packages, or compare a cell with one: tunematrix explain"
        )
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
