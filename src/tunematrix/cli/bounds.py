"""``bounds``: which versions can I allow?"""

from __future__ import annotations

import dataclasses
import json

import click

from tunematrix.base.store import Store
from tunematrix.cli.questions import BASELINE, JSON, MODEL, print_progress
from tunematrix.questions import bounds as ranges
from tunematrix.questions import candidate
from tunematrix.report import answers
from tunematrix.run.options import Options


@click.command("bounds")
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@BASELINE
@click.option("--no-drift", is_flag=True, help="Nothing gated may move, beside passing.")
@MODEL
@JSON
def bounds_command(
    packages: tuple[str, ...], *, baseline: str | None, no_drift: bool, model: str, as_json: bool
) -> int:
    """What may I declare? The widest range of each PACKAGE in which every stage passes."""
    store = Store()
    base = candidate.baseline(baseline, store)
    prober = ranges.Prober(
        base=base,
        options=Options(model=model),
        store=store,
        note=print_progress(quiet=as_json),
        drift=not no_drift,
    )
    found = ranges.find(base, packages, prober)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(answers.bounds_lines(found)))
    return 0
