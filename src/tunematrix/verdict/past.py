"""What the history says of each cell: since when it is as it is, what flaked, and how long it takes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Final, TypeVar

from tunematrix.base.record import BROKEN
from tunematrix.base.runs import Noted, Part, Run, Step
from tunematrix.verdict.findings import SEVERITIES

WHOLE: Final = "the run"  # the name of what is no stage and no probe
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A failure or a finding that is there; ``since`` when, and in how many ``runs`` (or steps) in a row.

    Of a failure, ``name`` is the stage or probe, and ``title`` the type of its error.
    """

    name: str
    severity: str
    title: str
    since: str
    runs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Flake:
    """A part that came out in two ways with nothing changed, or that passed after another attempt."""

    name: str
    outcomes: dict[str, int]  # of runs with the same key; empty for one that passed after another attempt
    last: str  # when the last run started in which it failed, or was tried again
    runs: int  # that took several attempts

    @property
    def text(self) -> str:
        if self.outcomes:
            counts = ", ".join(f"{outcome} {count}" for outcome, count in self.outcomes.items())
            return f"{self.name}: {counts} times with nothing changed, last failed {day(self.last)}"
        times = "once" if self.runs == 1 else f"{self.runs} times"
        return f"{self.name}: passed on another attempt {times}, last {day(self.last)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What the history has of a cell with the same options; ``seconds`` are those of its complete runs."""

    cell: str
    options: str
    runs: int
    interrupted: int
    first: str
    last: str
    outcome: str
    since: str
    in_a_row: int
    compared_with: str
    failures: tuple[Standing, ...]
    findings: tuple[Standing, ...]
    flakes: tuple[Flake, ...]
    seconds: tuple[float, ...]

    @property
    def title(self) -> str:
        return titled(self.cell, self.options)

    @property
    def standing(self) -> tuple[Standing, ...]:
        """Its failures and the findings of its step: the newest first, of one day the worst."""
        return tuple(sorted((*self.failures, *self.findings), key=lambda one: one.since, reverse=True))

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """A finding in a row of steps to one cell; ``until`` is the first without it, empty if it is there."""

    cell: str
    options: str
    compared_with: str
    severity: str
    title: str
    since: str
    until: str
    runs: int


def day(started: str) -> str:
    return started[:10] or "an unknown day"


def titled(cell: str, options: str) -> str:
    return f"{cell} ({options})" if options else cell


def pasts(runs: Sequence[Run], steps: Sequence[Step], order: Sequence[str]) -> list[Past]:
    """The past of each cell with ``runs``: in ``order``, then those that are not in it by name.

    Runs of a cell with other options did other work, so that they have a past of their own.
    """
    return [_past(*_of_kind(kind, runs, steps)) for kind in _kinds(runs, order)]


def _of_kind(
    kind: tuple[str, str], runs: Iterable[Run], steps: Iterable[Step]
) -> tuple[list[Run], list[Step]]:
    return [run for run in runs if _kind(run) == kind], [step for step in steps if _kind(step.run) == kind]


def _kind(run: Run) -> tuple[str, str]:
    return run.cell, run.options


def _kinds(runs: Iterable[Run], order: Sequence[str]) -> list[tuple[str, str]]:
    """The cells and options of ``runs``: the cells in ``order``, then by name."""
    places = {name: place for place, name in enumerate(order)}
    found = sorted(set(map(_kind, runs)))
    return sorted(found, key=lambda kind: places.get(kind[0], len(places)))


def _past(runs: Sequence[Run], steps: Sequence[Step]) -> Past:
    complete = [run for run in runs if not run.interruption]
    latest = (complete or runs)[-1]
    same = _in_a_row(complete or runs, lambda run: run.outcome == latest.outcome)
    steps = [step for step in steps if step.before.cell == steps[-1].before.cell]
    return Past(
        cell=latest.cell,
        options=latest.options,
        runs=len(runs),
        interrupted=len(runs) - len(complete),
        first=runs[0].started,
        last=runs[-1].started,
        outcome=latest.outcome,
        since=same[-1].started,
        in_a_row=len(same),
        compared_with=steps[-1].before.cell if steps else "",
        failures=tuple(_failures(complete)),
        findings=tuple(_findings(steps)),
        flakes=tuple(_flakes(complete)),
        seconds=tuple(run.seconds for run in complete),
    )


def _in_a_row(items: Sequence[T], holds: Callable[[T], bool]) -> list[T]:
    """The last of ``items`` for which it holds, the newest first, back to the first for which it does not."""
    return list(takewhile(holds, reversed(items)))


def _failures(complete: Sequence[Run]) -> Iterator[Standing]:
    """What fails in the last run, each since the first run in a row in which it fails with the same error."""
    for part in complete[-1].parts if complete else ():
        if part.outcome not in BROKEN:
            continue
        same = _in_a_row(complete, lambda run, part=part: _fails_alike(run, part))  # type: ignore[misc]
        title = f"{part.outcome.replace('_', ' ')}{f' with {part.error}' if part.error else ''}"
        yield Standing(name=part.name, severity="", title=title, since=same[-1].started, runs=len(same))


def _fails_alike(run: Run, part: Part) -> bool:
    return any(
        (other.name, other.outcome, other.error) == (part.name, part.outcome, part.error)
        for other in run.parts
    )


def _findings(steps: Sequence[Step]) -> Iterator[Standing]:
    """The findings of the last step, worst first, each since the first step in a row that has it."""
    for finding in sorted(steps[-1].findings, key=_by_severity) if steps else ():
        same = _in_a_row(steps, lambda step, name=finding.id: _has(step, name))  # type: ignore[misc]
        yield Standing(
            name=finding.id,
            severity=finding.severity,
            title=finding.title,
            since=same[-1].started,
            runs=len(same),
        )


def _has(step: Step, finding: str) -> bool:
    return any(found.id == finding for found in step.findings)


def _by_severity(finding: Noted) -> tuple[int, str]:
    known = finding.severity in SEVERITIES
    return SEVERITIES.index(finding.severity) if known else len(SEVERITIES), finding.id


def _flakes(complete: Sequence[Run]) -> Iterator[Flake]:
    """Parts that passed in one run and failed in another of the same key; then those that were tried again.

    A probe that a run does not list passed in it, as the same key means the same tests.
    """
    by_key: dict[str, list[Run]] = {}
    for run in complete:
        by_key.setdefault(run.key, []).append(run)
    for runs in (runs for key, runs in by_key.items() if key):
        for name in sorted({part.name for run in runs for part in run.parts if part.outcome in BROKEN}):
            outcomes = Counter(_outcome(run, name) for run in runs)
            tried = {outcome: outcomes[outcome] for outcome in ("passed", *BROKEN) if outcomes[outcome]}
            if len(tried) > 1:
                failed = [run for run in runs if _outcome(run, name) in BROKEN]
                yield Flake(name=name, outcomes=tried, last=failed[-1].started, runs=0)
    again: dict[str, list[Run]] = {}
    for run in complete:
        for name in [WHOLE] * (run.attempts > 1) + [part.name for part in run.parts if _passed_again(part)]:
            again.setdefault(name, []).append(run)
    for name, runs in sorted(again.items()):
        yield Flake(name=name, outcomes={}, last=runs[-1].started, runs=len(runs))


def _outcome(run: Run, name: str) -> str:
    return next((part.outcome for part in run.parts if part.name == name), "passed")


def _passed_again(part: Part) -> bool:
    return part.attempts > 1 and part.outcome == "passed"


def sightings(finding: str, steps: Sequence[Step], order: Sequence[str]) -> list[Sighting]:
    """Where and when a finding is or was, by cell: each unbroken row of steps that have it, in order."""
    return [
        sighting
        for kind in _kinds((step.run for step in steps), order)
        for sighting in _sightings_in([step for step in steps if _kind(step.run) == kind], finding)
    ]


def _sightings_in(steps: Sequence[Step], finding: str) -> Iterator[Sighting]:
    """Those in the steps to one cell, from the cell that it was compared with when it was last seen."""
    seen = [step for step in steps if _has(step, finding)]
    steps = [step for step in steps if step.before.cell == seen[-1].before.cell] if seen else []
    rows = [(has, list(row)) for has, row in groupby(steps, key=lambda step: _has(step, finding))]
    for number, (has, row) in enumerate(rows):
        if has:
            noted = next(each for each in row[-1].findings if each.id == finding)
            yield Sighting(
                cell=row[-1].run.cell,
                options=row[-1].run.options,
                compared_with=row[-1].before.cell,
                severity=noted.severity,
                title=noted.title,
                since=row[0].started,
                until=rows[number + 1][1][0].started if number + 1 < len(rows) else "",
                runs=len(row),
            )
