"""Upgrades: compare a baseline with a candidate, and say in one answer whether the upgrade is safe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from packaging.version import Version

from tunematrix.base.errors import UnresolvableError
from tunematrix.base.record import UNTESTABLE, Failure, Record
from tunematrix.base.store import Store
from tunematrix.locks import releases
from tunematrix.locks.lock import TEST_TOOLS
from tunematrix.questions import candidate as candidates
from tunematrix.questions.candidate import Baseline, Candidate, Progress
from tunematrix.run import artifacts
from tunematrix.run.options import Options
from tunematrix.verdict import causes, diff, ledger, tolerances
from tunematrix.verdict.diff import DECLARED_SUFFIX, FAILED_OUTCOMES, Change, Diff

SAFE: Final = "SAFE"
SAFE_WITH_EDITS: Final = "SAFE WITH EDITS"
BEHAVIOUR_CHANGES: Final = "BEHAVIOUR CHANGES"
BREAKS: Final = "BREAKS"
CANNOT_TELL: Final = "CANNOT TELL"
BEST_FIRST: Final = (SAFE, SAFE_WITH_EDITS, BEHAVIOUR_CHANGES, CANNOT_TELL, BREAKS)
EXCHANGE_PREFIX: Final = "exchange:"  # of the probes that load the baseline's files in the candidate
SILENT_ERRORS: Final = ("Mismatch",)  # nothing raised, but two values that must be equal differ


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one request and its evidence; ``candidate`` is None if the resolver refused it."""

    answer: str
    baseline: str
    requests: tuple[str, ...]
    candidate: Candidate | None = None
    before: Record | None = None
    after: Record | None = None
    diff: Diff = field(default_factory=lambda: Diff(verdict="unknown"))
    breaks: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    reason: str = ""

    @property
    def edits(self) -> list[str]:
        return [diff.describe_edit(change) for change in self.diff.of_kind("call_site")]


def evaluate(
    base: Baseline, requests: Sequence[str], options: Options, store: Store, progress: Progress
) -> Answer:
    """Run baseline and candidate, load the baseline's checkpoints in the candidate, and compare."""
    requested = tuple(requests)
    try:
        candidate = candidates.resolve(base, requests, store)
    except UnresolvableError as error:
        return Answer(answer=CANNOT_TELL, baseline=base.cell.name, requests=requested, reason=str(error))
    progress(f"baseline {base.cell.name}: running, unless its record can be reused")
    before = candidates.run_baseline(base, dataclasses.replace(options, keep_artifacts=True))
    progress(f"candidate {candidate.cell.name}: running, unless its record can be reused")
    checkpoints = artifacts.folder_of(base.store, base.cell.name)
    after = candidates.run(
        candidate, dataclasses.replace(options, exchange=checkpoints if checkpoints.is_dir() else None), store
    )
    diff.check_comparable(before, after)
    comparison = causes.annotate(diff.compare(before, after), causes.load(base.matrix.folder))
    issues = ledger.load(base.matrix.folder)
    return Answer(
        answer=judge(before, after, comparison),
        baseline=base.cell.name,
        requests=requested,
        candidate=candidate,
        before=before,
        after=after,
        diff=comparison,
        breaks=tuple(find_breaks(after, comparison)),
        silent=tuple(find_silent_breaks(after, comparison)),
        advice=tuple(advise(base, candidate, after, comparison, issues)),
        reason=after.error.one_line if after.error else "",
    )


def judge(before: Record, after: Record, comparison: Diff) -> str:
    """The worst of the five answers that applies."""
    if find_breaks(after, comparison):
        return BREAKS
    if after.outcome in UNTESTABLE or before.outcome in UNTESTABLE:
        return CANNOT_TELL
    stages = comparison.stages.values()
    if any(outcome == "passed" and verdict == "unknown" for outcome, _, verdict in stages):
        return CANNOT_TELL
    if find_silent_breaks(after, comparison) or any(map(changes_behaviour, comparison.changes)):
        return BEHAVIOUR_CHANGES
    return SAFE_WITH_EDITS if comparison.of_kind("call_site") else SAFE


def find_breaks(after: Record, comparison: Diff) -> list[str]:
    """The stages and probes that no longer work, and the baseline's files that no longer load.

    Fingerprints that fail along with a stage are left out: they have the same cause.
    """
    lost = [name for name in _lost(after, comparison) if _error(after, name).type not in SILENT_ERRORS]
    others = [name for name in lost if not name.startswith("probe:fingerprint")]
    return others or lost


def find_silent_breaks(after: Record, comparison: Diff) -> list[str]:
    """The stages and probes that run but are wrong, such as a resume that uses the wrong adapter."""
    return [name for name in _lost(after, comparison) if _error(after, name).type in SILENT_ERRORS]


def _lost(after: Record, comparison: Diff) -> list[str]:
    regressed = [name for name, (_, _, verdict) in comparison.stages.items() if verdict == "regressed"]
    unloadable = [
        probe.name
        for probe in after.probes
        if probe.name.startswith(EXCHANGE_PREFIX) and probe.outcome in FAILED_OUTCOMES
    ]
    return [*regressed, *unloadable]


def _error(record: Record, name: str) -> Failure:
    """The error of a stage or a probe; an empty one if it has none."""
    errors = {result.name: result.error for result in (*record.stages, *record.probes)}
    return errors.get(name.removeprefix("probe:")) or Failure(type="", message="")


def changes_behaviour(change: Change) -> bool:
    """Whether a change is one of behaviour: a number that must not move, or a new default value."""
    if change.kind == "fingerprint":
        one_sided = diff.ABSENT in (change.before, change.after)
        is_error = change.name.endswith(".error")
        return (
            tolerances.measures_behaviour(change.name)
            and not (one_sided and not is_error and not change.name.endswith("loss"))
            and not (is_error and change.after == diff.ABSENT)
            and (one_sided or not tolerances.corrected(change.name, change.before, change.after))
        )
    values = change.before, change.after
    return change.kind == "default" and diff.ABSENT not in values and DECLARED_SUFFIX not in change.name


def advise(
    base: Baseline, candidate: Candidate, after: Record, comparison: Diff, issues: ledger.Ledger
) -> Iterator[str]:
    """What to do: apply known fixes, hold packages that break, and bump others in the same change."""
    known_issues = issues.known_issues(after)
    for issue in dict.fromkeys(known_issues.values()):
        yield f"{issue.cause}; fix: {issue.fix}"
    known_errors = {_error(after, name).one_line for name in known_issues}
    unexplained = [
        name for name in find_breaks(after, comparison) if _error(after, name).one_line not in known_errors
    ]
    if unexplained:
        pins = ", ".join(f"{name}=={base.packages[name]}" for name in _requested_packages(candidate, base))
        yield f"hold {pins}: the upgrade breaks {', '.join(unexplained)}, and the ledger has no fix"
    for name, (_, version) in candidate.moved.items():
        dependents = candidate.required_by.get(name, ())
        if name in base.direct and dependents and name not in TEST_TOOLS:
            yield f"bump {name} to {version} in the same change: required by {', '.join(dependents)}"


def _requested_packages(candidate: Candidate, base: Baseline) -> list[str]:
    return [name for name in candidate.moved if name in base.packages and name not in candidate.required_by]


def outdated(base: Baseline) -> dict[str, str]:
    """The newest final release of each direct package, where the baseline has an older one."""
    newest = {}
    for name in base.direct:
        if name in TEST_TOOLS or name == "torch":
            continue
        final = [release.version for release in releases.releases(name) if release.final]
        if final and final[-1] > Version(base.packages[name]):
            newest[name] = str(final[-1])
    return newest


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Each bump alone, all together, and an order in which every step works; ``blocked`` are the rest."""

    alone: dict[str, Answer]
    together: Answer
    order: list[tuple[str, Answer]]
    blocked: list[str]


def plan(base: Baseline, options: Options, store: Store, progress: Progress) -> Plan:
    """Evaluate every outdated package, and find an order of bumps in which every step works."""
    requests = {name: f"{name}=={version}" for name, version in outdated(base).items()}
    alone = {name: evaluate(base, [request], options, store, progress) for name, request in requests.items()}
    together = evaluate(base, list(requests.values()), options, store, progress)
    order: list[tuple[str, Answer]] = []
    blocked = sorted(requests, key=lambda name: BEST_FIRST.index(alone[name].answer))
    while blocked:
        done = [requests[name] for name, _ in order]
        for name in blocked:
            answer = (
                evaluate(base, [*done, requests[name]], options, store, progress) if done else alone[name]
            )
            if answer.answer not in (BREAKS, CANNOT_TELL):
                order.append((name, answer))
                blocked.remove(name)
                break
        else:
            break
    return Plan(alone=alone, together=together, order=order, blocked=blocked)
