"""``upgrade``: check whether an upgrade is safe."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.store import Store
from tunematrix.cli.questions import BASELINE, JSON, MODEL, progress_printer
from tunematrix.locks import table
from tunematrix.questions import candidate, upgrade
from tunematrix.report import answers
from tunematrix.run.options import Options


@click.command("upgrade")
@click.argument("requests", nargs=-1, metavar="REQUEST...")
@BASELINE
@click.option(
    "--all",
    "all_outdated",
    is_flag=True,
    help="Check each outdated package alone, then all together, and find an order that works.",
)
@click.option("--against", metavar="CELL", help="Request the core pins of another cell, such as latest.")
@MODEL
@click.option(
    "--workload", type=click.Path(path_type=Path), help="Folder with your own configurations, data and tests."
)
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write the answer to this file.")
@JSON
def upgrade_command(
    requests: tuple[str, ...],
    *,
    baseline: str | None,
    all_outdated: bool,
    against: str | None,
    model: str,
    workload: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> int:
    """Check whether an upgrade is safe.

    REQUEST is a requirement such as "trl==1.16.0". The smallest change to the baseline that satisfies all
    requests is run and compared with the baseline.
    """
    if bool(requests) + all_outdated + bool(against) != 1:
        raise UsageError("pass either requests such as 'trl==1.16.0', or --all, or --against CELL")
    store, options = Store(), Options(model=model, workload=workload)
    base = candidate.load_baseline(baseline, store)
    progress = progress_printer(quiet=as_json)
    if all_outdated:
        return _print_plan(upgrade.plan(base, options, store, progress), as_json=as_json)
    if against:
        pins = table.load().cell(against).pins
        requests = tuple(f"{name}=={version}" for name, version in pins.items() if name != "torch")
    answer = upgrade.evaluate(base, requests, options, store, progress)
    if markdown:
        markdown.write_text(answers.upgrade_markdown(answer), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(answers.upgrade_json(answer), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(answers.upgrade_lines(answer)))
    return answers.upgrade_exit_code(answer.answer)


def _print_plan(plan: upgrade.Plan, *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(answers.plan_json(plan), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(answers.plan_lines(plan)))
    return answers.upgrade_exit_code(plan.together.answer) if plan.blocked else 0
