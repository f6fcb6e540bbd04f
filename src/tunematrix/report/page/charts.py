"""Charts of numbers over the diagonal, as points of an SVG; a step that moved a number is marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.base.record import Record
from tunematrix.report.rows import Row

WIDTH: Final = 320
HEIGHT: Final = 110
MARGIN: Final = 14
SPARK: Final = 30  # runs in a line of durations
MOVED: Final = 1e-4  # relative: less is noise of another torch


@dataclass(frozen=True, slots=True)
class Point:
    """A cell's number; ``moved`` from the point before it."""

    cell: str
    value: float
    x: float
    y: float
    moved: bool

    @property
    def text(self) -> str:
        return f"{self.cell}: {self.value:.6g}"


@dataclass(frozen=True, slots=True)
class Chart:
    """A title, the unit, and a point for each cell that has the number; ``marked`` if moves are told."""

    title: str
    unit: str
    points: tuple[Point, ...]
    marked: bool

    @property
    def line(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)

    @property
    def moves(self) -> str:
        """The change points in words; of what belongs to the machine, its range."""
        if not self.marked:
            values = sorted(point.value for point in self.points)
            return f"{values[0]:.4g} to {values[-1]:.4g}"
        moved = [
            f"{point.cell} ({before.value:.4g} to {point.value:.4g})"
            for before, point in zip(self.points, self.points[1:], strict=False)
            if point.moved
        ]
        return f"moves at {', '.join(moved)}" if moved else "does not move"


def _last(name: str) -> Callable[[Record], Any]:
    def find(record: Record) -> Any:
        value = record.fingerprint.get(name)
        return value[-1] if isinstance(value, list) and value else value

    return find


NUMBERS: Final[Sequence[tuple[str, str, Callable[[Record], Any], bool]]] = (
    ("SFT loss", "", _last("finetune.loss"), True),
    ("SFT gradient norm", "", _last("finetune.grad_norm"), True),
    ("DPO loss", "", _last("align.loss"), True),
    ("DPO gradient norm", "", _last("align.grad_norm"), True),
    ("time of a cell", "s", lambda record: record.seconds, False),
    ("peak memory", "MB", lambda record: record.peak_rss_mb, False),
)


def of(rows: Sequence[Row]) -> Iterator[Chart]:
    """A chart for each number that two cells have; of time and memory no move is marked."""
    for title, unit, find, marked in NUMBERS:
        values = [(row.cell, find(row.record)) for row in rows if row.record]
        numbers = [(cell, float(value)) for cell, value in values if _is_number(value)]
        if len(numbers) > 1:
            yield Chart(title, unit, tuple(_points(numbers, marked=marked)), marked)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _points(numbers: Sequence[tuple[str, float]], *, marked: bool) -> Iterator[Point]:
    low, high = min(value for _, value in numbers), max(value for _, value in numbers)
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    for place, (cell, value) in enumerate(numbers):
        before = numbers[place - 1][1] if place else value
        share = (value - low) / (high - low) if high > low else 0.5
        yield Point(
            cell=cell,
            value=value,
            x=MARGIN + width * place / (len(numbers) - 1),
            y=MARGIN + height * (1 - share),
            moved=marked and abs(value - before) > MOVED * max(abs(value), abs(before)),
        )


def spark(values: Sequence[float]) -> str:
    """The last values as the points of a line in a box of 100 by 20; of one value, a level line."""
    shown = [values[0], *values] if len(values) == 1 else values[-SPARK:]
    low, high = min(shown), max(shown)
    heights = [(value - low) / (high - low) if high > low else 0.5 for value in shown]
    width = 98 / (len(shown) - 1)
    return " ".join(f"{1 + width * place:.1f},{18 - 16 * height:.1f}" for place, height in enumerate(heights))
