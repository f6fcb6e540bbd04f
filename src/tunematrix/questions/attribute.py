"""Which of several moved packages brought a change: found by moving them one after the other, in few runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.record import Record
from tunematrix.locks import rungs, uv
from tunematrix.locks.lock import TEST_TOOLS
from tunematrix.questions import bisect, candidate
from tunematrix.questions.bisect import Question
from tunematrix.questions.candidate import Baseline, Candidate
from tunematrix.questions.upgrade import Answer, Upgrader
from tunematrix.verdict import diff
from tunematrix.verdict.findings import Cause, Finding
from tunematrix.verdict.sentences import UNEXPLAINED

REST: Final = "the other packages"
# What others require comes first, so that most of the states in between can be installed.
ORDER: Final = (
    "safetensors",
    "huggingface-hub",
    "tokenizers",
    "accelerate",
    "datasets",
    "peft",
    "transformers",
    "trl",
)
assert set(ORDER) == set(rungs.PACKAGES)


@dataclass(kw_only=True, slots=True)
class Swaps:
    """The states between a baseline and its candidate; ``groups`` are the packages that move together.

    State 0 is the baseline, state n has the first n groups of the candidate; each runs at most once.
    """

    upgrader: Upgrader
    candidate: Candidate
    groups: Sequence[tuple[str, ...]]
    records: dict[frozenset[int], Record] = field(default_factory=dict)

    def packages(self, moved: frozenset[int]) -> dict[str, str]:
        """The baseline's versions, with the candidate's of the groups ``moved``."""
        names = {name for group in moved for name in self.groups[group]}
        return _mixed(self.upgrader.base.packages, self.candidate.packages, names)

    def record(self, moved: frozenset[int]) -> Record:
        if moved not in self.records:
            named = ", ".join(name for group in sorted(moved) for name in self.groups[group][:4])
            self.upgrader.progress(f"attribute: {self.upgrader.base.cell.name} with {named}")
            mixed = candidate.exactly(
                self.upgrader.base, f"with {named}", self.packages(moved), self.upgrader.store
            )
            self.records[moved] = candidate.run(mixed, self.upgrader.options, self.upgrader.store)
        return self.records[moved]

    def moves(self, names: Sequence[str], moved: frozenset[int]) -> bool:
        """Whether any of the fields or stages ``names`` differs from the baseline."""
        compared = diff.compare(self.record(frozenset()), self.record(moved))
        changed = {change.name for change in compared.changes}
        changed |= {name for name, pair in compared.stages.items() if pair[2] in ("regressed", "fixed")}
        return bool(changed & {*names})

    def first(self, names: Sequence[str]) -> int:
        """The group whose move, after those before it, moves ``names``: a binary search."""
        low, high = 0, len(self.groups)  # nothing has moved at low, something has at high
        while high - low > 1:
            middle = (low + high) // 2
            if self.moves(names, frozenset(range(middle))):
                high = middle
            else:
                low = middle
        return high - 1

    def alone(self, group: int, names: Sequence[str]) -> bool:
        """Whether ``group`` moves ``names`` also without the groups before it."""
        return group == 0 or (
            _fit(self.upgrader.base, self.packages(frozenset([group])))
            and self.moves(names, frozenset([group]))
        )


def attribute(upgrader: Upgrader, answer: Answer) -> Answer:
    """``answer`` with a cause for its unexplained findings, from further runs.

    First the moved packages are swapped to find which brings a finding, then the releases between are
    bisected. Raises ``UsageError`` if the candidate did not run.
    """
    if not (answer.candidate and answer.before and answer.after):
        raise UsageError("--attribute: the candidate did not run, so there is nothing to attribute")
    swaps = Swaps(
        upgrader=upgrader, candidate=answer.candidate, groups=groups(upgrader.base, answer.candidate)
    )
    swaps.records[frozenset()] = answer.before
    swaps.records[frozenset(range(len(swaps.groups)))] = answer.after
    found = tuple(
        _attributed(finding, swaps) if finding.action.startswith(UNEXPLAINED) else finding
        for finding in answer.judgement.findings
    )
    judgement = dataclasses.replace(answer.judgement, findings=found)
    return dataclasses.replace(answer, judgement=judgement)


def groups(base: Baseline, found: Candidate) -> list[tuple[str, ...]]:
    """The moved packages, in the order in which they can move: those that the bounds tie are one group."""
    moved = [name for name in found.moved if name not in TEST_TOOLS]
    waiting = [tuple(name for name in moved if name not in ORDER)]
    waiting += [(name,) for name in ORDER if name in moved]
    made: list[tuple[str, ...]] = []
    pending: tuple[str, ...] = ()
    for group in filter(None, waiting):
        pending += group
        names = {name for each in made for name in each} | {*pending}
        if _fit(base, _mixed(base.packages, found.packages, names)):
            made.append(pending)
            pending = ()
    return [*made, pending] if pending else made


def _mixed(old: Mapping[str, str], new: Mapping[str, str], names: set[str]) -> dict[str, str]:
    mixed = {name: version for name, version in old.items() if name not in names}
    return dict(sorted({**mixed, **{name: new[name] for name in names if name in new}}.items()))


def _fit(base: Baseline, packages: Mapping[str, str]) -> bool:
    """Whether the bounds of these packages allow each other."""
    pins = [f"{name}=={version}" for name, version in packages.items() if name != "torch"]
    try:
        uv.compile_over(packages, pins, ["--python-version", base.cell.python, "--no-annotate"], [])
    except UnresolvableError:
        return False
    return True


def _attributed(finding: Finding, swaps: Swaps) -> Finding:
    group = swaps.first(finding.fields)
    names = [name for name in swaps.groups[group] if name in ORDER] or [REST]
    if not swaps.alone(group, finding.fields):
        earlier = [name for each in swaps.groups[:group] for name in each if name in ORDER]
        together = f"{' and '.join(names)} together with {', '.join(earlier) or REST}"
        return dataclasses.replace(finding, action=f"comes with {together}, and not with either alone")
    if len(names) > 1 or names == [REST]:
        return dataclasses.replace(finding, action=f"comes with {' and '.join(names)}")
    return _with_release(finding, swaps, group, names[0])


def _with_release(finding: Finding, swaps: Swaps, group: int, package: str) -> Finding:
    """Bisect the releases of ``package`` on the state in which it alone has not moved yet."""
    upgrader = swaps.upgrader
    old, new = swaps.candidate.moved[package]
    action = f"comes with {package} {old} -> {new}"
    before = swaps.record(frozenset())
    stage = next((name for name in finding.fields if name in before.stage_names), None)
    metric = next((name for name in finding.fields if name in before.fingerprint), None)
    if old is None or new is None or not (stage or metric):
        return dataclasses.replace(finding, action=action)
    below = candidate.exactly(
        upgrader.base, f"before {package}", swaps.packages(frozenset(range(group))), upgrader.store
    )
    base = dataclasses.replace(
        upgrader.base,
        cell=below.cell,
        matrix=below.matrix,
        packages=below.packages,
        store=candidate.candidate_store(upgrader.store),
    )
    question = Question(package=package, first=old, last=new, stage=stage, metric=None if stage else metric)
    try:
        found = bisect.find_first(base, question, upgrader.options, upgrader.store, upgrader.progress)
    except UsageError as error:  # the field moves on the way and comes back, so the ends are the same
        return dataclasses.replace(finding, action=f"{action}; {error}")
    release = found.result.suspects[-1]
    cause = Cause(package=package, release=release, date=str(found.date or ""), measured=True)
    return dataclasses.replace(
        finding, cause=cause, action=f"accept it, or stay on {package}<={found.result.last_good}"
    )
