"""``reads``: which of the stacks load and resume what a folder has?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from tunematrix.cli import live, plan, questions
from tunematrix.cli.exchange import members
from tunematrix.cli.results import open_store
from tunematrix.locks import neighbours, table
from tunematrix.questions import reads
from tunematrix.report import reads as view
from tunematrix.run.options import Options
from tunematrix.shared.output import print_lines
from tunematrix.shared.repos import TINY_MODELS
from tunematrix.verdict.reads import judge


@click.command("reads")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--cells", "names", multiple=True, metavar="CELL,...", help="Default: the diagonal and latest.")
@click.option(
    "--base", default="", metavar="FOLDER", help="An adapter's base model, if not the one that it names."
)
@click.option("--jobs", type=click.IntRange(1, 64), help="Cells at a time. Default: one for each core.")
@questions.JSON
@questions.QUIET
def reads_command(
    folder: Path, names: tuple[str, ...], base: str, jobs: int | None, *, as_json: bool, quiet: bool
) -> int:
    """Tell which stacks load and resume FOLDER: an adapter, a model, a tokenizer, a Trainer's checkpoint.

    The stacks must answer the same, and a resumed step must start from what the files say. FOLDER is never
    written, and no code in it is run. Exits 1 if a stack fails or answers otherwise, 3 if one was not tried.
    """
    found = reads.inspect(folder, base)
    matrix, store = table.load(), open_store()
    separate = [name.strip() for text in names for name in text.split(",")]
    chosen = [matrix.cell(name) for name in dict.fromkeys(separate)] or [
        cell
        for cell in matrix.cells
        if neighbours.group(matrix, cell) in ("diagonal", "imported") or cell.rule == "latest"
    ]
    count = jobs or plan.parallel_cells(plan.available_cores(), plan.total_memory())
    taking_part = members(matrix, chosen, store, TINY_MODELS)
    with live.shown(quiet=quiet) as progress:
        readings = reads.read(found, taking_part, store, progress, jobs=count, seconds=Options().time_limit)
    verdict = judge(readings, list(found.parts), found.versions)
    if as_json:
        click.echo(json.dumps(view.to_json(found, readings, verdict), indent=1, ensure_ascii=False))
    else:
        print_lines(view.lines(found, readings, verdict))
    return view.exit_code(verdict)
