"""``lock``: write, check, import and populate locks."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import click

from tunematrix.base.errors import RegressionError, UnresolvableError, UsageError
from tunematrix.cli.questions import RECORD_JSON
from tunematrix.locks import imported, populate, table
from tunematrix.locks import lock as locks

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("names", nargs=-1, metavar="[CELL]...")
@click.option("--check", is_flag=True, help="Only report the locks that are stale; exit with 1 if any is.")
@click.option(
    "--from", "source", type=PATH, help="Add a cell from requirements, a pip freeze, pylock.toml or uv.lock."
)
@click.option("--name", help="Name of the cell that --from adds. Default: the name of the file.")
@click.option(
    "--populate",
    "by_policy",
    is_flag=True,
    help="Add and remove cells according to [policy], then lock them.",
)
@click.option("--force", is_flag=True, help="Also overwrite locks that were made or edited by hand.")
@RECORD_JSON
def lock(
    names: tuple[str, ...],
    *,
    check: bool,
    source: Path | None,
    name: str | None,
    by_policy: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Write the locks of the named cells, or of all.

    A lock is not rewritten if its versions stay the same, or if it was made or edited by hand.
    """
    if (check, source is not None, by_policy).count(True) > 1 or (names and (source or by_policy)):
        raise UsageError("pass only one of: cell names (also with --check), --from FILE, --populate")
    if name is not None and source is None:
        raise UsageError("--name names the cell that --from adds; pass --from FILE too")
    if as_json and not check:
        raise UsageError("--json goes with --check")
    matrix = table.load()
    if source:
        return _import(matrix, source, name or source.stem, force=force)
    if by_policy:
        names = tuple(_populate(matrix))
        if not names:
            return 0
        matrix = table.load()
    cells = [matrix.cell(name) for name in names] or [cell for cell in matrix.cells if not cell.imported_from]
    if not cells and not as_json:
        click.echo("all locks are imported; import a newer file: nox -s lock -- --from FILE --name CELL")
    if check:
        return _check_locks(matrix, cells, as_json=as_json)
    return max((_write_lock(matrix, cell, force=force) for cell in cells), default=0)


def _populate(matrix: table.Matrix) -> list[str]:
    """Apply the policy to the table, print the changes, and return the cells that need a lock."""
    plan = populate.plan(matrix, datetime.datetime.now(datetime.UTC).date())
    removed = {cell.name: cell for cell in plan.removed}
    added = {cell.name for cell, _ in plan.added}
    for cell in plan.removed:
        if cell.name not in added:
            click.echo(f"- {_describe(cell)}")
    for cell, _ in plan.added:
        old = f" (was {_describe(removed[cell.name])})" if cell.name in removed else ""
        click.echo(f"{'~' if old else '+'} {_describe(cell)}{old}")
    for name, why in plan.left_out.items():
        click.echo(f"  {name}: left out, {why}")
    if not plan.added and not plan.removed:
        click.echo(f"{table.FILE} matches its policy")
    for path in populate.apply(matrix, plan):
        click.echo(f"  {path}: was made or edited by hand and stays; delete it if it is not needed")
    return [cell.name for cell, _ in plan.added]


def _describe(cell: table.Cell) -> str:
    pins = " ".join(f"{name}=={version}" for name, version in cell.pins.items() if name != "torch")
    return f"{cell.name}: {pins}{f' as of {cell.as_of}' if cell.as_of else ''}"


def _import(matrix: table.Matrix, source: Path, name: str, *, force: bool) -> int:
    """Add the cell ``name`` from a lock file, and print what the import changed."""
    cell, imported_lock = imported.import_cell(matrix, source, name, force=force)
    for package, (before, after) in imported_lock.moved.items():
        click.echo(f"moved: {package} {before} -> {after}, for the test tools")
    if imported_lock.left_out:
        click.echo(f"left out, not releases for a CPU: {', '.join(imported_lock.left_out)}")
    if imported_lock.replaced:
        click.echo(f"replaced by releases on the index: {', '.join(imported_lock.replaced)}")
    if imported_lock.cuda:
        torch = imported_lock.packages.get("torch")
        click.echo(f"torch {torch} is a CUDA build, with {len(imported_lock.cuda)} CUDA packages")
    click.echo(f"added: {', '.join(imported_lock.added) or 'nothing'}")
    click.echo(
        f"{matrix.lock_path(cell)}: {len(imported_lock.packages)} packages; run it: nox -s 'e2e({name})'"
    )
    return 0


def _check_locks(matrix: table.Matrix, cells: list[table.Cell], *, as_json: bool) -> int:
    stale = {cell.name: why for cell in cells if (why := locks.stale_reason(cell, matrix.lock_path(cell)))}
    if as_json:
        click.echo(json.dumps({"checked": [cell.name for cell in cells], "stale": stale}, indent=1))
        return RegressionError.exit_code if stale else 0
    for name, why in stale.items():
        click.echo(f"{name}: {why}; nox -s lock -- {name}")
    click.echo(f"{len(cells) - len(stale)} of {len(cells)} locks match {table.FILE}")
    return RegressionError.exit_code if stale else 0


def _write_lock(matrix: table.Matrix, cell: table.Cell, *, force: bool) -> int:
    """Make one lock; returns its exit code. Raises ``InfrastructureError``: the next lock would fail too."""
    path = matrix.lock_path(cell)
    if path.is_file() and locks.is_edited(path) and not (force or cell.imported_from):
        click.echo(f"{cell.name}: edited by hand, stays; to remake it: nox -s lock -- {cell.name} --force")
        return 0
    try:
        changed = locks.write(cell, path, force=force)
    except UnresolvableError as error:
        click.echo(f"{cell.name}: {error.outcome}\n{error}", err=True)
        return error.exit_code
    click.echo(f"{cell.name}: {'written' if changed else 'unchanged'}")
    return 0
