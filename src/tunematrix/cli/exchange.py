"""``exchange``: every cell reads what every other wrote."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click

from tunematrix.base.errors import UsageError
from tunematrix.base.files import check_inside, write_atomic
from tunematrix.base.store import Store
from tunematrix.cli import live, plan, questions
from tunematrix.cli.results import open_store
from tunematrix.hub.models import MODELS
from tunematrix.locks import lock, table
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import exchange, freeze, kept, reads
from tunematrix.report import exchange as view
from tunematrix.report import reads as reads_view
from tunematrix.report import write
from tunematrix.run import frozen
from tunematrix.run.exchange import Member
from tunematrix.run.options import Options
from tunematrix.shared.output import print_lines
from tunematrix.shared.repos import TINY_MODELS
from tunematrix.shared.suggest import did_you_mean
from tunematrix.verdict import exchange as verdict
from tunematrix.verdict import ledger, pairs, releases
from tunematrix.verdict.findings import Finding


@click.command("exchange")
@click.argument("cells", nargs=-1, metavar="[CELL ...]")
@click.option("--model", "models", multiple=True, help=f"A short name. Default: {' and '.join(TINY_MODELS)}.")
@click.option("--artifact", help="Show the heat map of this artifact alone, such as merged.")
@click.option("--freeze", "frozen_set", is_flag=True, help="Keep what these cells write, for good.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Cells at a time. Default: one for each core.")
@questions.JSON
@questions.QUIET
def exchange_command(
    cells: tuple[str, ...],
    models: tuple[str, ...],
    artifact: str | None,
    jobs: int | None,
    *,
    frozen_set: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Let every cell read what every other one saved: adapters, checkpoints, models, tokenizers.

    Answers two questions for each pair of stacks: does it load and resume, and is it the same? Exits 1 for
    what fails or differs and is not in known-issues.toml, 3 if a cell could take no part.

    Every cell also reads the sets that --freeze kept, in frozen/CELL beside matrix.toml, and what the runs of
    your own scripts kept, as 'keep' in workload.toml says.
    """
    if frozen_set:
        if models or artifact or as_json:
            raise UsageError("--freeze: takes the names of cells and no other option")
        return _freeze(cells, quiet=quiet)
    if artifact and artifact not in pairs.ARTIFACTS:
        raise UsageError(f"--artifact: no {artifact!r}{did_you_mean(artifact, pairs.ARTIFACTS)}")
    for model in models:
        if model not in MODELS:
            raise UsageError(f"--model: no {model!r} here{did_you_mean(model, MODELS)}")
    matrix, store = table.load(), open_store()
    sets = frozen.load(matrix, store.root)
    chosen = [matrix.cell(name) for name in dict.fromkeys(cells)] or list(matrix.cells)
    count = jobs or plan.parallel_cells(plan.available_cores(), plan.total_memory())
    own_folders = kept.of_cells(store, [cell.name for cell in chosen])
    taking_part = members(matrix, chosen, store, models or TINY_MODELS)
    with live.shown(quiet=quiet) as progress:
        outcome = exchange.run(taking_part, store, count, Options().time_limit, progress, frozen=sets)
        answers = reads.read(
            own_folders, taking_part, store, progress, jobs=count, seconds=Options().time_limit
        )
    found = verdict.find(outcome.pairs, outcome.sides, ledger.load(matrix.folder), releases.load())
    paths = _write(outcome, found, store.root, models or TINY_MODELS)
    if (store.folder / "summary.html").is_file():  # a page that somebody opens shows the new maps
        write.overview(matrix, store)
    if as_json:
        own = [reads_view.to_json(each.folder, each.readings, each.verdict) for each in answers]
        content = view.to_json(outcome, found) | ({"kept": own} if own else {})
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print_lines(view.lines(outcome, found, artifact or ""))
        click.echo(f"details: {paths}")
        print_lines(["", *reads_view.all_lines(answers)] if answers else [])
    codes = {view.exit_code(outcome, found), reads_view.exit_code(*(each.verdict for each in answers))}
    return min(codes - {0}, default=0)  # what fails goes before what was not tried


def members(matrix: Matrix, cells: Sequence[Cell], store: Store, models: tuple[str, ...]) -> Sequence[Member]:
    """The cells as members of an exchange; writes the locks that are not there yet."""
    taking_part = []
    for cell in cells:
        if not matrix.lock_path(cell).is_file():
            lock.write(cell, matrix.lock_path(cell))
        venv = store.environment(cell.name)
        taking_part.append(Member(cell=cell, matrix=matrix, results=store.root, venv=venv, models=models))
    return taking_part


def _freeze(cells: tuple[str, ...], *, quiet: bool) -> int:
    if not cells:
        raise UsageError("--freeze: name the cells to freeze: nox -s exchange -- --freeze CELL")
    matrix = table.load()
    chosen = [matrix.cell(name) for name in dict.fromkeys(cells)]
    with live.shown(quiet=quiet) as progress:
        freeze.freeze(chosen, matrix, open_store(), Options().time_limit, progress)
    return 0


def _write(
    outcome: exchange.Exchange, found: tuple[Finding, ...], root: Path, models: tuple[str, ...]
) -> str:
    """Write ``exchange.json`` of each model, and ``exchange.md`` of all beside it; returns the latter."""
    text = view.markdown(outcome, found)
    written = ""
    for model in models:
        store = Store(root, model)
        own = [pair for pair in outcome.pairs if pair.model in (model, "")]
        content = view.to_json(dataclasses.replace(outcome, pairs=tuple(own)), found)
        content["model"] = model
        path = check_inside(store.folder / "exchange.json", store.root)
        write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        write_atomic(check_inside(path.with_suffix(".md"), store.root), text)
        written = written or str(path.with_suffix(".md"))
    return written
