"""``upgrade``: check whether an upgrade is safe."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.cli import live
from tunematrix.cli.questions import BASELINE, COMMAND, JSON, MODEL, QUIET, WORKLOAD
from tunematrix.cli.results import open_store
from tunematrix.locks import table
from tunematrix.questions import attribute, candidate, files, unreleased, upgrade
from tunematrix.questions import plan as plans
from tunematrix.report import upgrade as report
from tunematrix.run.options import Options
from tunematrix.shared import reading
from tunematrix.shared.output import print_lines
from tunematrix.verdict import accepted
from tunematrix.verdict.answer import Knowledge

LONGEST_NAME: Final = 200  # bytes; the file is first written under a longer one


@click.command("upgrade")
@click.argument("requests", nargs=-1, metavar="REQUEST...")
@BASELINE
@click.option(
    "--all",
    "all_outdated",
    is_flag=True,
    help="Check each outdated package alone, then all together, and find an order that works.",
)
@click.option("--against", metavar="CELL|FILE", help="The core pins of another cell, or all pins of a file.")
@MODEL
@WORKLOAD
@COMMAND
@click.option(
    "--code",
    type=click.Path(path_type=Path),
    help="Your Python files: only what they use is told. Default: those beside workload.toml.",
)
@click.option("--rerun", is_flag=True, help="Run both sides again, also if nothing changed.")
@click.option(
    "--accept", metavar="ID", multiple=True, help="Accept this finding, with --reason, in accepted.toml."
)
@click.option("--reason", metavar="TEXT", help="Why the finding of --accept is fine for you.")
@click.option("--fix", is_flag=True, help="Make the mechanical edits in your files, and run them.")
@click.option(
    "--attribute", is_flag=True, help="Find what nobody explained, with further runs: package, then release."
)
@click.option("--details", is_flag=True, help="Print every finding in full, not one screen.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write the answer to this file.")
@click.option("--answer", "json_file", type=click.Path(path_type=Path), help="Also write it as JSON.")
@JSON
@QUIET
def upgrade_command(
    requests: tuple[str, ...],
    *,
    baseline: str | None,
    all_outdated: bool,
    against: str | None,
    **options: Any,
) -> int:
    """Check whether an upgrade is safe.

    REQUEST is a requirement such as "trl==1.16.0". The smallest change to the baseline that satisfies all
    requests is run and compared with the baseline. Exit codes: 0 SAFE or SAFE WITH EDITS, 1 BREAKS or
    BEHAVIOUR CHANGES that are not accepted, 2 bad input, 3 CANNOT TELL.
    """
    if bool(requests) + all_outdated + bool(against) != 1:
        raise UsageError("pass either requests such as 'trl==1.16.0', or --all, or --against CELL")
    _check(options)
    with live.shown(quiet=options["quiet"]) as progress:
        answer = _evaluate(requests, baseline, against, options, progress, all_outdated=all_outdated)
    if isinstance(answer, plans.Plan):
        return _print_plan(answer, as_json=options["as_json"])
    _write_answer(answer, options["markdown"], options["json_file"])
    if options["as_json"]:
        click.echo(_json(answer))
    else:
        print_lines(report.upgrade_lines(answer, everything=options["details"]))
    return answer.judgement.exit_code


def _evaluate(
    requests: tuple[str, ...],
    baseline: str | None,
    against: str | None,
    options: Mapping[str, Any],
    progress: candidate.Progress,
    *,
    all_outdated: bool,
) -> upgrade.Answer | plans.Plan:
    """Run what the command asks for; raises ``UsageError``."""
    run_options = Options.of(**{name: options[name] for name in ("model", "workload", "command", "rerun")})
    store = open_store(run_options.model)
    knowledge = Knowledge.load(table.constraints_folder())
    code = upgrade.read_code(options["code"], run_options)
    upgrader = upgrade.Upgrader(
        knowledge=dataclasses.replace(knowledge, code=code),
        base=candidate.load_baseline(baseline, store, progress),
        options=run_options,
        store=store,
        progress=progress,
    )
    if all_outdated:
        return plans.plan(upgrader)
    file = Path(against) if against and reading.is_file(against) else None
    if against and not file:
        pins = table.load().cell(against).pins
        requests = tuple(f"{name}=={version}" for name, version in pins.items() if name != "torch")
        if not requests:
            raise UsageError(f"--against {against}: this cell pins nothing that can be requested")
    answer = upgrader.evaluate(requests or (f"the packages of {against}",), against=file)
    if options["fix"]:
        folder = options["code"] or (run_options.scripts.folder if run_options.scripts else None)
        if folder is None:
            raise UsageError("--fix: name the folder of your Python files with --code")
        answer = upgrader.fix(answer, folder)
    if options["attribute"]:
        answer = attribute.attribute(upgrader, answer)
    given = {"--baseline": baseline, "--workload": options["workload"], "--run": options["command"]}
    words = tuple(str(word) for pair in given.items() if pair[1] for word in pair)
    answer = dataclasses.replace(answer, given=words)
    if options["accept"]:
        answer = _accept(answer, upgrader, options["accept"], options["reason"])
    return answer


def _check(options: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for options that would only fail after the runs."""
    if bool(options["accept"]) != bool(options["reason"]):
        raise UsageError("--accept ID and --reason TEXT go together")
    check_writable("--markdown", options["markdown"])
    check_writable("--answer", options["json_file"])


def _accept(
    answer: upgrade.Answer, upgrader: upgrade.Upgrader, names: Sequence[str], reason: str
) -> upgrade.Answer:
    """Write the acceptance down, and judge again."""
    moved = answer.candidate.moved if answer.candidate else {}
    pins = [
        f"{package}=={moved[package][1]}"
        for package in moved
        if package in upgrader.base.direct and moved[package][1]
    ]
    folder = table.constraints_folder()
    for name in names:
        entry = accepted.add(folder, name, reason, answer.judgement.findings, pins or list(answer.requests))
        upgrader.progress(f"accepted until {entry.expires}: {name}; {folder / accepted.FILE}")
    knowledge = dataclasses.replace(Knowledge.load(folder), code=upgrader.knowledge.code)
    own = upgrader.options.scripts is not None
    not_installed = unreleased.not_installed(answer.candidate, own_scripts=own)
    judgement = files.judge_with(answer.before, answer.after, knowledge, answer.files, not_installed)
    return dataclasses.replace(answer, judgement=judgement)


def _json(answer: upgrade.Answer) -> str:
    return json.dumps(report.upgrade_json(answer), indent=1, ensure_ascii=False)


def _write_answer(answer: upgrade.Answer, markdown: Path | None, json_file: Path | None) -> None:
    whole = report.upgrade_markdown(answer)
    if answer.details:
        write_atomic(answer.details, whole)
    if markdown:
        write_atomic(markdown, whole)
    if json_file:
        write_atomic(json_file, f"{_json(answer)}\n")


def check_writable(option: str, path: Path | None) -> None:
    """Raise ``UsageError`` before anything runs if ``path`` cannot be written afterwards."""
    if not path:
        return
    if len(os.fsencode(path.name)) > LONGEST_NAME or (path.exists() and not path.is_file()):
        raise UsageError(f"{option} {path}: is no regular file, or its name is too long; name a file")
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise UsageError(f"{option} {path}: the folder {path.parent} is not there or not writable")


def _print_plan(plan: plans.Plan, *, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(report.plan_json(plan), indent=1, ensure_ascii=False))
    else:
        print_lines(report.plan_lines(plan))
    return plan.together.judgement.exit_code if plan.blocked else 0
