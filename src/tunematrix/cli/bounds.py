"""``bounds``: find the version ranges that work."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from tunematrix.cli import live
from tunematrix.cli.questions import BASELINE, COMMAND, JSON, MODEL, QUIET, WORKLOAD
from tunematrix.cli.results import open_store
from tunematrix.questions import bounds, candidate
from tunematrix.report import answers
from tunematrix.run.options import Options
from tunematrix.shared.output import print_lines


@click.command("bounds")
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGE...")
@BASELINE
@click.option(
    "--no-drift", is_flag=True, help="Also require that behaviour stays the same: numbers and defaults."
)
@MODEL
@WORKLOAD
@COMMAND
@JSON
@QUIET
def bounds_command(
    packages: tuple[str, ...],
    *,
    baseline: str | None,
    no_drift: bool,
    model: str | None,
    workload: Path | None,
    command: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Find the version range of each PACKAGE that works.

    In it every stage passes that passes in the baseline.
    """
    options = Options.of(model=model, workload=workload, command=command)
    store = open_store(options.model)
    with live.shown(quiet=quiet) as progress:
        base = candidate.load_baseline(baseline, store, progress)
        prober = bounds.Prober(
            base=base,
            options=options,
            store=store,
            progress=progress,
            allow_drift=not no_drift,
        )
        answer = bounds.find_bounds(base, packages, prober)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(answer), indent=1, ensure_ascii=False))
    else:
        print_lines(answers.bounds_lines(answer))
    return 0
