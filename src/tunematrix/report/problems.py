"""What a person must act on after a run of the matrix: one problem for each cause that nobody wrote down.

An unexpected failure is one that the ledger does not explain; a finding is unexplained if it is ``broken`` or
``wrong``, nobody accepted it, and no entry of the ledger or of the known changes is its cause.
"""

from __future__ import annotations

import datetime
import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import re2
import tomlkit

from tunematrix.base.record import Failure
from tunematrix.base.versions import parse_version
from tunematrix.locks.table import CORE
from tunematrix.report.escape import shorten
from tunematrix.report.rows import Reason, Row
from tunematrix.report.summary import Summary
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.ledger import PROBE

SEVERITIES: Final = ("broken", "wrong")
# What differs between two runs of the same failure: addresses, paths and numbers.
VOLATILE: Final = re.compile(r"0x[0-9a-fA-F]+|(?<![\w.])/\S+|[0-9]+")
TRIED: Final = ("passed", "failed", "unavailable")  # outcomes of a part that ran to its end
LONGEST_PATTERN: Final = 200  # characters of an error in an entry of the ledger
PREFIX: Final = 4  # characters that names must share for one pattern to stand for all of them
ENTRIES: Final = 5
LASTS: Final = datetime.timedelta(days=90)  # until an entry must be checked again
TO_WRITE: Final = "TO WRITE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One cause, and the cells where it shows. ``evidence`` and ``commands`` are lines.

    ``id`` stays the same from run to run. ``entry`` is what to add to the ledger, as TOML. All texts but
    the id may come from records, and are not escaped.
    """

    id: str
    severity: str
    title: str
    cells: tuple[str, ...]
    cause: str
    evidence: tuple[str, ...]
    commands: tuple[str, ...]
    entry: str = ""


def problems(summary: Summary) -> list[Problem]:
    """The problems of all cells, those in the most cells first."""
    failures: dict[str, list[tuple[Row, Reason]]] = {}
    findings: dict[str, list[tuple[Row, Finding]]] = {}
    known = {issue.id for issue in summary.ledger.issues}
    for row in summary.rows:
        unexpected = [reason for reason in row.reasons if _is_unexpected(reason)]
        for reason in unexpected:
            failures.setdefault(_failure_id(reason.error), []).append((row, reason))
        failed = {stage for reason in unexpected for stage in reason.stages}
        for finding in row.judgement.findings:
            if _is_unexplained(finding, known) and not failed & _parts(finding):
                findings.setdefault(f"{finding.severity}:{finding.id}", []).append((row, finding))
    found = [_of_failure(name, where, summary.model) for name, where in failures.items()]
    found += [_of_finding(name, where, summary.model) for name, where in findings.items()]
    return sorted(found, key=lambda problem: (-len(problem.cells), problem.id))


def tested_cells(summary: Summary, *, compared: bool) -> frozenset[str]:
    """The cells with evidence that a problem is over: the last run of each came to its end.

    For what comes of a comparison, ``compared``, so did that of the cell with which it is compared. A cell
    without a record, or with one that was cut off or is of another lock, is evidence of nothing.
    """
    complete = {row.cell for row in summary.rows if _is_complete(row)}
    return frozenset(
        row.cell
        for row in summary.rows
        if row.cell in complete and (not compared or row.compared_with in (None, *complete))
    )


def _is_complete(row: Row) -> bool:
    """Whether each part of the work was tried, or is explained: behind a known failure others do not run."""
    record = row.record
    if record is None or row.interrupted or row.notes or record.interruption:
        return False
    outcomes = [*row.stages.values(), *(probe.outcome for probe in record.probes)]
    return row.state == "known" or all(outcome in TRIED for outcome in outcomes)


def _is_unexpected(reason: Reason) -> bool:
    return not reason.issue and not reason.is_note and reason.kind != "infrastructure"


def _is_unexplained(finding: Finding, known: Iterable[str]) -> bool:
    written = finding.cause is not None and not finding.cause.measured
    return finding.severity in SEVERITIES and not finding.accepted and not written and finding.id not in known


def _parts(finding: Finding) -> set[str]:
    return {name.removeprefix(PROBE) for name in finding.fields}


def _failure_id(error: Failure) -> str:
    """The same for the same error in another cell, another run and another folder."""
    text = VOLATILE.sub("0", f"{error.type}: {_first_line(error)}")
    kind = re.sub(r"[^a-z0-9]+", "-", error.type.lower()).strip("-")[:40]
    return f"failure:{kind}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:10]}"


def _first_line(error: Failure) -> str:
    return next(iter(error.message.strip().splitlines()), "")


def _of_failure(name: str, where: Sequence[tuple[Row, Reason]], model: str) -> Problem:
    row, first = where[0]
    stages = tuple(dict.fromkeys(stage for _, reason in where for stage in reason.stages))
    cells = tuple(row.cell for row, _ in where)
    part = ", ".join(stages[:3]) or "the environment"
    return Problem(
        id=name,
        severity="broken",
        title=f"{part}: {first.error.one_line}",
        cells=cells,
        cause=f"unknown: no entry of the ledger explains it; kind of failure: {first.kind}",
        evidence=tuple(f"{row.cell}: {reason.line}" for row, reason in where),
        commands=_commands(row, model),
        entry=_entry(
            name, [row for row, _ in where], stages=_ledger_stages(where), error=_pattern(first.error)
        ),
    )


def _of_finding(name: str, where: Sequence[tuple[Row, Finding]], model: str) -> Problem:
    row, first = where[0]
    cause = first.cause
    evidence = [
        f"{row.cell}: {item.name}: {shorten(item.before)} -> {shorten(item.after)}"
        for row, finding in where
        for item in finding.evidence
    ]
    fields = tuple(dict.fromkeys(field for _, finding in where for field in finding.fields))
    rows = [row for row, _ in where]
    entries = [_entry(name, rows, number, fingerprint=text) for number, text in enumerate(_patterns(fields))]
    return Problem(
        id=name,
        severity=first.severity,
        title=first.title,
        cells=tuple(row.cell for row in rows),
        cause=f"{cause.package} {cause.release}, as measured; nobody wrote down why" if cause else "unknown",
        evidence=(*evidence, *([f"to do: {first.action}"] if first.action else [])),
        commands=_commands(row, model),
        entry="\n".join(entries),
    )


def _commands(row: Row, model: str) -> tuple[str, ...]:
    option = f" --model {model}"
    compare = [f"tunematrix diff {row.compared_with} {row.cell}{option}"] if row.compared_with else []
    cells = " ".join(f'"e2e({cell})"' for cell in filter(None, (row.compared_with, row.cell)))
    return (f"nox -s {cells} --{option}", *compare)


def _entry(name: str, rows: Sequence[Row], number: int = 0, **keys: Any) -> str:
    """An entry of the ledger for the versions in ``rows``; its cause and its fix are a person's to write."""
    suffix = f"-{number + 1}" if number else ""
    days = [row.record.started[:10] for row in rows if row.record]
    content = {
        "id": f"{name.partition(':')[2]}{suffix}",
        **keys,
        "when": _conditions(rows),
        "cause": TO_WRITE,
        "link": "",
        "fix": TO_WRITE,
        "expires": _day(max(days, default="")) + LASTS,
    }
    return f"[[issue]]\n{tomlkit.dumps({key: value for key, value in content.items() if value})}"


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return datetime.datetime.now(datetime.UTC).date()


def _conditions(rows: Sequence[Row]) -> list[str]:
    """Conditions that hold in all ``rows``: of each package of the stack, the lowest and highest version."""
    conditions = []
    for package in CORE:
        versions = [parse_version(row.versions.get(package)) for row in rows]
        present = sorted(version for version in versions if version)
        if present and len(present) == len(versions):
            low, high = present[0], present[-1]
            conditions.append(f"{package}=={low}" if low == high else f"{package}>={low},<={high}")
    return conditions


def _ledger_stages(where: Sequence[tuple[Row, Reason]]) -> list[str]:
    """The stages as the ledger names them: a probe with its prefix, a cell that never ran by its outcome."""
    names: Mapping[str, None] = dict.fromkeys(name for row, reason in where for name in _names(row, reason))
    return list(names)


def _names(row: Row, reason: Reason) -> Iterator[str]:
    record = row.record
    if not reason.stages:
        yield record.outcome if record else "uninstallable"
    probes = {probe.name for probe in record.probes} if record else set()
    yield from (f"{PROBE}{stage}" if stage in probes else stage for stage in reason.stages)


def _pattern(error: Failure) -> str:
    return str(re2.escape(f"{error.type}: {_first_line(error)}"[:LONGEST_PATTERN]))


def _patterns(fields: Sequence[str]) -> list[str]:
    """Few patterns that all ``fields`` match."""
    shared = os.path.commonprefix(list(fields))  # noqa: RUF071  # no paths: its characters are meant
    if len(fields) > 1 and len(shared) >= PREFIX:
        return [f"{glob.escape(shared)}*"]
    return [glob.escape(field) for field in fields[:ENTRIES]]
