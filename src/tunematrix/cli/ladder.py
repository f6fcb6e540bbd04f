"""``ladder``: run every release of the stack once, in the order of their days, and keep what each changed."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.store import Store
from tunematrix.cli import plan
from tunematrix.cli.questions import progress_printer
from tunematrix.locks.rungs import Rung
from tunematrix.questions import ladder
from tunematrix.report import stack_changelog
from tunematrix.run.options import Options
from tunematrix.shared.output import print_lines
from tunematrix.shared.reading import UnreadableError
from tunematrix.verdict import releases

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
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="The folder of the data files.")
@click.option("--changelog", type=click.Path(path_type=Path), default=CHANGELOG, help="The file to write.")
def ladder_command(
    since: str | None,
    until: str | None,
    *,
    jobs: int | None,
    only_plan: bool,
    data: Path,
    changelog: Path,
) -> int:
    """Run every release of the stack once, and keep what each changed.

    Each rung of the ladder is a lock that differs from the one before by one release, and by what the
    resolver moves with it. It runs with the tiny models and is compared with the rung before, so that what
    moved belongs to that release. Interrupted, it goes on where it was.
    """
    store, progress = Store(model=MODEL), progress_printer(quiet=False)
    # The environments of the jobs and the data files belong to one climb at a time.
    with Store(store.root / ladder.FOLDER, MODEL).locked("climb"):
        first = _day("--since", since) if since else _newest(_read(data))
        last = _day("--until", until) if until else datetime.datetime.now(datetime.UTC).date()
        if first >= last:
            raise UsageError(f"--since {first} is not before --until {last}")
        chain = ladder.plan(store, first, last, progress)
        progress(f"{len(chain)} rung{'s' * (len(chain) != 1)} from {first} to {last}")
        if only_plan:
            print_lines(map(_plan_line, chain))
            return 0
        records = []
        for rung, record in ladder.climb(store, chain, Options(model=MODEL), jobs or _jobs()):
            records.append(record)
            reused = "reused" if record.reused else f"{record.seconds:.0f} s"
            progress(f"{len(records)} of {len(chain)}  {rung.name}: {record.outcome}, {reused}")
        found = list(ladder.changes(chain, records, progress))
        data.mkdir(parents=True, exist_ok=True)
        releases.write(data, found)
        write_atomic(changelog, "\n".join(stack_changelog.lines(_read(data))))
    moved = sum(bool(rung.findings) for rung in found)
    print_lines([f"{len(found)} releases compared, {moved} of them changed something; {changelog}"])
    return 0


def _plan_line(rung: Rung) -> str:
    move = f"{rung.package} {rung.before} -> {rung.after}" if rung.package else "the newest releases"
    return f"{rung.day}  {move}"


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
