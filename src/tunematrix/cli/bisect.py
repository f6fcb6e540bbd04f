"""``bisect``: which release changed it?"""

from __future__ import annotations

import json
from typing import Any

import click

from tunematrix.base.errors import UsageError, nearest
from tunematrix.base.store import Store
from tunematrix.cli.questions import JSON, MODEL, print_progress
from tunematrix.questions import bisect, candidate
from tunematrix.report import answers
from tunematrix.run.options import Options
from tunematrix.shared.stages import STAGES


@click.command("bisect")
@click.argument("words", nargs=-1, metavar="PACKAGE GOOD BAD")
@click.option("--by-date", is_flag=True, help="Search days instead: bisect --by-date GOOD_DAY BAD_DAY.")
@click.option("--cell", "baseline", metavar="CELL|FILE", help="What stays fixed; the baseline unless told.")
@click.option("--stage", help="Look at this stage alone.")
@click.option("--metric", help="Look at this number, such as align.loss.")
@click.option("--find-fix", is_flag=True, help="GOOD is bad and BAD is good: find the release that mends.")
@MODEL
@JSON
def bisect_command(
    words: tuple[str, ...],
    *,
    by_date: bool,
    baseline: str | None,
    stage: str | None,
    metric: str | None,
    find_fix: bool,
    model: str,
    as_json: bool,
) -> int:
    """Since when? Find the first release of PACKAGE, from GOOD to BAD, in which something is another."""
    if len(words) != (2 if by_date else 3):
        raise UsageError("bisect takes PACKAGE GOOD BAD, or --by-date GOOD_DAY BAD_DAY")
    package, first, last = (bisect.DAY, *words) if by_date else words
    question = bisect.Question(
        package=package, first=first, last=last, stage=_stage(stage), metric=metric, find_fix=find_fix
    )
    store = Store()
    base = candidate.baseline(baseline, store)
    found = bisect.find_first(base, question, Options(model=model), store, print_progress(quiet=as_json))
    shown: Any = answers.bisect_json(found)
    click.echo(
        json.dumps(shown, indent=1, ensure_ascii=False) if as_json else "\n".join(answers.bisect_lines(found))
    )
    return 0


def _stage(stage: str | None) -> str | None:
    """``stage`` if there is such a one; raises ``UsageError`` naming the nearest."""
    if stage and stage not in STAGES:
        raise UsageError(f"--stage: no stage '{stage}'{nearest(stage, STAGES)}")
    return stage
