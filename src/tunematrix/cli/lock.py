"""``lock``: make, check, import and populate locks."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from tunematrix.base.errors import RegressionError, UntestableError
from tunematrix.locks import imported, populate, table
from tunematrix.locks import lock as locks

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("names", nargs=-1, metavar="[CELL]...")
@click.option("--check", is_flag=True, help="Only say which locks are stale; exit 1 if any is.")
@click.option(
    "--from", "source", type=PATH, help="Make a cell of requirements, a freeze, pylock.toml or uv.lock."
)
@click.option("--name", help="Name of the cell that --from makes; by default the file's.")
@click.option("--populate", "by_rule", is_flag=True, help="Add and retire cells as [policy] asks, then lock.")
def lock(names: tuple[str, ...], *, check: bool, source: Path | None, name: str | None, by_rule: bool) -> int:
    """Make the locks of the named cells, or of all; what comes out the same keeps every byte."""
    matrix = table.load()
    if by_rule:
        names = tuple(_populate(matrix))
        if not names:
            return 0
        matrix = table.load()
    if source:
        return _bring(matrix, source, name or source.stem)
    chosen = [matrix.cell(name) for name in names] or [
        cell for cell in matrix.cells if not cell.imported_from
    ]
    return (
        _check_locks(matrix, chosen)
        if check
        else max((_make_lock(matrix, cell) for cell in chosen), default=0)
    )


def _populate(matrix: table.Matrix) -> list[str]:
    """Bring the table to its policy, tell the difference, and return the cells that want a lock."""
    found = populate.change(matrix, datetime.datetime.now(datetime.UTC).date())
    before = {cell.name: cell for cell in found.drop}
    for cell in found.drop:
        if cell.name not in {one.name for one, _ in found.put}:
            click.echo(f"- {_told(cell)}")
    for cell, _ in found.put:
        old = f" (was {_told(before[cell.name])})" if cell.name in before else ""
        click.echo(f"{'~' if old else '+'} {_told(cell)}{old}")
    for name, why in found.left_out.items():
        click.echo(f"  {name}: left out, {why}")
    if not found.put and not found.drop:
        click.echo(f"{table.FILE} is as its policy asks")
    populate.apply(matrix, found)
    return [cell.name for cell, _ in found.put]


def _told(cell: table.Cell) -> str:
    pins = " ".join(f"{name}=={version}" for name, version in cell.pins.items() if name != "torch")
    return f"{cell.name}: {pins}{f' as of {cell.as_of}' if cell.as_of else ''}"


def _bring(matrix: table.Matrix, source: Path, name: str) -> int:
    """Make the cell ``name`` of somebody's file, and say what that took."""
    cell, brought = imported.import_cell(matrix, source, name)
    for package, (theirs, ours) in brought.moved.items():
        click.echo(f"moved: {package} {theirs} -> {ours}, for the test tools")
    if brought.left_out:
        click.echo(f"left out, not releases for a CPU: {', '.join(brought.left_out)}")
    click.echo(f"added: {', '.join(brought.added) or 'nothing'}")
    click.echo(f"{matrix.lock(cell)}: {len(brought.packages)} packages; run it: nox -s 'e2e({name})'")
    return 0


def _check_locks(matrix: table.Matrix, chosen: list[table.Cell]) -> int:
    found = {cell.name: locks.stale(cell, matrix.lock(cell)) for cell in chosen}
    stale = {name: why for name, why in found.items() if why}
    for name, why in stale.items():
        click.echo(f"{name}: {why}; nox -s lock -- {name}")
    click.echo(f"{len(chosen) - len(stale)} of {len(chosen)} locks are as {table.FILE} asks")
    return RegressionError.exit_code if stale else 0


def _make_lock(matrix: table.Matrix, cell: table.Cell) -> int:
    try:
        changed = locks.write(cell, matrix.lock(cell))
    except UntestableError as error:
        click.echo(f"{cell.name}: {error.outcome}\n{error}", err=True)
        return error.exit_code
    click.echo(f"{cell.name}: {'written' if changed else 'unchanged'}")
    return 0
