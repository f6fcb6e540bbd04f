"""``bisect``: find the first bad version."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunematrix.base.errors import UsageError
from tunematrix.cli import live
from tunematrix.cli.questions import COMMAND, JSON, MODEL, QUIET, WORKLOAD
from tunematrix.cli.results import open_store
from tunematrix.questions import bisect, candidate
from tunematrix.report import answers
from tunematrix.run.options import Options
from tunematrix.shared.output import print_lines
from tunematrix.shared.stages import STAGES
from tunematrix.shared.suggest import did_you_mean


@click.command("bisect")
@click.argument("arguments", nargs=-1, metavar="PACKAGE GOOD BAD")
@click.option("--by-date", is_flag=True, help="Search dates instead: bisect --by-date GOOD_DATE BAD_DATE.")
@click.option(
    "--cell",
    "--baseline",
    "baseline",
    metavar="CELL|FILE",
    help="The cell or lock file to bisect in. Default: the baseline in matrix.toml.",
)
@click.option("--stage", help="Compare only this stage.")
@click.option("--metric", help="Compare only this number, such as align.loss.")
@click.option("--find-fix", is_flag=True, help="Find the first version that works: pass BAD before GOOD.")
@MODEL
@WORKLOAD
@COMMAND
@JSON
@QUIET
def bisect_command(
    arguments: tuple[str, ...],
    *,
    by_date: bool,
    baseline: str | None,
    stage: str | None,
    metric: str | None,
    find_fix: bool,
    model: str | None,
    workload: Path | None,
    command: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Find the first bad version of PACKAGE.

    Bisects the releases from GOOD to BAD. A release is bad if a stage fails in it that passes in GOOD, or if
    the number of --metric differs.
    """
    if len(arguments) != (2 if by_date else 3):
        raise UsageError("bisect needs PACKAGE GOOD BAD, or --by-date GOOD_DATE BAD_DATE")
    package, first, last = (bisect.BY_DATE, *arguments) if by_date else arguments
    question = bisect.Question(
        package=package, first=first, last=last, stage=stage, metric=metric, find_fix=find_fix
    )
    options = Options.of(model=model, workload=workload, command=command)
    names = (*options.scripts.names,) if options.scripts else STAGES
    if stage and stage not in names:
        raise UsageError(f"--stage: no stage '{stage}'{did_you_mean(stage, names)}")
    store = open_store(options.model)
    with live.shown(quiet=quiet) as progress:
        base = candidate.load_baseline(baseline, store, progress)
        answer = bisect.find_first(base, question, options, store, progress)
    if as_json:
        click.echo(json.dumps(answers.bisect_json(answer), indent=1, ensure_ascii=False))
    else:
        print_lines(answers.bisect_lines(answer))
    return 0
