"""Cells by rule: the diagonal, the skews, the latest and the lowest declared; see ``[policy]``."""

from __future__ import annotations

import dataclasses
import datetime
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.requirements import Requirement

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.locks import lock, releases, table, uv
from tunematrix.locks.releases import Release
from tunematrix.locks.table import CORE, FILE, Cell, Matrix, Policy


@dataclass(kw_only=True, slots=True)
class Change:
    """What populating does to the table: ``put`` with the name each goes before, and what it drops."""

    put: list[tuple[Cell, str | None]] = field(default_factory=list)
    drop: list[Cell] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def change(matrix: Matrix, today: datetime.date) -> Change:
    """Compare the table with its policy. Cells without a ``rule`` are somebody's own: never touched.

    Raises ``UsageError`` for a table without a policy.
    """
    if matrix.policy is None:
        raise UsageError(f"{matrix.folder / FILE}: no [policy]; docs/locks.md shows one")
    found = Change()
    own = {cell.name for cell in matrix.cells if not cell.rule}
    wanted = {cell.name: cell for cell in _wanted(matrix, matrix.policy, today, found.left_out)}
    for name in own & wanted.keys():
        found.left_out[name] = "a cell of this name was written by hand"
    wanted = {name: cell for name, cell in wanted.items() if name not in own}
    current = {cell.name: cell for cell in matrix.cells if cell.rule}
    found.drop = [cell for name, cell in current.items() if not _same(cell, wanted.get(name))]
    gone = {cell.name for cell in found.drop}
    stay = [cell for cell in matrix.cells if cell.name not in gone]
    for cell in sorted(wanted.values(), key=_day):
        if cell.name in gone or cell.name not in current:
            before = next((at for at, one in enumerate(stay) if _day(one) > _day(cell)), len(stay))
            found.put.append((cell, stay[before].name if before < len(stay) else None))
            stay.insert(before, cell)
    return found


def apply(matrix: Matrix, found: Change) -> None:
    """Edit ``matrix.toml``, and take away the locks of cells that are no more."""
    table.edit(matrix.folder, drop=[cell.name for cell in found.drop], put=found.put)
    kept = {cell.name for cell, _ in found.put}
    for cell in found.drop:
        if cell.name not in kept:
            matrix.lock(cell).unlink(missing_ok=True)


def _same(one: Cell, other: Cell | None) -> bool:
    return other is not None and _row(one) == _row(other)


def _row(cell: Cell) -> tuple[object, ...]:
    pins = {name: version for name, version in cell.pins.items() if name != "torch"}
    return pins, cell.as_of, cell.rule, cell.why, cell.tags, cell.python


def _day(cell: Cell) -> datetime.date:
    """Where in time a cell stands: its day, else the release of its newest core pin."""
    days = [releases.day_of(name, version) for name, version in cell.pins.items() if name in CORE]
    return cell.as_of or max((day for day in days if day), default=datetime.date.min)


def _wanted(matrix: Matrix, policy: Policy, today: datetime.date, left_out: dict[str, str]) -> Iterator[Cell]:
    made = list(_tried(_diagonal(policy, matrix, today), left_out, today))
    yield from made
    yield from _tried(_skews(policy, matrix, made), left_out, today)
    if policy.latest or policy.floor:
        latest = _latest(policy, matrix, today)
        if policy.floor:
            floor = _cell(
                matrix,
                "latest-floor",
                f"trl {latest.pins['trl']} with the lowest versions that its own metadata allows",
                {"trl": latest.pins["trl"], **floors(latest.pins["trl"], matrix)},
            )
            yield from _tried([floor], left_out, today)
        yield from [latest] if policy.latest else []


def _cell(
    matrix: Matrix, name: str, why: str, pins: Mapping[str, str], as_of: datetime.date | None = None
) -> Cell:
    rule = name if name in table.RULES else "diagonal" if as_of else "skew"
    tags = (rule, "smoke") if rule == "latest" else (rule,)
    return Cell(name=name, why=why, python=matrix.python, pins=pins, as_of=as_of, tags=tags, rule=rule)


def _tried(
    cells: Sequence[Cell] | Iterator[Cell], left_out: dict[str, str], today: datetime.date
) -> Iterator[Cell]:
    """The cells that the resolver allows, each with all its core pins."""
    for cell in cells:
        try:
            yield _solved(cell, today)
        except UnresolvableError as error:
            left_out[cell.name] = f"the resolver refuses it: {str(error).splitlines()[-1].strip()}"


def _solved(cell: Cell, today: datetime.date, *options: str) -> Cell:
    found = lock.versions(lock.resolve(cell, today, *options))
    return dataclasses.replace(cell, pins={**{name: found[name] for name in CORE}, **cell.pins})


def _diagonal(policy: Policy, matrix: Matrix, today: datetime.date) -> Iterator[Cell]:
    for release in minors(releases.releases("trl"), policy, today):
        name = f"trl-{release.version.major}.{release.version.minor}"
        why = f"trl {release.version}, with what the resolver gave its users on the day it came"
        yield _cell(matrix, name, why, {"trl": str(release.version)}, as_of=release.day)


def minors(known: Sequence[Release], policy: Policy, today: datetime.date) -> list[Release]:
    """The newest release of each minor one; with ``every``, of each such period the last."""
    newest: dict[tuple[int, int], Release] = {}
    for release in sorted(known):
        counts = not release.yanked and (policy.prereleases or not release.version.is_prerelease)
        if counts and policy.since <= release.day <= _settled(policy, today):
            newest[release.version.major, release.version.minor] = release
    last: dict[object, Release] = {}
    for minor, release in newest.items():
        last[(release.day - policy.since).days // policy.every if policy.every else minor] = release
    return sorted(last.values())


def _settled(policy: Policy, today: datetime.date) -> datetime.date:
    """The last day whose releases count."""
    return today - datetime.timedelta(days=policy.cool_down)


def _latest(policy: Policy, matrix: Matrix, today: datetime.date) -> Cell:
    cell = _cell(matrix, "latest", "what a new project gets today", {}, as_of=_settled(policy, today))
    options = ["--prerelease=allow"] if policy.prereleases else []
    return dataclasses.replace(_solved(cell, today, *options), as_of=None)


def _skews(policy: Policy, matrix: Matrix, diagonal: Sequence[Cell]) -> Iterator[Cell]:
    """The baseline with one package a generation behind or ahead of the others.

    A generation is the step to the next cell of the diagonal that has another minor release of it.
    """
    if matrix.baseline is None or not policy.skews:
        return
    baseline = matrix.cell(matrix.baseline)
    earlier = [cell for cell in reversed(diagonal) if _day(cell) <= _day(baseline)]
    later = [cell for cell in diagonal if _day(cell) > _day(baseline)]
    for package in policy.skews:
        for direction, cells in {"behind": earlier, "ahead": later}.items():
            own = baseline.pins[package]
            other = next((v for cell in cells if _minor(v := cell.pins[package]) != _minor(own)), None)
            if other:
                name = f"{baseline.name}-{package}-{direction}"
                why = f"{baseline.name} with {package} a generation {direction}, all else as it was"
                pins = {one: version for one, version in baseline.pins.items() if one != "torch"}
                yield _cell(matrix, name, why, {**pins, package: other})


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def floors(trl: str, matrix: Matrix) -> dict[str, str]:
    """The lowest version of each package that ``trl`` itself declares a bound for, as uv resolves them."""
    bounded = [one for one in declared(f"trl=={trl}") if re.search(r">=|~=|==|>", str(one.specifier))]
    asked = [f"trl=={trl}", *(f"{one.name}{one.specifier}" for one in bounded)]
    options = ["--quiet", "--python-version", matrix.python, "--no-header", "--no-annotate"]
    done = uv.compile(asked, [], [*options, "--resolution", "lowest-direct", *uv.torch_source()])
    found = lock.versions(uv.checked(done, UnresolvableError).stdout)
    return {name: found[name] for name in lock.NEEDED if name in {one.name for one in bounded}}


def declared(release: str) -> list[Requirement]:
    """What a release says it needs, its ``peft`` extra included."""
    with tempfile.TemporaryDirectory() as scratch:
        done = uv.run("pip", "install", "--quiet", "--no-deps", "--target", scratch, release)
        uv.checked(done, InfrastructureError)
        distribution = PathDistribution(next(Path(scratch).glob("*.dist-info")))
        rows = [Requirement(text) for text in distribution.requires or []]
    return [one for one in rows if one.marker is None or one.marker.evaluate({"extra": "peft"})]
