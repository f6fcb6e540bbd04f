"""``history``: since when something is so, what flaked, and how long cells take."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import Any

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.history import History
from tunematrix.base.toml import unreadable_is_usage_error
from tunematrix.cli.results import MODEL, open_root
from tunematrix.locks import table
from tunematrix.locks.table import Matrix
from tunematrix.report import history as view
from tunematrix.report.remember import import_folder
from tunematrix.shared.output import print_lines
from tunematrix.shared.reading import expand_path
from tunematrix.shared.suggest import did_you_mean
from tunematrix.verdict.answer import Knowledge
from tunematrix.verdict.past import pasts, sightings


@click.command("history")
@click.argument("name", metavar="[CELL | FINDING]", required=False)
@click.option(
    "--import",
    "folder",
    is_flag=False,
    flag_value="",
    metavar="[FOLDER]",
    help="Add the records below a folder. Default: the results folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/history.md describes the format.")
@MODEL
def history_command(name: str | None, *, folder: str | None, as_json: bool, model: str | None) -> int:
    """Show since when each cell is as it is, what flaked, and how long it takes.

    With the name of a cell all about it, with the id of a finding where it is and since when. Runs are added
    when they end, and by 'merge'; --import adds what other records say, and adds nothing twice.
    """
    matrix, history = table.load(), History(open_root())
    if folder is not None:
        return _import(folder, matrix, history, as_json=as_json)
    lines, content = _answer(name, _model(history, model), matrix, history)
    if as_json:
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print_lines(lines)
    return 0


def _model(history: History, name: str | None) -> str:
    """The model ``name``, by default the one that ran last; raises ``UsageError`` if it has no runs."""
    models = history.models()
    if name in models or (models and not name):
        return name or models[0]
    missing = f"no runs with {name:.100}" if name else "no runs"
    raise UsageError(f"{history.path}: {missing} in it{did_you_mean(name or '', models)}")


def _import(text: str, matrix: Matrix, history: History, *, as_json: bool) -> int:
    with unreadable_is_usage_error():
        folder = expand_path(text) if text else history.root
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name one with records, or none for the results folder")
    # Loaded once, and only if there is a step to judge.
    knowledge = cache(lambda: Knowledge.load(matrix.folder, today=datetime.date.min))
    added = import_folder(folder, matrix, history, knowledge)
    print_lines([*added.left_out, *added.errors], err=True)
    if as_json:
        click.echo(json.dumps({"runs": added.runs, "steps": added.steps}))
    else:
        print_lines([f"{added.runs} runs and {added.steps} steps added to {history.path}"])
    return UsageError.exit_code if added.errors else 0


def _answer(
    name: str | None, model: str, matrix: Matrix, history: History
) -> tuple[Iterator[str], dict[str, Any]]:
    """The lines and the JSON about the cell or finding ``name``, or about all cells."""
    runs, steps = history.read(model)
    order = [cell.name for cell in matrix.cells]
    cells = pasts(runs, steps, order)
    if name is None:
        return view.table(cells), view.to_json(model, cells)
    if own := [past for past in cells if past.cell == name]:
        return chain.from_iterable(view.detail(past, model) for past in own), view.to_json(model, own)
    if found := sightings(name, steps, order):
        return view.finding_lines(name, found), view.finding_json(model, name, found)
    findings = {finding.id for step in steps for finding in step.findings}
    names = list(dict.fromkeys(past.cell for past in cells)) + sorted(findings)
    raise UsageError(
        f"{name:.100}: no cell and no finding in the history of {model}{did_you_mean(name, names)}"
    )
