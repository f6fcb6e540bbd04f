"""Renders what the history says: a line for each cell, all about one, or all about one finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from tunematrix.report.screen import row, wrapped
from tunematrix.verdict.past import Past, Sighting, day, titled

SCHEMA: Final = 1


def table(cells: Sequence[Past]) -> Iterator[str]:
    """A line for each cell."""
    width = max(len("cell"), *(len(past.title) for past in cells))
    columns = "{:<{width}}  {:>4}  {:<12}  {:<10}  {:>8}  {:>6}  {:>8}  {:>8}"
    header = ("cell", "runs", "now", "since", "findings", "flaked", "median", "last")
    yield columns.format(*header, width=width)
    for past in cells:
        seconds = (past.median, past.seconds[-1]) if past.seconds else ()
        yield columns.format(
            past.title,
            past.runs,
            past.outcome.replace("_", " "),
            day(past.since),
            len(past.findings),
            len(past.flakes),
            *([f"{time:.0f} s" for time in seconds] or ["-", "-"]),
            width=width,
        )
    newest = {past.title: max((one.since for one in past.standing), default="") for past in cells}
    if latest := max(newest.values(), default=""):
        names = ", ".join(name for name, since in newest.items() if since == latest)
        yield f"newest failure or finding: {day(latest)}, {names}; one cell in full: tunematrix history CELL"


def detail(past: Past, model: str) -> Iterator[str]:
    """All about one cell: a line for each failure, finding and flake."""
    cut = f", {past.interrupted} of them cut off" if past.interrupted else ""
    number = "1 run" if past.runs == 1 else f"{past.runs} runs"
    yield f"{past.title} with {model}: {number} from {day(past.first)} to {day(past.last)}{cut}"
    yield row("now", f"{past.outcome.replace('_', ' ')} since {_since(past.since, past.in_a_row, 'run')}")
    for one in past.failures:
        yield row("failure", f"{one.name} {one.title}, since {_since(one.since, one.runs, 'run')}")
    for one in past.standing:
        if one.severity:
            yield row(one.severity, f"since {day(one.since)} ({one.runs} in a row)  {one.name}: {one.title}")
    if past.compared_with and not past.findings:
        yield row("findings", f"none in the step from {past.compared_with}")
    for flake in past.flakes:
        yield row("flaked", flake.text)
    if past.seconds:
        yield row("time", f"median {past.median:.0f} s, last {past.seconds[-1]:.0f} s")


def _since(started: str, times: int, what: str) -> str:
    return f"{day(started)} ({times} {what}{'' if times == 1 else 's'} in a row)"


def finding_lines(finding: str, found: Iterable[Sighting]) -> Iterator[str]:
    yield f"{finding}:"
    for one in found:
        end = f", gone since {day(one.until)}" if one.until else ", still there"
        since = _since(one.since, one.runs, "step")
        yield f"  {one.compared_with} -> {titled(one.cell, one.options)}: {one.severity} since {since}{end}"
        yield from wrapped("", one.title, lines=2)


def to_json(model: str, cells: Sequence[Past]) -> dict[str, Any]:
    """The content of ``history --json``; docs/history.md describes it."""
    return {"schema": SCHEMA, "model": model, "cells": [_cell_json(past) for past in cells]}


def _cell_json(past: Past) -> dict[str, Any]:
    content = asdict(past)
    content["seconds"] = {"median": past.median, "last": past.seconds[-1]} if past.seconds else None
    content["flakes"] = [asdict(flake) | {"text": flake.text} for flake in past.flakes]
    return content


def finding_json(model: str, finding: str, found: Iterable[Sighting]) -> dict[str, Any]:
    return {"schema": SCHEMA, "model": model, "finding": finding, "cells": [asdict(one) for one in found]}
