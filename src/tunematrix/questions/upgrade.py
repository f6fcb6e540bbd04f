"""Can I bump? A baseline, the smallest change that satisfies a request, and one answer."""

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
from tunematrix.locks.lock import TOOLS
from tunematrix.questions import candidate as candidates
from tunematrix.questions.candidate import Baseline, Candidate, Progress
from tunematrix.run import artifacts
from tunematrix.run.options import Options
from tunematrix.verdict import causes, diff, ledger, tolerances
from tunematrix.verdict.diff import BAD, DECLARED, Change, Diff

SAFE: Final = "SAFE"
EDITS: Final = "SAFE WITH EDITS"
CHANGES: Final = "BEHAVIOUR CHANGES"
BREAKS: Final = "BREAKS"
UNKNOWN: Final = "CANNOT TELL"
BEST_FIRST: Final = (SAFE, EDITS, CHANGES, UNKNOWN, BREAKS)
EXCHANGE: Final = "exchange:"
SILENT: Final = ("Mismatch",)  # nothing crashed: what must be equal is not


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one request, and what it rests on. Without a candidate the resolver refused it."""

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
        return [diff.edit(change) for change in self.diff.of("call_site")]


def evaluate(
    base: Baseline, requests: Sequence[str], options: Options, store: Store, note: Progress
) -> Answer:
    """Run baseline and candidate, load the one's checkpoints in the other, compare, and answer."""
    asked = tuple(requests)
    try:
        candidate = candidates.resolve(base, requests, store)
    except UnresolvableError as error:
        return Answer(answer=UNKNOWN, baseline=base.cell.name, requests=asked, reason=str(error))
    note(f"baseline {base.cell.name}: running, or taken as recorded")
    before = candidates.run_baseline(base, dataclasses.replace(options, keep_artifacts=True))
    note(f"candidate {candidate.cell.name}: running, or taken as recorded")
    kept = artifacts.folder_of(base.store, base.cell.name)
    after = candidates.run(
        candidate, dataclasses.replace(options, exchange=kept if kept.is_dir() else None), store
    )
    diff.check_comparable(before, after)
    found = causes.annotate(diff.compare(before, after), causes.load(base.matrix.folder))
    issues = ledger.load(base.matrix.folder)
    return Answer(
        answer=judge(before, after, found),
        baseline=base.cell.name,
        requests=asked,
        candidate=candidate,
        before=before,
        after=after,
        diff=found,
        breaks=tuple(broken(after, found)),
        silent=tuple(silent(after, found)),
        advice=tuple(advise(base, candidate, after, found, issues)),
        reason=after.error.line if after.error else "",
    )


def judge(before: Record, after: Record, found: Diff) -> str:
    """One of the five answers, the worst that holds."""
    if broken(after, found):
        return BREAKS
    if after.outcome in UNTESTABLE or before.outcome in UNTESTABLE:
        return UNKNOWN
    if any(one == "passed" and verdict == "unknown" for one, _, verdict in found.stages.values()):
        return UNKNOWN
    if silent(after, found) or any(changes_behaviour(change) for change in found.changes):
        return CHANGES
    return EDITS if found.of("call_site") else SAFE


def broken(after: Record, found: Diff) -> list[str]:
    """The stages and probes that worked and no longer do, and what of the baseline's work is lost.

    Where a stage broke, the fingerprint broke with it; that needs no telling.
    """
    lost = [name for name in _lost(after, found) if _error(after, name).type not in SILENT]
    stages = [name for name in lost if not name.startswith("probe:fingerprint")]
    return stages or lost


def silent(after: Record, found: Diff) -> list[str]:
    """What still runs and is wrong, such as a resume that goes on from another adapter."""
    return [name for name in _lost(after, found) if _error(after, name).type in SILENT]


def _lost(after: Record, found: Diff) -> list[str]:
    regressed = [name for name, (_, _, verdict) in found.stages.items() if verdict == "regressed"]
    exchanged = [
        probe.name for probe in after.probes if probe.name.startswith(EXCHANGE) and probe.outcome in BAD
    ]
    return [*regressed, *exchanged]


def _error(record: Record, name: str) -> Failure:
    parts = {part.name: part.error for part in (*record.stages, *record.probes)}
    return parts.get(name.removeprefix("probe:")) or Failure(type="", message="")


def changes_behaviour(change: Change) -> bool:
    """Whether a change is one of behaviour: a number that ought not to move, or another default."""
    if change.kind == "fingerprint":
        gone = diff.ABSENT in (change.before, change.after)
        raised = change.name.endswith(".error")
        return (
            tolerances.measures_behaviour(change.name)
            and not (gone and not raised and not change.name.endswith("loss"))
            and not (raised and change.after == diff.ABSENT)
            and (gone or not tolerances.corrected(change.name, change.before, change.after))
        )
    values = change.before, change.after
    return change.kind == "default" and diff.ABSENT not in values and DECLARED not in change.name


def advise(
    base: Baseline, candidate: Candidate, after: Record, found: Diff, issues: ledger.Ledger
) -> Iterator[str]:
    """What to do: fixes that are known, what to hold, and what to bump in the same change."""
    explained = issues.known(after)
    for issue in dict.fromkeys(explained.values()):
        yield f"{issue.cause}; fix: {issue.fix}"
    told = {_error(after, part).line for part in explained}
    unexplained = [name for name in broken(after, found) if _error(after, name).line not in told]
    if unexplained:
        held = ", ".join(f"{name}=={base.packages[name]}" for name in _requested(candidate, base))
        yield f"hold {held}: {', '.join(unexplained)} broke, and the ledger knows no fix"
    for name, (_, version) in candidate.moved.items():
        users = candidate.required_by.get(name, ())
        if name in base.direct and users and name not in TOOLS:
            yield f"bump {name} to {version} in the same change: {', '.join(users)} asks for it"


def _requested(candidate: Candidate, base: Baseline) -> list[str]:
    return [name for name in candidate.moved if name in base.packages and name not in candidate.required_by]


def outdated(base: Baseline) -> dict[str, str]:
    """The newest final release of each package its owner asks for, where the baseline has an older one."""
    found = {}
    for name in base.direct:
        if name in TOOLS or name == "torch":
            continue
        final = [one for one in releases.releases(name) if one.final]
        if final and final[-1].version > Version(base.packages[name]):
            found[name] = str(final[-1].version)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Each bump alone, all together, and an order in which every step stays green; what is left cannot."""

    alone: dict[str, Answer]
    together: Answer
    order: list[tuple[str, Answer]]
    left: list[str]


def plan(base: Baseline, options: Options, store: Store, note: Progress) -> Plan:
    """Answer for every outdated package, and find the order of bumps that keeps each step green."""
    wanted = {name: f"{name}=={version}" for name, version in outdated(base).items()}
    alone = {name: evaluate(base, [request], options, store, note) for name, request in wanted.items()}
    together = evaluate(base, list(wanted.values()), options, store, note)
    order: list[tuple[str, Answer]] = []
    left = sorted(wanted, key=lambda name: BEST_FIRST.index(alone[name].answer))
    while left:
        for name in left:
            done = [wanted[earlier] for earlier, _ in order]
            answer = evaluate(base, [*done, wanted[name]], options, store, note) if done else alone[name]
            if answer.answer not in (BREAKS, UNKNOWN):
                order.append((name, answer))
                left.remove(name)
                break
        else:
            break
    return Plan(alone=alone, together=together, order=order, left=left)
