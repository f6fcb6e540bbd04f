"""``reads``: which of the stacks load and resume what a folder has?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from tunematrix.cli import live, plan, questions
from tunematrix.cli.exchange import members
from tunematrix.cli.results import open_store
from tunematrix.locks import neighbours, table
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import kept, reads
from tunematrix.report import reads as view
from tunematrix.run.options import Options
from tunematrix.shared.output import print_lines
from tunematrix.shared.repos import TINY_MODELS


@click.command("reads")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER ...]")
@click.option("--cells", "names", multiple=True, metavar="CELL,...", help="Default: the diagonal and latest.")
@click.option(
    "--base", default="", metavar="FOLDER", help="An adapter's base model, if not the one that it names."
)
@click.option("--jobs", type=click.IntRange(1, 64), help="Cells at a time. Default: one for each core.")
@questions.JSON
@questions.QUIET
def reads_command(
    paths: tuple[Path, ...],
    names: tuple[str, ...],
    base: str,
    jobs: int | None,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Tell which stacks load and resume FOLDER: an adapter, a model, a tokenizer, a Trainer's checkpoint.

    Without a FOLDER, those that the last run of your scripts kept, as 'keep' in workload.toml says.

    The stacks must answer the same, and a resumed step must start from what the files say. FOLDER is never
    written, and no code in it is run. Exits 1 if a stack fails or answers otherwise, 3 if one was not tried.
    """
    matrix, store = table.load(), open_store()
    folders = [reads.inspect(path, base) for path in paths] or kept.last(store)
    chosen = choose(matrix, names)
    count = jobs or plan.parallel_cells(plan.available_cores(), plan.total_memory())
    taking_part = members(matrix, chosen, store, TINY_MODELS)
    with live.shown(quiet=quiet) as progress:
        answers = reads.read(folders, taking_part, store, progress, jobs=count, seconds=Options().time_limit)
    if as_json:
        contents = [view.to_json(each.folder, each.readings, each.verdict) for each in answers]
        content = contents[0] if len(paths) == 1 else {"schema": view.SCHEMA, "folders": contents}
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    elif len(paths) == 1:
        print_lines(view.lines(answers[0].folder, answers[0].readings, answers[0].verdict))
    else:
        print_lines(view.all_lines(answers))
    return view.exit_code(*(each.verdict for each in answers))


def choose(matrix: Matrix, names: Sequence[str]) -> list[Cell]:
    """The cells of ``--cells``, by default the diagonal, what was imported, and ``latest``."""
    separate = [name.strip() for text in names for name in text.split(",")]
    return [matrix.cell(name) for name in dict.fromkeys(separate)] or [
        cell
        for cell in matrix.cells
        if neighbours.group(matrix, cell) in ("diagonal", "imported") or cell.rule == "latest"
    ]
