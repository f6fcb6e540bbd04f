"""Bisecting for real: releases of a package, or days, as candidates of a cell."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from tunematrix.base.errors import UnresolvableError, UntestableError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks import lock, releases
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import candidate, search
from tunematrix.questions.candidate import Baseline, Candidate, Progress
from tunematrix.questions.search import BAD as BAD_VERDICT
from tunematrix.questions.search import GOOD, UNTESTABLE, Search, SearchResult
from tunematrix.run import keys
from tunematrix.run.options import Options
from tunematrix.shared.stages import STAGES
from tunematrix.verdict import diff, ledger, tolerances
from tunematrix.verdict.diff import BAD

DAY: Final = "as of"  # what stands for the package where days are searched


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked: a package or ``DAY``, its two ends, and what is looked at.

    Without a stage or a metric it is all stages that pass at the good end. ``find_fix`` asks for the first
    good one after a bad one.
    """

    package: str
    first: str
    last: str
    stage: str | None = None
    metric: str | None = None
    find_fix: bool = False

    def __post_init__(self) -> None:
        if self.stage and self.metric:
            raise UsageError("--stage or --metric, not both")


@dataclass(kw_only=True, slots=True)
class Trials:
    """Candidates of one baseline, run or taken as recorded, and their records by point."""

    base: Baseline
    question: Question
    options: Options
    store: Store
    made: dict[str, Candidate] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    ready: threading.Thread | None = None

    def candidate(self, point: str) -> Candidate:
        if point not in self.made:
            self.made[point] = (
                _of_day(self.base, point, self.store)
                if self.question.package == DAY
                else candidate.resolve(self.base, [f"{self.question.package}=={point}"], self.store)
            )
        return self.made[point]

    def record(self, point: str) -> Record | None:
        """The record of a point; None where it cannot be resolved or installed."""
        if point not in self.records:
            self.wait()
            try:
                made = self.candidate(point)
            except UnresolvableError:
                return None
            self.records[point] = candidate.run(made, self.options, self.store)
        return self.records[point]

    def prepare(self, points: list[str]) -> None:
        """Lock and install what may come next, beside the run of what comes now."""
        self.wait()

        def work() -> None:
            for point in points:
                with contextlib.suppress(UntestableError, OSError):
                    candidate.install(self.candidate(point), self.store)

        self.ready = threading.Thread(target=work, daemon=True)
        self.ready.start()

    def wait(self) -> None:
        if self.ready is not None:
            self.ready.join()
            self.ready = None

    def test(self, point: str) -> str:
        """The verdict of one point: beside the good end, in what the question looks at."""
        good_end = self.question.last if self.question.find_fix else self.question.first
        record, reference = self.record(point), self.record(good_end)
        if record is None or reference is None:
            return UNTESTABLE
        same = matches(self.question, record, reference)
        if same is None:
            return UNTESTABLE
        return GOOD if same is not self.question.find_fix else BAD_VERDICT


def matches(question: Question, record: Record, reference: Record) -> bool | None:
    """Whether a record is as the good end in what is asked; None where that was not tested."""
    if question.metric:
        values = [one.fingerprint.get(question.metric) for one in (reference, record)]
        return None if None in values else tolerances.close(values[0], values[1], question.metric)
    stages = (
        [question.stage]
        if question.stage
        else [name for name in STAGES if reference.stage(name).outcome == "passed"]
    )
    outcomes = [record.stage(name).outcome for name in stages]
    if any(outcome in BAD for outcome in outcomes):
        return False
    return True if all(outcome == "passed" for outcome in outcomes) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a bisection found, and what else is known of it."""

    question: Question
    result: SearchResult
    day: datetime.date | None = None
    changed_with_it: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    known_issues: tuple[str, ...] = ()
    culprits: tuple[str, ...] = ()


def find_first(
    base: Baseline, question: Question, options: Options, store: Store, progress: Progress
) -> Answer:
    """Search; an interrupted search goes on. Raises ``UsageError`` where there is nothing to find."""
    points = _days(question) if question.package == DAY else _versions(question)
    trials = Trials(base=base, question=question, options=options, store=store)
    saved = _SavedVerdicts(base, question, options, store)
    state = Search(points=points, verdicts=search.restore(saved.verdicts, points))
    progress(
        f"{question.package}: {len(points)} from {points[0]} to {points[-1]}; at most {state.left + 2} runs"
    )

    def on_verdict(state: Search, point: str, verdict: str) -> None:
        saved.keep(point, verdict)
        shown = {GOOD: BAD_VERDICT, BAD_VERDICT: GOOD} if question.find_fix else {}
        progress(f"{point}: {shown.get(verdict, verdict)}; at most {state.left} to go")

    try:
        result = search.run(state, trials.test, prepare=trials.prepare, on_verdict=on_verdict)
    except search.SameEndsError as error:
        raise UsageError(f"nothing to bisect: {_ends(question, str(error))}") from None
    finally:
        trials.wait()
    return _answer(trials, result)


def _ends(question: Question, text: str) -> str:
    if not question.find_fix:
        return text
    swap = {GOOD: BAD_VERDICT, BAD_VERDICT: GOOD}
    return re.sub(r"\b(good|bad)\b", lambda word: swap[word[0]], text)


def _answer(trials: Trials, result: SearchResult) -> Answer:
    question, first = trials.question, result.suspects[-1]
    moved: dict[str, tuple[str | None, str | None]] = {}
    with contextlib.suppress(UntestableError):
        moved = diff.moved(*(trials.candidate(point).packages for point in (result.last_good, first)))
        moved.pop(question.package, None)
    bad = trials.record(result.last_good if question.find_fix else first)
    issues = ledger.load(trials.base.matrix.folder).known(bad) if bad else {}
    day = (
        datetime.date.fromisoformat(first)
        if question.package == DAY
        else releases.day_of(question.package, first)
    )
    return Answer(
        question=question,
        result=result,
        day=day,
        changed_with_it=moved,
        known_issues=tuple(dict.fromkeys(issue.id for issue in issues.values())),
        culprits=_culprits(trials, result, moved) if question.package == DAY else (),
    )


def _culprits(
    trials: Trials, result: SearchResult, moved: Mapping[str, tuple[str | None, str | None]]
) -> tuple[str, ...]:
    """Of the packages that moved on a day, those that alone, put over the day before, make it bad."""
    if len(moved) <= 1:
        return tuple(moved)
    before = trials.candidate(result.last_good)
    reference = trials.record(result.last_good)
    guilty = []
    for name, (_, version) in moved.items():
        if version is None or reference is None:
            continue
        packages = {**before.packages, name: version}
        made = _written(trials.base, f"{result.last_good}-{name}-{version}", packages, trials.store)
        record = candidate.run(made, trials.options, trials.store)
        if matches(trials.question, record, reference) is False:
            guilty.append(name)
    return tuple(guilty)


def _versions(question: Question) -> list[str]:
    """The final releases from the first end to the last, both included, in order of version."""
    try:
        ends = [Version(question.first), Version(question.last)]
    except InvalidVersion as error:
        raise UsageError(f"{error}; name two releases of {question.package}") from None
    known = {one.version: one for one in releases.releases(question.package)}
    for end in ends:
        if end not in known:
            near = ", ".join(str(version) for version in sorted(known)[-5:])
            raise UsageError(f"{question.package} has no release {end}; the newest are {near}")
    low, high = sorted(ends)
    between = [
        str(one.version)
        for one in known.values()
        if low <= one.version <= high and (one.version in ends or one.final)
    ]
    ordered = sorted(between, key=Version)
    if len(ordered) < 2:
        raise UsageError("the two ends are the same release")
    return ordered if ends[0] == low else ordered[::-1]


def _days(question: Question) -> list[str]:
    try:
        first, last = (datetime.date.fromisoformat(end) for end in (question.first, question.last))
    except ValueError as error:
        raise UsageError(f"--by-date needs two days such as 2024-09-05: {error}") from None
    if first >= last:
        raise UsageError("--by-date needs the earlier day first")
    return [str(first + datetime.timedelta(days=day)) for day in range((last - first).days + 1)]


def _of_day(base: Baseline, day: str, store: Store) -> Candidate:
    """The baseline's row, resolved as of a day."""
    if base.cell.imported_from:
        raise UsageError(f"{base.cell.name} was brought as a file; --by-date needs a cell with pins")
    cell = dataclasses.replace(base.cell, as_of=datetime.date.fromisoformat(day))
    today = datetime.datetime.now(datetime.UTC).date()
    return _written(base, day, lock.versions(lock.resolve(cell, today)), store)


def _written(base: Baseline, name: str, packages: Mapping[str, str], store: Store) -> Candidate:
    """A candidate with exactly these packages; days with the same packages are one candidate."""
    text = "".join(f"{package}=={version}\n" for package, version in packages.items())
    short = lock.digest(text)
    cell = Cell(name=f"{base.cell.name}-{short}", why=f"{base.cell.name}, {name}")
    matrix = Matrix(folder=candidate.candidates(store).folder, cells=(cell,), python=base.cell.python)
    if not matrix.lock(cell).is_file():
        write_atomic(matrix.lock(cell), f"# {base.cell.name}, {name}.\n{text}")
    return Candidate(cell=cell, matrix=matrix, requests=(name,), packages=packages, moved={})


class _SavedVerdicts:
    """Verdicts of a search, kept as they come; a search for something else has a file of its own."""

    def __init__(self, base: Baseline, question: Question, options: Options, store: Store) -> None:
        asked: dict[str, Any] = {
            **dataclasses.asdict(question),
            "packages": dict(base.packages),
            "model": options.model,
            "sources": [keys.hash_tree(folder) for folder in keys.sources(options)],
        }
        key = lock.digest(json.dumps(asked, sort_keys=True))
        self.path: Path = candidate.candidates(store).folder / f"bisect-{key}.state"
        self.verdicts: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            self.verdicts = json.loads(self.path.read_text())

    def keep(self, point: str, verdict: str) -> None:
        self.verdicts[point] = verdict
        write_atomic(self.path, json.dumps(self.verdicts, indent=1) + "\n")
