"""Bisect a cell: find the first version of a package, or the first date, that changes its result."""

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

from packaging.version import Version

from tunematrix.base.errors import UnresolvableError, UntestableError, UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.base.versions import parse_version
from tunematrix.locks import lock, releases
from tunematrix.questions import candidate, search
from tunematrix.questions.candidate import Baseline, Candidate, Progress
from tunematrix.questions.search import Search, SearchResult
from tunematrix.run import keys, workload
from tunematrix.run.options import Options
from tunematrix.verdict import diff, ledger
from tunematrix.verdict.outcomes import same_metric

BY_DATE: Final = "as of"  # takes the place of the package in a search over dates
SWAPPED: Final = {search.GOOD: search.BAD, search.BAD: search.GOOD}


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What to search: a package or ``BY_DATE``, the first and last version or date, and what to compare.

    Without a stage or a metric, all stages that pass at the good end count. ``find_fix`` searches from a bad
    first end for the first good version.
    """

    package: str
    first: str
    last: str
    stage: str | None = None
    metric: str | None = None
    find_fix: bool = False

    def __post_init__(self) -> None:
        if self.stage and self.metric:
            raise UsageError("pass --stage or --metric, not both")

    def swap_for_fix(self, verdict: str) -> str:
        """``verdict`` with good and bad swapped under ``find_fix``: a search always runs from good to bad."""
        return SWAPPED.get(verdict, verdict) if self.find_fix else verdict


@dataclass(kw_only=True, slots=True)
class Trials:
    """The candidates of one baseline and their records, by version or date; each runs at most once."""

    base: Baseline
    question: Question
    options: Options
    store: Store
    candidates: dict[str, Candidate] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    preparation: threading.Thread | None = None

    def candidate(self, point: str) -> Candidate:
        if point not in self.candidates:
            self.candidates[point] = (
                _candidate_on(self.base, point, self.store)
                if self.question.package == BY_DATE
                else candidate.resolve(self.base, [f"{self.question.package}=={point}"], self.store)
            )
        return self.candidates[point]

    def record(self, point: str) -> Record | None:
        """The record of a point; None if the resolver refuses it."""
        if point not in self.records:
            self.wait()
            try:
                resolved = self.candidate(point)
            except UnresolvableError:
                return None
            self.records[point] = candidate.run(resolved, self.options, self.store)
        return self.records[point]

    def prepare(self, points: list[str]) -> None:
        """Lock and install the points that may be next while the current one runs."""
        self.wait()

        def install_all() -> None:
            for point in points:
                with contextlib.suppress(UntestableError, OSError):
                    candidate.install(self.candidate(point), self.store)

        self.preparation = threading.Thread(target=install_all, daemon=True)
        self.preparation.start()

    def wait(self) -> None:
        if self.preparation is not None:
            self.preparation.join()
            self.preparation = None

    def test(self, point: str) -> str:
        """The verdict of a point, by comparing its record with that of the good end."""
        good_end = self.question.last if self.question.find_fix else self.question.first
        record, reference = self.record(point), self.record(good_end)
        if record is None or reference is None:
            return search.UNTESTABLE
        same = matches(self.question, record, reference)
        if same is None:
            return search.UNTESTABLE
        return self.question.swap_for_fix(search.GOOD if same else search.BAD)


def matches(question: Question, record: Record, reference: Record) -> bool | None:
    """Whether a record equals the good end in what the question compares; None if that did not run."""
    if question.metric:
        return same_metric(reference, record, question.metric)
    stages = (
        [question.stage]
        if question.stage
        else [name for name in reference.stage_names if reference.stage(name).outcome == "passed"]
    )
    results = [record.stage(name) for name in stages]
    if any(result.failed for result in results):
        return False
    return True if all(result.outcome == "passed" for result in results) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The result of a bisection: its date, the other packages that changed, and the known issues.

    ``culprits`` are the packages that cause the change, where dates are searched.
    """

    question: Question
    result: SearchResult
    date: datetime.date | None = None
    changed_with_it: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    known_issues: tuple[str, ...] = ()
    culprits: tuple[str, ...] = ()


def find_first(
    base: Baseline, question: Question, options: Options, store: Store, progress: Progress
) -> Answer:
    """Run the search, or continue an interrupted one; raises ``UsageError`` if the ends rule it out."""
    points = _dates(question) if question.package == BY_DATE else _versions(question)
    trials = Trials(base=base, question=question, options=options, store=store)
    saved = _SavedVerdicts(base, question, options, store)
    state = Search(points=points, verdicts=search.restore(saved.verdicts, points))
    progress(
        f"{question.package}: {len(points)} candidates from {points[0]} to {points[-1]}; "
        f"at most {state.remaining + 2} runs"
    )

    def on_verdict(state: Search, point: str, verdict: str) -> None:
        saved.add(point, verdict)
        progress(f"{point}: {question.swap_for_fix(verdict)}; at most {state.remaining} runs left")

    try:
        result = search.run(state, trials.test, prepare=trials.prepare, on_verdict=on_verdict)
    except search.UnexpectedEndError as error:
        message = re.sub(r"\b(good|bad)\b", lambda verdict: question.swap_for_fix(verdict[0]), str(error))
        raise UsageError(f"nothing to bisect: {message}") from None
    finally:
        trials.wait()
    return _build_answer(trials, result)


def _build_answer(trials: Trials, result: SearchResult) -> Answer:
    question, first = trials.question, result.suspects[-1]
    moved: dict[str, tuple[str | None, str | None]] = {}
    with contextlib.suppress(UntestableError):
        moved = diff.moved_packages(
            *(trials.candidate(point).packages for point in (result.last_good, first))
        )
        moved.pop(question.package, None)
    bad = trials.record(result.last_good if question.find_fix else first)
    issues = ledger.load(trials.base.matrix.folder).known_issues(bad) if bad else {}
    date = (
        datetime.date.fromisoformat(first)
        if question.package == BY_DATE
        else releases.day_of(question.package, first)
    )
    return Answer(
        question=question,
        result=result,
        date=date,
        changed_with_it=moved,
        known_issues=tuple(dict.fromkeys(issue.id for issue in issues.values())),
        culprits=_culprits(trials, result, moved) if question.package == BY_DATE else (),
    )


def _culprits(
    trials: Trials, result: SearchResult, moved: Mapping[str, tuple[str | None, str | None]]
) -> tuple[str, ...]:
    """The packages in ``moved`` that make the last good date bad when they alone are updated on it."""
    if len(moved) <= 1:
        return tuple(moved)
    last_good = trials.candidate(result.last_good)
    reference = trials.record(result.last_good)
    culprits = []
    for name, (_, version) in moved.items():
        if version is None or reference is None:
            continue
        packages = {**last_good.packages, name: version}
        updated = candidate.exactly(
            trials.base, f"{result.last_good}-{name}-{version}", packages, trials.store
        )
        record = candidate.run(updated, trials.options, trials.store)
        if matches(trials.question, record, reference) is False:
            culprits.append(name)
    return tuple(culprits)


def _version(text: str, package: str) -> Version:
    if (version := parse_version(text)) is None:
        raise UsageError(f"Invalid version: {text[:80]!r}; name two releases of {package}")
    return version


def _versions(question: Question) -> list[str]:
    """The final releases from ``first`` to ``last``, both included; descending if ``first`` is newer."""
    ends = [_version(text, question.package) for text in (question.first, question.last)]
    by_version = {release.version: release for release in releases.releases(question.package)}
    for end in ends:
        if end not in by_version:
            newest = ", ".join(str(version) for version in sorted(by_version)[-5:])
            raise UsageError(f"{question.package} has no release {end}; the newest are {newest}")
    low, high = sorted(ends)
    ordered = [
        str(version)
        for version, release in sorted(by_version.items())
        if low <= version <= high and (version in ends or release.final)
    ]
    if len(ordered) < 2:
        raise UsageError("the two ends are the same release; name two different ones")
    return ordered if ends[0] == low else ordered[::-1]


def _dates(question: Question) -> list[str]:
    try:
        first, last = (datetime.date.fromisoformat(end) for end in (question.first, question.last))
    except ValueError as error:
        raise UsageError(f"--by-date needs two dates such as 2024-09-05: {error}") from None
    if first >= last:
        raise UsageError("--by-date needs the earlier date first")
    return [str(first + datetime.timedelta(days=days)) for days in range((last - first).days + 1)]


def _candidate_on(base: Baseline, date: str, store: Store) -> Candidate:
    """The pins of the baseline, resolved as of a date."""
    if base.cell.imported_from:
        raise UsageError(
            f"{base.cell.name} is an imported lock without pins; --by-date needs a cell with pins"
        )
    cell = dataclasses.replace(base.cell, as_of=datetime.date.fromisoformat(date))
    today = datetime.datetime.now(datetime.UTC).date()
    return candidate.exactly(base, date, lock.versions(lock.resolve(cell, today)), store)


class _SavedVerdicts:
    """The verdicts of a search, in a file named by a hash of its inputs, to continue an interrupted one."""

    def __init__(self, base: Baseline, question: Question, options: Options, store: Store) -> None:
        inputs: dict[str, Any] = {
            **dataclasses.asdict(question),
            "packages": dict(base.packages),
            "model": options.model,
            "sources": [keys.hash_tree(folder) for folder in keys.source_folders()],
            "workload": workload.digest_of(options),
        }
        key = lock.digest(json.dumps(inputs, sort_keys=True))
        self.path: Path = candidate.candidate_store(store).root / f"bisect-{key}.state"
        self.verdicts: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            self.verdicts = json.loads(self.path.read_text())

    def add(self, point: str, verdict: str) -> None:
        self.verdicts[point] = verdict
        write_atomic(self.path, json.dumps(self.verdicts, indent=1) + "\n")
