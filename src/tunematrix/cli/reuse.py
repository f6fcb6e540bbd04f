"""``reuse``: which cells nox need not start, since nothing has changed since their records."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import click

from tunematrix.cli.results import open_store
from tunematrix.cli.run import cell_options, describe
from tunematrix.locks import table
from tunematrix.run import cell as cells
from tunematrix.run import keys, models
from tunematrix.run.options import Options
from tunematrix.verdict import ledger


@click.command(hidden=True)
@click.argument("names", nargs=-1)
@click.option("--venvs", type=click.Path(path_type=Path), required=True, help="Where nox has environments.")
@cell_options
def reuse(names: tuple[str, ...], *, venvs: Path, as_json: bool, quiet: bool, **arguments: Any) -> int:
    """Print the cells NAMES whose records can be reused, as JSON: by name, the lines to show."""
    del as_json, quiet  # of the run
    matrix, options = table.load(), Options.of(**arguments)
    choice = models.choose(options.model)
    if options.select or options.rerun or not choice.embedded:
        click.echo("{}")
        return 0
    options.check()
    store, issues = open_store(choice.name), ledger.load(matrix.folder)
    with models.hub_for(choice, "reuse") as hub:
        revision = hub.revision
    found, sources = {}, keys.hash_sources()
    for name in names:
        # As nox spells the folder of a session's environment; of a name too long for that, it is another.
        venv = venvs / re.sub(r"[^a-z0-9_]+", "-", f"e2e({name})".lower()).strip("-")
        own = dataclasses.replace(options, venv=venv)
        if record := cells.reuse(matrix, matrix.cell(name), own, store, revision, sources=sources):
            found[name] = list(describe(record, issues))
    click.echo(json.dumps(found))
    return 0
