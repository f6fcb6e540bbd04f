"""The commands asked before a bump: ``upgrade``, ``bisect``, ``bounds``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tunematrix.base.errors import UsageError, nearest
from tunematrix.base.record import STAGES
from tunematrix.base.store import Store
from tunematrix.locks import table
from tunematrix.questions import bisect as since
from tunematrix.questions import bounds as ranges
from tunematrix.questions import candidate, upgrade
from tunematrix.report import answers
from tunematrix.run import cell as cells
from tunematrix.run import models

MODEL = click.option("--model", default=models.DEFAULT, show_default=True, help="A short name, or a Hub id.")
BASELINE = click.option("--baseline", metavar="CELL|FILE", help="A cell, or a file that 'lock --from' reads.")
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON; docs/upgrade.md has the contract.")


def _note(*, quiet: bool) -> Callable[[str], None]:
    """Progress goes to standard error, so that an answer can be piped."""
    return (lambda _: None) if quiet else lambda text: click.echo(text, err=True)


@click.command("upgrade")
@click.argument("requests", nargs=-1, metavar="REQUEST...")
@BASELINE
@click.option(
    "--all", "everything", is_flag=True, help="Each outdated package alone, then together, in order."
)
@click.option("--against", metavar="CELL", help="Ask for the core pins of another cell, such as latest.")
@MODEL
@click.option("--workload", type=click.Path(path_type=Path), help="Your own configs, data and tests.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write the answer to this file.")
@JSON
def upgrade_command(
    requests: tuple[str, ...],
    *,
    baseline: str | None,
    everything: bool,
    against: str | None,
    model: str,
    workload: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Can I bump? Try REQUEST, such as "trl==1.16.0", over a baseline with the smallest change."""
    if bool(requests) + everything + bool(against) != 1:
        raise UsageError("ask for one thing: requests such as 'trl==1.16.0', --all, or --against CELL")
    store, options = Store(), cells.Options(model=model, workload=workload)
    base = candidate.baseline(baseline, store)
    note = _note(quiet=as_json)
    if everything:
        return _plan(upgrade.plan(base, options, store, note), as_json=as_json)
    if against:
        pins = table.load().cell(against).pins
        requests = tuple(f"{name}=={version}" for name, version in pins.items() if name != "torch")
    answer = upgrade.ask(base, requests, options, store, note)
    if markdown:
        markdown.write_text(answers.upgrade_markdown(answer), encoding="utf-8")
    click.echo(
        json.dumps(answers.upgrade_json(answer), indent=1, ensure_ascii=False)
        if as_json
        else "\n".join(answers.upgrade_lines(answer))
    )
    return answers.upgrade_code(answer.answer)


def _plan(plan: upgrade.Plan, *, as_json: bool) -> int:
    shown = json.dumps(answers.plan_json(plan), indent=1, ensure_ascii=False)
    click.echo(shown if as_json else "\n".join(answers.plan_lines(plan)))
    return answers.upgrade_code(plan.together.answer) if plan.left else 0


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
    package, first, last = (since.DAY, *words) if by_date else words
    question = since.Question(
        package=package, first=first, last=last, stage=_stage(stage), metric=metric, find_fix=find_fix
    )
    store = Store()
    base = candidate.baseline(baseline, store)
    found = since.ask(base, question, cells.Options(model=model), store, _note(quiet=as_json))
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
        options=cells.Options(model=model),
        store=store,
        note=_note(quiet=as_json),
        drift=not no_drift,
    )
    found = ranges.find(base, packages, prober)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(answers.bounds_lines(found)))
    return 0
