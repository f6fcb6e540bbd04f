"""``ladder``: run every release of the stack once, in the order of their days, and keep what each changed."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.store import Store
from tunematrix.cli import live, plan
from tunematrix.cli.questions import JSON, QUIET
from tunematrix.cli.results import open_store
from tunematrix.locks import table
from tunematrix.locks.rungs import Progress, Rung
from tunematrix.questions import ladder, score
from tunematrix.report import prediction as screens
from tunematrix.report import stack_changelog
from tunematrix.run.options import Options
from tunematrix.shared.output import print_lines
from tunematrix.shared.reading import UnreadableError
from tunematrix.verdict import agreement, causes, releases

DATA = Path("src/tunematrix/verdict/rungs")
CHANGELOG = Path("docs/stack-changelog.md")
MODEL = "tiny-gpt2"
OVERLAP = datetime.timedelta(days=14)


@click.command("ladder")
@click.option(
    "--since", metavar="DAY", help="The first day. Default: two weeks before the newest rung in the data."
)
@click.option("--until", metavar="DAY", help="The last day. Default: today.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Rungs at a time. Default: one for each core.")
@click.option("--plan", "only_plan", is_flag=True, help="Make the locks and list the rungs; run nothing.")
@click.option("--part", metavar="I/N", help="Run the I-th of N parts, for one job of a CI service.")
@click.option(
    "--merge",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Run nothing; add the data files in this folder, which another machine wrote.",
)
@click.option("--score", "only_score", is_flag=True, help="Tell how well 'explain' foresees the cells.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write only what was climbed, to this folder, for --merge.",
)
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="The folder of the data files.")
@click.option("--changelog", type=click.Path(path_type=Path), default=CHANGELOG, help="The file to write.")
@click.option("--news", type=click.Path(path_type=Path), help="Also write what is new, a paragraph.")
@click.option("--model", default=MODEL, show_default=True, help="The model to run beside the tiny ones.")
@JSON
@QUIET
def ladder_command(**options: Any) -> int:
    """Run every release of the stack once, and keep what each changed.

    Each rung of the ladder is a lock that differs from the one before by one release, and by what the
    resolver moves with it. It runs with the tiny models and is compared with the rung before, so that what
    moved belongs to that release. Interrupted, it goes on where it was. Exits 1 if an entry of
    known-changes.toml names a release in which the ladder saw none of its fields move.
    """
    if options["only_score"]:
        store = open_store(options["model"])
        pairs = score.scored_pairs(store, _read(options["data"]))
        _print(screens.score_json(pairs) if options["as_json"] else screens.score_lines(pairs))
        return 0
    if options["merge"]:
        folders = sorted({path.parent for path in options["merge"].rglob("*.jsonl")})
        return _keep([rung for folder in folders for rung in _read(folder)], options)
    store = Store(model=options["model"])
    # The environments of the jobs and the data files belong to one climb at a time.
    with Store(store.root / ladder.FOLDER, store.model).locked("climb"):
        with live.shown(quiet=options["quiet"]) as progress:
            chain = _chain(store, options, progress)
            if options["only_plan"]:
                planned = list(chain)
            else:
                found = _climb(store, chain, options["jobs"] or _jobs(), progress)
        if options["only_plan"]:
            _print(list(map(_plan_json, planned)) if options["as_json"] else map(_plan_line, planned))
            return 0
        if options["output"]:
            options["output"].mkdir(parents=True, exist_ok=True)
            releases.write(options["output"], found)
            return 0
        return _keep(found, options)


def _chain(store: Store, options: Mapping[str, Any], progress: Progress) -> Iterable[Rung]:
    """The rungs of the days and of the part that ``options`` name; raises ``UsageError``."""
    first = _day("--since", options["since"]) if options["since"] else _newest(_read(options["data"]))
    today = datetime.datetime.now(datetime.UTC).date()
    last = _day("--until", options["until"]) if options["until"] else today
    if first >= last:
        raise UsageError(f"--since {first} is not before --until {last}")
    progress(f"rungs from {first} to {last}")
    chain = ladder.plan(store, first, last, progress)
    return _part(list(chain), options["part"]) if options["part"] else chain


def _climb(store: Store, chain: Iterable[Rung], jobs: int, progress: Progress) -> Sequence[releases.Rung]:
    """Run the rungs; returns what each changed."""
    rungs, records = [], []
    for rung, record in ladder.climb(store, chain, Options(model=store.model), jobs):
        rungs.append(rung)
        records.append(record)
        reused = "reused" if record.reused else f"{record.seconds:.0f} s"
        progress(f"{len(records)}  {rung.name}: {record.outcome}, {reused}")
    return list(ladder.changes(rungs, records, progress))


def _print(content: Any) -> None:
    """Print lines, or a list or an object as JSON."""
    if isinstance(content, (list, dict)):
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print_lines(content)


def _keep(found: Sequence[releases.Rung], options: Mapping[str, Any]) -> int:
    """Write the data, the changelog and the news, and hold the known changes against the data."""
    data, changelog = options["data"], options["changelog"]
    data.mkdir(parents=True, exist_ok=True)
    known = {(rung.package, rung.after) for rung in _read(data)}
    releases.write(data, found)
    rungs = _read(data)
    write_atomic(changelog, "\n".join(stack_changelog.lines(rungs)))
    news = stack_changelog.news([rung for rung in found if (rung.package, rung.after) not in known])
    if options["news"]:
        write_atomic(options["news"], f"{news}\n")
    moved = sum(bool(rung.findings) for rung in found)
    text = [f"{len(found)} releases compared, {moved} of them changed something; {changelog}", news]
    content = {"compared": len(found), "changed": moved, "news": news, "changelog": str(changelog)}
    _print(content if options["as_json"] else iter(text))
    wrong = list(agreement.disagreements(causes.load(table.constraints_folder()), rungs))
    print_lines([f"{causes.FILE}: {line}" for line in wrong], err=True)
    return int(bool(wrong))


def _part(chain: list[Rung], text: str) -> list[Rung]:
    """The rungs of a part, after the one that its first is compared with."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        raise UsageError(f"--part {text[:80]!r}: not a part such as 1/4")
    steps = len(chain) - 1
    first, last = steps * (part - 1) // parts, steps * part // parts
    return chain[first : last + 1] if last > first else []


def _plan_line(rung: Rung) -> str:
    move = f"{rung.package} {rung.before} -> {rung.after}" if rung.package else "the newest releases"
    return f"{rung.day}  {move}"


def _plan_json(rung: Rung) -> dict[str, Any]:
    return {"day": str(rung.day), "package": rung.package, "before": rung.before, "after": rung.after}


def _jobs() -> int:
    return plan.parallel_cells(plan.available_cores(), plan.total_memory())


def _read(data: Path) -> tuple[releases.Rung, ...]:
    try:
        return releases.read(data)
    except UnreadableError as error:
        raise UsageError(str(error)) from None


def _newest(rungs: tuple[releases.Rung, ...]) -> datetime.date:
    """Where to go on: some days before the newest rung, for what came later that day, waited or was ended."""
    if not rungs:
        raise UsageError("there is no data to go on from; name the first day: --since 2024-10-24")
    return _day("the newest rung", rungs[-1].day) - OVERLAP


def _day(option: str, text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text[:80]!r}: not a day such as 2026-07-01") from None
