"""What any two cells differ in, as data so small that a page can hold it for a hundred cells.

A column per stage, package, number, default or call has the distinct values and, for each cell, the place of
its own among them. What is the same in all cells is left out. Numbers within the tolerance of ``diff`` of
each other are one value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from tunematrix.base.record import Record, stage_names
from tunematrix.report.rows import Row
from tunematrix.report.screen import brief
from tunematrix.shared.stages import RESUME
from tunematrix.verdict import effects, tolerances
from tunematrix.verdict.noise import NOISE_OF, is_noise

NONE: Final = -1  # the place of a cell that has no value
NEAR: Final = 1e-3  # above every tolerance: of numbers further apart, the whole comparison is not needed

Column = tuple[str, list[str], list[int]]
Same = Callable[[int, int], bool]  # of the values of two cells, by their places


def data(rows: Sequence[Row]) -> dict[str, Any]:
    """``cells``, and by kind the columns: ``[name, distinct values, place of each cell's value or -1]``."""
    present = [(row, row.record) for row in rows if row.record]
    records = [record for _, record in present]
    stages = stage_names(*records)
    tables: Mapping[str, list[Mapping[str, Any]]] = {
        "options": [{name: str(value) for name, value in record.options.items()} for record in records],
        "stages": [dict(zip(stages, row.displayed_outcomes(stages), strict=True)) for row, _ in present],
        "packages": [record.packages for record in records],
        "numbers": [_numbers(record) for record in records],
        "defaults": [_defaults(record) for record in records],
        "calls": [
            {f"{site['call']}({site['argument']})": site["use"] for site in record.call_sites}
            for record in records
        ],
    }
    return {
        "cells": [row.cell for row, _ in present],
        "kinds": {
            kind: list(_columns(values, records if kind == "numbers" else ()))
            for kind, values in tables.items()
        },
    }


def _numbers(record: Record) -> dict[str, Any]:
    """What was measured of the work itself; not the effects of options, which only a whole diff compares."""
    return {
        name: value
        for name, value in record.fingerprint.items()
        if tolerances.measures_behaviour(name)
        and not (effects.is_option(name) or effects.is_leaks(name) or name.endswith(NOISE_OF))
    }


def _defaults(record: Record) -> dict[str, Any]:
    return {
        f"{owner}.{field}": value
        for owner, fields in record.defaults.items()
        for field, value in fields.items()
    }


def _columns(cells: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> Iterator[Column]:
    """The columns that are not the same in all cells; ``records`` are those of numbers."""
    noisy = {name for record in records for name in record.fingerprint if name.endswith(NOISE_OF)}
    for name in sorted({name for cell in cells for name in cell}):
        is_noisy = f"{name.partition('.')[0].removesuffix(RESUME)}{NOISE_OF}" in noisy
        same = _closeness(name, records, noisy=is_noisy) if records else None
        column = _column(name, cells, same)
        if len({*column[2]}) > 1:
            yield column


def _closeness(name: str, records: Sequence[Record], *, noisy: bool) -> Same | None:
    """Whether ``diff`` takes the numbers ``name`` of two cells for the same; None if they must be equal."""
    if not noisy and not tolerances.tolerance(name):
        return None
    fingerprints = [record.fingerprint for record in records]
    heads = [next(tolerances.flatten(each.get(name)), math.nan) for each in fingerprints]

    def same(one: int, other: int) -> bool:
        sides = fingerprints[one], fingerprints[other]
        far = abs(heads[one] - heads[other]) > NEAR * max(1, abs(heads[one]), abs(heads[other]))
        if far and not noisy:
            return False
        old, new = sides[0][name], sides[1][name]
        return tolerances.close(old, new, name) or is_noise(name, old, new, sides)

    return same


def _exact(value: Any) -> Any:
    """A key that two values share if they are equal; NaN is itself."""
    if isinstance(value, Mapping):
        return tuple((name, _exact(item)) for name, item in sorted(value.items()))
    if isinstance(value, list):
        return tuple(map(_exact, value))
    return value if value == value else "NaN"  # noqa: PLR0124  # only NaN is not


def _column(name: str, cells: Sequence[Mapping[str, Any]], same: Same | None) -> Column:
    """The column ``name``; of values that are equal or the ``same``, the first stands for all."""
    texts: list[str] = []
    firsts: list[int] = []  # the cell that each text is of
    known: dict[Any, int] = {}
    places = []
    for number, cell in enumerate(cells):
        if name not in cell:
            places.append(NONE)
            continue
        exact = _exact(cell[name])
        if exact not in known:
            matches = (place for place, first in enumerate(firsts) if same and same(first, number))
            known[exact] = next(matches, len(texts))
            if known[exact] == len(texts):
                texts.append(brief(cell[name]))
                firsts.append(number)
        places.append(known[exact])
    return name, texts, places
