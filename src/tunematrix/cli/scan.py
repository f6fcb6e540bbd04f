"""``scan``: where a team's own code meets what an upgrade changes, without running anything."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunematrix.base.errors import RegressionError, UntestableError
from tunematrix.cli import live
from tunematrix.cli.questions import BASELINE, JSON, QUIET
from tunematrix.cli.results import open_store
from tunematrix.code import fix, uses
from tunematrix.questions import candidate
from tunematrix.questions.requests import nothing_moves
from tunematrix.report import scan as screens
from tunematrix.shared.output import print_lines
from tunematrix.verdict import prediction, releases, usage


@click.command("scan")
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--to", "requests", multiple=True, required=True, metavar="REQUEST", help="Such as trl==1.16.0."
)
@BASELINE
@click.option("--fix", "fixed", is_flag=True, help="Make the mechanical edits in the files.")
@JSON
@QUIET
def scan_command(
    path: Path,
    *,
    requests: tuple[str, ...],
    baseline: str | None,
    fixed: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Tell where the Python files in PATH meet what an upgrade changes, without running anything.

    Names and arguments that are gone, and defaults that your calls do not set, each with the release that did
    it, from the data of the ladder. Exits 1 if there is anything to edit, 3 if nothing is known and the
    ladder does not reach over the whole move.
    """
    code = uses.read(path)
    store = open_store()
    with live.shown(quiet=quiet) as progress:
        base = candidate.load_baseline(baseline, store, progress)
        try:
            found = candidate.resolve(base, requests, store)
        except UntestableError as error:
            progress(f"only {', '.join(requests)} moves, since it could not be resolved: {error}")
            found = candidate.requested(base, requests, store)
    nothing_moves(found, base)
    rungs = releases.load()
    places = list(usage.places(code, prediction.net_changes(base.packages, found.packages, rungs)))
    told = [(place, releases.of_field(place.name, found.moved, rungs)) for place in places]
    left = prediction.predict(base.packages, found.packages, rungs).beyond
    made = dict(fix.apply(path if path.is_dir() else path.parent, usage.edits(places))) if fixed else {}
    if as_json:
        click.echo(json.dumps(screens.scan_json(code, told, left, made), indent=1, ensure_ascii=False))
    else:
        print_lines(screens.scan_lines(code, told, found.moved, left, made))
    if any(place.edit for place in places):
        return RegressionError.exit_code
    return UntestableError.exit_code if left else 0
