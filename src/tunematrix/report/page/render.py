"""Renders ``summary.html``: the answer in a sentence, then the matrix, its steps, charts and releases.

Everything on the page comes from records and tables, and Jinja escapes all of it. Scripts filter, choose and
copy; they also compare two cells, draw the exchange and check requirements, from data in the page, and set
texts alone, never HTML.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import jinja2
from packaging.version import Version

from tunematrix.base.record import UNTESTABLE, stage_names
from tunematrix.base.versions import parse_version
from tunematrix.locks import neighbours
from tunematrix.locks.table import CORE
from tunematrix.report.page import charts, pairs
from tunematrix.report.rows import NO_RECORD, Row
from tunematrix.report.summary import Summary
from tunematrix.shared import secrets
from tunematrix.shared.lines import one_line
from tunematrix.verdict import past, standing
from tunematrix.verdict.answer import SHORT
from tunematrix.verdict.findings import SEVERITIES, Finding
from tunematrix.verdict.ledger import Issue
from tunematrix.verdict.releases import Rung

# What a cell of the table shows: a symbol, so that it reads without colour, a word, and a class of colours.
SYMBOLS: Final[Mapping[str, tuple[str, str, str]]] = {
    "passed": ("✓", "passed", "good"),
    "known": ("!", "known", "known"),
    "failed": ("✗", "failed", "bad"),
    "crashed": ("✗", "crashed", "bad"),
    "timed_out": ("✗", "timed out", "bad"),
    "unexpected_pass": ("?", "passed unexpectedly", "bad"),
    "not_run": ("·", "did not run", "none"),
    "skipped": ("·", "skipped", "none"),
    "unavailable": ("-", "not in these releases", "none"),
    "unknown": ("?", "no record", "none"),
    "outdated": ("·", "out of date", "none"),
}
NUMBERS: Final = re.compile(r"[-+\[\]., \de]*")  # texts that need no cleaning, most of the data
OTHER: Final = ("✗", "could not be tested", "bad")
RELEASES: Final = 120  # of the ladder, the newest; each with what it moved


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What changed from the cell that a row is compared with."""

    row: Row
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> str:
        return counted(finding.severity for finding in self.findings)


@secrets.unchanged()
def render(
    summary: Summary,
    locks: Mapping[str, str],
    rungs: Sequence[Rung],
    issues: Iterable[Issue] = (),
    exchange: Mapping[str, Any] | None = None,
) -> str:
    """The page; ``locks`` are the texts of the cells' locks, and ``rungs`` the releases of the ladder.

    ``issues`` are what a requirements file is checked against, and ``exchange`` what ``heat.load`` returns.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tunematrix.report.page", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["shown"] = shown
    stages = stage_names(*(row.record for row in summary.rows))
    clean_line = functools.cache(one_line)  # most lines of a lock are in others too
    groups = [
        (neighbours.HEADINGS[group], list(members))
        for group, members in groupby(summary.rows, key=lambda row: row.group)
    ]
    steps = list(_steps(summary.rows))
    return environment.get_template("summary.html.j2").render(
        model=summary.model or "no model",
        answer=answer(summary),
        attention=list(_attention(summary)),
        groups=groups,
        core=CORE,
        stages=stages,
        outcome=lambda word: SYMBOLS.get(word, OTHER),
        short=lambda row: SHORT[row.judgement.answer] if row.compared_with and row.record else "",
        steps=steps,
        severities=[severity for severity in SEVERITIES if any(_has(step, severity) for step in steps)],
        packages=sorted({one.cause.package for step in steps for one in step.findings if one.cause}),
        charts=list(charts.of([row for row in summary.rows if row.group == "diagonal"])),
        releases=[rung for rung in rungs[::-1] if rung.findings][:RELEASES],
        worst=lambda rung: rung.findings[0]["severity"],
        counted=lambda rung: counted(finding["severity"] for finding in rung.findings),
        locks={name: "\n".join(map(clean_line, text.splitlines())) for name, text in locks.items()},
        newest=list(reversed(summary.rows)),
        history=summary.history,
        day=past.day,
        spark=charts.spark,
        pairs=_cleaned({**pairs.data(summary.rows), "severities": SEVERITIES}),
        exchange=_cleaned(exchange),
        known=_cleaned(standing.exported(issues, rungs)),
    )


def _cleaned(data: Any) -> Any:
    """``data`` with every text as it is shown; the keys are our own, or names that Python gave."""
    if isinstance(data, str):
        return data if NUMBERS.fullmatch(data) else shown(data)
    if isinstance(data, Mapping):
        return {key: _cleaned(value) for key, value in data.items()}
    return [_cleaned(item) for item in data] if isinstance(data, (list, tuple)) else data


def shown(value: Any) -> str:
    """A text of somebody else in one line, without secrets and control characters."""
    return one_line(str(value)).strip()


def counted(severities: Iterable[str]) -> str:
    counts = Counter(severities)
    return (
        ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES if counts[severity])
        or "nothing"
    )


def answer(summary: Summary) -> str:
    """The page in a sentence."""
    states = Counter(row.state for row in summary.rows)
    ran = len(summary.rows) - states["unknown"]
    if not ran:
        return "Nothing has run yet."
    good = [row for row in summary.rows if row.state == "passed"]
    known, other, missing = states["known"], ran - len(good) - states["known"], states["unknown"]
    text = f"{len(good)} of {ran} combinations pass every stage"
    if known:
        text += f", {known} {'fails' if known == 1 else 'fail'} for a known reason"
    if other:
        text += f", {other} {'needs' if other == 1 else 'need'} attention"
    if good:
        newest = max(good, key=_releases)
        versions = ", ".join(f"{name} {newest.versions[name]}" for name in CORE if newest.versions[name])
        text += f". The newest that passes is {newest.cell}: {versions}"
    if missing:
        text += f". {missing} {'has' if missing == 1 else 'have'} no record with this model"
    return f"{text}."


def _releases(row: Row) -> list[Version]:
    """What rows are ordered by in time: trl's release first, which needs the others'."""
    return [parse_version(row.versions.get(name)) or Version("0") for name in reversed(CORE)]


def _attention(summary: Summary) -> Iterator[tuple[str, str]]:
    """Cell and cause of each failure that nobody expects, and what is wrong in the ledger."""
    for row in summary.rows:
        for reason in row.reasons:
            if not reason.issue and reason.error.type != NO_RECORD:
                yield row.cell, reason.line
    yield from (("known-issues.toml", problem) for problem in summary.problems)


def _steps(rows: Sequence[Row]) -> Iterator[Step]:
    present = {row.cell for row in rows if row.record and row.outcome not in UNTESTABLE}
    for row in rows:
        if row.compared_with in present and row.record:
            yield Step(row=row, findings=tuple(one for one in row.judgement.findings if one.loud))


def _has(step: Step, severity: str) -> bool:
    return any(finding.severity == severity for finding in step.findings)
