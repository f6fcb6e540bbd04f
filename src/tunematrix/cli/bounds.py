"""``bounds``: find the version ranges that work."""

from __future__ import annotations

import dataclasses
import json

import click

from tunematrix.base.store import Store
from tunematrix.cli.questions import BASELINE, JSON, MODEL, progress_printer
from tunematrix.questions import bounds, candidate
from tunematrix.report import answers
from tunematrix.run.options import Options


@click.command("bounds")
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@BASELINE
@click.option(
    "--no-drift", is_flag=True, help="Also require that behaviour stays the same: numbers and defaults."
)
@MODEL
@JSON
def bounds_command(
    packages: tuple[str, ...], *, baseline: str | None, no_drift: bool, model: str, as_json: bool
) -> int:
    """Find the version range of each PACKAGE that works.

    In it every stage passes that passes in the baseline.
    """
    store = Store()
    base = candidate.load_baseline(baseline, store)
    prober = bounds.Prober(
        base=base,
        options=Options(model=model),
        store=store,
        progress=progress_printer(quiet=as_json),
        allow_drift=not no_drift,
    )
    answer = bounds.find_bounds(base, packages, prober)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(answer), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(answers.bounds_lines(answer)))
    return 0
