"""``upgrade``: can I bump?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.store import Store
from tunematrix.cli.questions import BASELINE, JSON, MODEL, print_progress
from tunematrix.locks import table
from tunematrix.questions import candidate, upgrade
from tunematrix.report import answers
from tunematrix.run.options import Options


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
    store, options = Store(), Options(model=model, workload=workload)
    base = candidate.baseline(baseline, store)
    note = print_progress(quiet=as_json)
    if everything:
        return _plan(upgrade.plan(base, options, store, note), as_json=as_json)
    if against:
        pins = table.load().cell(against).pins
        requests = tuple(f"{name}=={version}" for name, version in pins.items() if name != "torch")
    answer = upgrade.evaluate(base, requests, options, store, note)
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
