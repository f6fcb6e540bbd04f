"""The exchange for a terminal, in Markdown and as JSON: writers down, readers across."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tunematrix.questions.exchange import ALL, Exchange
from tunematrix.report import screen
from tunematrix.report.escape import plain_text, table_row
from tunematrix.report.summary import finding_json
from tunematrix.shared.lines import one_line
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.pairs import (
    ARTIFACTS,
    DOWNGRADE,
    GOES_ON,
    SAME,
    UNAVAILABLE,
    UPGRADE,
    WORST_FIRST,
    Pair,
)

SCHEMA: Final = 1
MARKS: Final[Mapping[str, str]] = {"same": "ok", "differs": "DIFF", "fails": "FAIL", "unavailable": "-"}
LEGEND: Final = "writers down, readers across; DIFF read otherwise, FAIL not read, - not to be had"
ROOM: Final = 18  # lines for the findings
NAMES: Final = 40  # characters for the names of artifacts with the same outcomes
NUMBERED: Final = 8  # so many readers have room for their names; of more, the columns are numbers


def grid(exchange: Exchange, artifact: str) -> list[list[str]]:
    """The outcome of each writer and reader for ``artifact``, in words; of several models the worst."""
    names, readers = [side.name for side in exchange.sides], reader_names(exchange)
    worst: dict[tuple[str, str], str] = {}
    for pair in exchange.pairs:
        if pair.artifact in (artifact, ALL):
            place = pair.writer, pair.reader
            worst[place] = min(worst.get(place, pair.outcome), pair.outcome, key=rank)
    return [[worst.get((writer, reader), UNAVAILABLE) for reader in readers] for writer in names]


def reader_names(exchange: Exchange) -> list[str]:
    return [side.name for side in exchange.sides if side.reads]


def rank(outcome: str) -> int:
    """Of several models, the worst outcome is shown; one that is not to be had hides no other."""
    return WORST_FIRST.index(outcome) if outcome != UNAVAILABLE else len(WORST_FIRST)


def lines(exchange: Exchange, findings: Sequence[Finding], artifact: str = "") -> Iterator[str]:
    """What survives in each direction, or the heat map of one artifact; then the findings."""
    yield from _map(exchange, artifact) if artifact else _directions(exchange)
    told = [
        finding
        for finding in findings
        if finding.loud and (not artifact or f"exchange.{artifact}" in finding.fields)
    ]
    open_findings = [finding for finding in told if not finding.accepted]
    known = [finding for finding in told if finding.accepted]
    shown = screen.fitted(open_findings, ROOM, "the details have them")
    yield from shown
    yield from list(_known(known))[: max(ROOM - len(shown), 1)]
    for name, reason in exchange.absent.items():
        yield f"{name} takes no part: {one_line(reason)[:100]}"
    loaded = sum(pair.outcome == SAME for pair in exchange.pairs)
    counted = [f"{loaded} of {len(exchange.pairs)} readings are the same"]
    counted += [f"{len(open_findings)} findings"] if open_findings else ["nothing unexpected"]
    counted += [f"{len(known)} known"] if known else []
    yield "; ".join(counted)


def _known(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each entry of the ledger: its cause, and the artifacts that it explains."""
    causes: dict[str, list[Finding]] = {}
    for finding in findings:
        causes.setdefault(finding.accepted, []).append(finding)
    for place, (_, members) in enumerate(causes.items()):
        fields = {name.removeprefix("exchange.") for finding in members for name in finding.fields}
        names = [name for name in ARTIFACTS if name in fields and name.removesuffix(GOES_ON) == name]
        more = f" +{len(names) - 2}" if names[2:] else ""
        cause = members[0].title.partition(": ")[2]
        when = next((f" ({step.side}s {step.when})" for step in members[0].steps if step.release), "")
        yield screen.row("known" if place == 0 else "", f"{', '.join(names[:2])}{more}{when}: {cause}")


def _directions(exchange: Exchange) -> Iterator[str]:
    """A line for each artifact that is not the same everywhere, and one for all others."""
    sides = {side.name: side for side in exchange.sides}
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for pair in exchange.pairs:
        if pair.artifact != ALL:
            counts.setdefault(pair.artifact, Counter())[pair.direction(sides), pair.outcome] += 1
    seen = [name for name in ARTIFACTS if name in counts]
    fine = [name for name in seen if {outcome for _, outcome in counts[name]} <= {SAME, UNAVAILABLE}]
    rows: dict[tuple[str, ...], list[str]] = {}
    for name in seen:
        if name not in fine:
            words = tuple(_counted(counts[name], direction) for direction in (SAME, UPGRADE, DOWNGRADE))
            rows.setdefault(words, []).append(name)
    table: list[tuple[str, ...]] = [("read by", "the same stack", "newer stacks", "older stacks")]
    table += [
        (line, *(words if place == 0 else ("", "", "")))
        for words, names in rows.items()
        for place, line in enumerate(textwrap.wrap(", ".join(names), NAMES))
    ]
    sizes = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    for row in table if rows else []:
        yield "  ".join(text.ljust(size) for text, size in zip(row, sizes, strict=True)).rstrip()
    if fine:
        yield from textwrap.wrap(f"the same everywhere: {', '.join(fine)}", screen.WIDTH)
    yield ""


def _counted(counts: Mapping[tuple[str, str], int], direction: str) -> str:
    """``12 ok, 3 DIFF``: how often each outcome came."""
    found = {outcome: counts[direction, outcome] for outcome in MARKS}
    return ", ".join(f"{count} {MARKS[outcome]}" for outcome, count in found.items() if count) or "-"


def _map(exchange: Exchange, artifact: str) -> Iterator[str]:
    names, readers = [side.name for side in exchange.sides], reader_names(exchange)
    width = max(map(len, names), default=0)
    numbered = len(readers) > NUMBERED
    heads = [str(place + 1) for place in range(len(readers))] if numbered else readers
    columns = [max(len(head), 4) for head in heads]
    yield f"{artifact}: {LEGEND}"
    margin = width + (4 if numbered else 0)
    yield " ".join([" " * margin, *(head.rjust(size) for head, size in zip(heads, columns, strict=True))])
    for name, row in zip(names, grid(exchange, artifact), strict=True):
        number = str(readers.index(name) + 1) if name in readers else ""
        label = f"{number:>3} {name.ljust(width)}" if numbered else name.ljust(width)
        cells = [MARKS[outcome].rjust(size) for outcome, size in zip(row, columns, strict=True)]
        yield " ".join([label, *cells])
    yield ""


def markdown(exchange: Exchange, findings: Sequence[Finding]) -> str:
    """Everything: the findings, then a heat map for each artifact."""
    text = ["# Exchange", "", f"{LEGEND[0].upper()}{LEGEND[1:]}.", "", "## Findings", ""]
    for finding in findings:
        known = f" ({plain_text(finding.accepted)})" if finding.accepted else ""
        text.append(f"- **{finding.severity}**{known}: {plain_text(finding.title)}")
        cause = f"since {finding.cause.package} {finding.cause.release}; " if finding.cause else ""
        text.append(f"  {plain_text(cause + finding.action)}")
        text += [f"  - {plain_text(f'{item.name}: {item.after}')}" for item in finding.evidence]
    text += [] if findings else ["None."]
    text += [f"- {plain_text(f'{name}: takes no part: {why}')}" for name, why in exchange.absent.items()]
    text += ["", "## By artifact", ""]
    seen = {pair.artifact for pair in exchange.pairs}
    for artifact in (name for name in ARTIFACTS if name in seen):
        names = [side.name for side in exchange.sides]
        text += [f"### {artifact}: {ARTIFACTS[artifact][0]}", ""]
        readers = reader_names(exchange)
        text += [table_row(["", *readers]), table_row(["---"] * (len(readers) + 1))]
        for name, row in zip(names, grid(exchange, artifact), strict=True):
            text.append(table_row([name, *(MARKS[outcome] for outcome in row)]))
        text.append("")
    return "\n".join(text).rstrip() + "\n"


def to_json(exchange: Exchange, findings: Sequence[Finding]) -> dict[str, Any]:
    """The format of ``exchange.json``."""
    sides = {side.name: side for side in exchange.sides}
    return {
        "schema": SCHEMA,
        "cells": [
            {
                "cell": side.name,
                "versions": {name: side.packages[name] for name in sorted(side.packages)},
                **({} if side.reads else {"frozen": True}),
            }
            for side in exchange.sides
        ],
        "absent": dict(exchange.absent),
        "pairs": [_pair_json(pair, pair.direction(sides)) for pair in exchange.pairs],
        "findings": [finding_json(finding) for finding in findings],
    }


def _pair_json(pair: Pair, direction: str) -> dict[str, Any]:
    known: dict[str, Any] = {
        "writer": pair.writer,
        "reader": pair.reader,
        "direction": direction,
        "model": pair.model,
        "artifact": pair.artifact,
        "outcome": pair.outcome,
    }
    if pair.outcome != SAME:
        known |= {"reason": pair.reason, "size": pair.difference.get("size")}
    if pair.error:
        known["error"] = {key: pair.error.get(key, "") for key in ("type", "message", "where", "cause")}
    return known


def exit_code(exchange: Exchange, findings: Sequence[Finding]) -> int:
    """1 for a finding that nobody expects, 3 if a cell takes no part, else 0."""
    if any(finding.loud and not finding.accepted for finding in findings):
        return 1
    return 3 if exchange.absent else 0
