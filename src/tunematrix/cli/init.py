"""``init``: set a repository up, after showing the plan."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.store import STATE
from tunematrix.cli.workflows import workflows
from tunematrix.code import training
from tunematrix.locks import discover, imported, lock, releases, table
from tunematrix.run import scripts
from tunematrix.shared.output import print_lines

BASELINE: Final = "ours"
SHOWN: Final = 30  # lines of a file that the plan shows whole
NOXFILE: Final = "from tunematrix.nox import sessions\n\nsessions()\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The files to write, by path, and what there is to know about them."""

    files: dict[Path, str]
    notes: list[str]


@click.command("init")
@click.option("--yes", is_flag=True, help="Write the files without asking.")
@click.option("--baseline", metavar="FILE", help="What you run now. Default: what this repository pins.")
def init_command(*, yes: bool, baseline: str | None) -> int:
    """Set this repository up: cells, a workload of its own scripts, nox sessions, a workflow.

    Shows the plan first, and never writes over a file that is there.
    """
    folder = Path.cwd()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    source, what = (Path(baseline), baseline) if baseline else discover.find(Path(), Path(STATE), python)
    if not source.is_file():
        raise UsageError(f"--baseline {source}: no such file")
    plan = make_plan(folder, source, what, python)
    if yes:  # before the plan is printed: whoever reads it may stop reading
        _write(plan)
    print_lines(_plan_lines(plan))
    if not plan.files:
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nothing is written without an answer; pass --yes")
        click.confirm("write these files?", abort=True)
        _write(plan)
    matrix = folder / "constraints" / table.FILE
    print_lines(
        ["", f"written. Next: nox -s e2e   (the cells of {matrix.relative_to(folder)}, with your scripts)"]
    )
    return 0


def _write(plan: Plan) -> None:
    """Write the files as they are: the name of a team's folder may look like a secret."""
    for path, text in plan.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text, masked=False)


def make_plan(folder: Path, source: Path, what: str, python: str) -> Plan:
    """What to write into ``folder``; files that are there stay, and a note says what would be in them."""
    imported_lock = imported.import_lock(source, python)
    versions = imported_lock.packages
    found = training.find(folder)
    stages = found.stages
    constraints = folder / "constraints"
    wanted: dict[Path, str] = {}
    notes = [
        f"baseline: {what}, {len(versions)} packages: "
        + ", ".join(f"{name} {versions[name]}" for name in table.CORE if name in versions),
        *imported_lock.differences("baseline"),
    ]
    if table.has_cells(constraints):
        notes.append(f"{constraints.name}: has cells already, stays as it is")
    else:
        wanted[constraints / table.FILE] = _matrix(source, versions, python)
        wanted[constraints / f"{BASELINE}.txt"] = imported.lock_text(source, imported_lock)
    if stages:
        wanted[folder / scripts.FILE] = training.to_toml(stages, folder)
        notes += found.notes
    else:
        notes.append(
            f"{scripts.FILE}: found no script that makes a Trainer; write one, or use --run 'python ...'"
        )
    wanted[folder / "noxfile.py"] = NOXFILE
    if (folder / ".git").exists():
        wanted |= {folder / name: text for name, text in workflows(python).items()}
    files = {path: text for path, text in wanted.items() if not path.exists()}
    for path in wanted.keys() - files.keys():
        more = "; add to it: " + NOXFILE.replace("\n\n", "; ").strip() if path.name == "noxfile.py" else ""
        notes.append(f"{path.relative_to(folder)}: is there already, stays as it is{more}")
    notes += [
        f"{scripts.FILE}: stage {stage.name}: no value found for {' '.join(stage.open)}; fill it in"
        for stage in stages
        if stage.open and folder / scripts.FILE in files
    ]
    return Plan(files=files, notes=[notes[0], *sorted(notes[1:])])


def _matrix(source: Path, versions: Mapping[str, str], python: str) -> str:
    pins = {name: versions[name] for name in table.CORE if name in versions}
    torch = versions.get("torch", "")
    lines = [
        "# The combinations that are tested, in the order of time.",
        "schema = 1",
        f'baseline = "{BASELINE}"',
        "",
        "[defaults]",
        f'python = "{python}"',
        *([f'torch = "{lock.public_version(torch)}"'] if torch else []),
        "",
        "[[cell]]",
        f'name = "{BASELINE}"',
        f'why = "what this repository pins, from {source.name}"',
        f'imported_from = "{source.name}"',
        "[cell.pins]",
        *(f'{name} = "{version}"' for name, version in pins.items()),
        "",
    ]
    newest = dict(_newest(pins))
    moves = {name: version for name, version in newest.items() if version != pins[name]}
    for name, version in moves.items() if len(moves) > 1 else ():
        lines += _over(f"{name}-ahead", f"what {name} alone brings", {name: version})
    today = datetime.datetime.now(datetime.UTC).date()
    lines += _over("latest", f"the newest releases, as of {today}", newest, 'tags = ["latest"]')
    return "\n".join(lines) + "\n"


def _over(name: str, why: str, pins: Mapping[str, str], *more: str) -> list[str]:
    """A cell that differs from the baseline by its pins, and what these force."""
    cell = [f'name = "{name}"', f'why = "{why}"', f'over = "{BASELINE}"', f'compare = "{BASELINE}"', *more]
    return [
        "[[cell]]",
        *cell,
        "[cell.pins]",
        *(f'{name} = "{version}"' for name, version in pins.items()),
        "",
    ]


def _newest(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if final := [release.version for release in releases.releases(name) if release.final]:
            yield name, str(final[-1])


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield from plan.notes
    for path, text in plan.files.items():
        yield ""
        name = path.relative_to(Path.cwd())
        lines = text.splitlines()
        yield f"+ {name}" if len(lines) <= SHOWN else f"+ {name} ({len(lines)} lines)"
        if len(lines) <= SHOWN:
            yield from (f"    {line}" for line in lines)
