"""Findings: what a comparison of two records means, one for each cause.

A comparison has many changes and few causes. Each difference becomes an ``Atom`` with a severity and a group,
and each group becomes one ``Finding``. A difference belongs to one group only: that of the known change
with the most specific pattern, else that of what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from packaging.version import Version

from tunematrix.base.record import Record
from tunematrix.shared.settings import is_setting
from tunematrix.shared.stages import DEFAULT_MODEL
from tunematrix.verdict import atoms as atomize
from tunematrix.verdict import sentences
from tunematrix.verdict.atoms import Atom
from tunematrix.verdict.causes import KnownChange, crossed
from tunematrix.verdict.diff import ABSENT, Diff
from tunematrix.verdict.effects import is_option
from tunematrix.verdict.ledger import Issue, Ledger
from tunematrix.verdict.steps import Step
from tunematrix.verdict.topics import FOLLOWS, FOLLOWS_FAMILY, SCRIPT, SHORT_NAMES, STAGES_OF, Topic

# Worst first.
SEVERITIES: Final = ("broken", "wrong", "training", "default", "edit", "info")
EVIDENCE: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """The release that did it. ``date`` is ISO 8601, or empty if nobody wrote it down.

    ``measured`` where the ladder names it, and nobody wrote down what it is.
    """

    package: str
    release: str
    date: str = ""
    link: str = ""
    measured: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One number or value that people know, on both sides."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One cause in a sentence, its evidence, and what to do. ``accepted`` is the team's reason, if any.

    ``places`` are lines of the team's code, as ``file:line``; ``steps`` are for files that stacks exchange.
    """

    id: str
    severity: str
    title: str
    fields: tuple[str, ...]
    cause: Cause | None = None
    evidence: tuple[Evidence, ...] = ()
    action: str = ""
    accepted: str = ""
    places: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def loud(self) -> bool:
        """Whether people must read it: everything above ``info``."""
        return self.severity != "info"


def find(
    before: Record, after: Record, diff: Diff, known: Sequence[KnownChange], ledger: Ledger
) -> tuple[Finding, ...]:
    """The findings of a comparison, worst first."""
    knowledge = _Knowledge(
        diff=diff,
        known=crossed(diff, known),
        ledger=ledger,
        failures=ledger.known_issues(after),
        packages=dict(after.packages),
    )
    explained = [_explain(atom, knowledge) for atom in atomize.atoms(before, after, diff)]
    groups: dict[tuple[str, str], list[Atom]] = {}
    for atom in _follow(explained):
        groups.setdefault(_group(atom), []).append(atom)
    _merge_defaults(groups)
    options = _options(before)
    found = [_finding(members, diff, options) for members in groups.values()]
    return tuple(sorted(_unique(found), key=_order))


def _options(before: Record) -> str:
    """The options of a command that goes on from ``before``."""
    model = before.model.get("name", DEFAULT_MODEL)
    return f"--cell {before.cell}" + (f" --model {model}" if model != DEFAULT_MODEL else "")


def _order(finding: Finding) -> tuple[int, bool, int, str]:
    """Worst first; of the same severity, the calls of the pipeline and then what has the most effects."""
    first = finding.id in ("edit-calls", "info-works-now")
    return SEVERITIES.index(finding.severity), not first, -len(finding.fields), finding.id


def _merge_defaults(groups: dict[tuple[str, str], list[Atom]]) -> None:
    """A default and the training that changes by it are one finding, if the cause speaks of both."""
    for severity, name in list(groups):
        training = groups.get(("training", name))
        if severity == "default" and training and not sentences.is_broad(groups[severity, name][0]):
            training += groups.pop((severity, name))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Knowledge:
    """What may explain an atom of one comparison."""

    diff: Diff
    known: Sequence[KnownChange]
    ledger: Ledger
    failures: dict[str, Issue]  # by stage or probe
    packages: dict[str, str]

    def issue(self, atom: Atom) -> Issue | None:
        if atom.kind == "stage":
            return self.failures.get(atom.name)
        if atom.kind != "fingerprint":
            return None
        issues = (issue for issue in self.ledger.issues if issue.matches_field(atom.name))
        return next((issue for issue in issues if issue.applies_to(self.packages)), None)

    def change(self, atom: Atom) -> KnownChange | None:
        """The known change whose pattern is the most specific; of several the latest."""
        if atom.severity == "info" or (atom.severity == "edit" and not is_setting(atom.name)):
            return None
        matches = [change for change in self.known if change.explains(atom.name, self.diff)]
        names = self.diff.names_of(atom.name)

        def rank(change: KnownChange) -> tuple[int, Version]:
            return max(map(change.specificity, names)), change.since

        return max(matches, key=rank, default=None)


def _explain(atom: Atom, knowledge: _Knowledge) -> Atom:
    issue = knowledge.issue(atom)
    change = None if issue else knowledge.change(atom)
    return replace(atom, issue=issue, known=change, severity=_severity(atom, change))


def _severity(atom: Atom, known: KnownChange | None) -> str:
    """What the known change says; what is broken, wrong or an edit stays that."""
    if known and known.severity and atom.severity in ("training", "default"):
        return known.severity
    return atom.severity


def _follow(found: Sequence[Atom]) -> Iterator[Atom]:
    """Let what has no cause of its own follow the first effect in its run, or in the run that it continues.

    Other tokens give another loss, and another loss gives other text: these are not causes of their own.
    A measure that fails as a stage does has the cause of the stage.
    """
    stages = {
        atom.name: atom for atom in found if atom.kind == "stage" and atom.severity in ("broken", "wrong")
    }
    leaders: dict[tuple[str, str], Atom] = {}
    for atom in sorted(found, key=lambda atom: (atom.topic.rank if atom.topic else 0, not atom.explained)):
        if atom.topic and atom.severity == "training":
            leaders.setdefault(atom.topic.run, atom)
    for atom in found:
        if stage := _failed_stage(atom, stages):
            yield replace(atom, known=None, issue=stage.issue, group=stage.group, headline=None, kind="stage")
        elif atom.topic and atom.severity == "training" and not atom.explained:
            leader = _leader(atom.topic, leaders)
            yield replace(atom, known=leader.known, issue=leader.issue, headline=leader.topic)
        else:
            yield atom


def _failed_stage(atom: Atom, stages: Mapping[str, Atom]) -> Atom | None:
    """The stage that fails for the same reason as a measure: with the same error, or also silently."""
    if atom.topic is None or atom.severity not in ("broken", "wrong"):
        return None
    if atom.severity == "broken" and "import" in stages:
        return stages["import"]
    for name in STAGES_OF.get(atom.topic.family, ()):
        stage = stages.get(name)
        if stage and stage.severity == atom.severity:
            if atom.severity == "wrong" and atom.topic.family.endswith("resume"):
                return stage
            if stage.error and stage.error.type == atom.after:
                return stage
    return None


def _leader(topic: Topic, leaders: dict[tuple[str, str], Atom]) -> Atom:
    """The first effect that ``topic`` follows: in its run if the tokens differ, else in an earlier one."""
    own = leaders[topic.run]
    while (
        (earlier := FOLLOWS.get(topic.run) or FOLLOWS_FAMILY.get(topic.family) or _resumed(topic))
        and own.topic
        and own.topic.quantity != "tokens"
    ):
        if earlier not in leaders:
            break
        own = leaders[earlier]
        assert own.topic is not None
        topic = own.topic
    return own


def _resumed(topic: Topic) -> tuple[str, str] | None:
    """The stage of a team's script that a stage resumes."""
    family = topic.family.removesuffix("-resume")
    return (family, topic.subject) if topic.subject == SCRIPT and family != topic.family else None


def _group(atom: Atom) -> tuple[str, str]:
    """What belongs into one finding with ``atom``: its severity and the finding's id."""
    if atom.issue:
        return atom.severity, atom.issue.id
    if atom.known:
        # What happened to options is said by itself; the cause alone would not name them.
        if is_option(atom.name):
            return atom.severity, _slug(atom.known.id, "options", atom.group)
        return atom.severity, atom.known.id
    if atom.headline:
        quantity = atom.headline.quantity if atom.severity == "training" else atom.group
        family = atom.headline.family
        return atom.severity, _slug(SHORT_NAMES.get(family, family), quantity)
    if atom.kind == "stage":
        return atom.severity, atom.group
    if atom.severity == "default":
        return "default", "defaults"
    return atom.severity, _slug(atom.severity, atom.group)


def _slug(*words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(filter(None, words)).lower()).strip("-")[:60]


def _finding(members: list[Atom], diff: Diff, options: str) -> Finding:
    first = members[0]
    return Finding(
        id=_group(first)[1] if first.kind != "stage" or first.issue else _slug(first.severity, first.name),
        severity=first.severity,
        title=sentences.title(members, diff),
        cause=_cause(first, diff),
        evidence=tuple(_evidence(members)),
        fields=tuple(atom.name for atom in members),
        action=sentences.action(members, diff, options),
    )


def _unique(found: list[Finding]) -> Iterator[Finding]:
    """One id each: where one cause has effects of several severities, the milder ones say theirs."""
    seen: set[str] = set()
    for finding in sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)):
        name = finding.id if finding.id not in seen else f"{finding.id}-{finding.severity}"
        seen.add(name)
        yield replace(finding, id=name)


def _cause(atom: Atom, diff: Diff) -> Cause | None:
    if atom.severity == "info":
        return None
    if atom.known:
        change = atom.known
        day = str(change.date) if change.date else ""
        return Cause(package=change.package, release=str(change.since), date=day, link=change.link)
    if atom.issue:
        package, release = atom.issue.began(diff.packages)
        return Cause(package=package, release=release, link=atom.issue.link) if package else None
    return None


def _evidence(members: list[Atom]) -> Iterator[Evidence]:
    """The values that people know best: of the chosen model, one of each quantity, short ones first."""
    seen: set[str] = set()
    for atom in sorted(members, key=lambda atom: atom.weight):
        quantity = atom.topic.quantity if atom.topic else atom.name
        if quantity not in seen and len(seen) < EVIDENCE:
            seen.add(quantity)
            yield Evidence(name=atom.name, before=_value(atom, atom.before), after=_value(atom, atom.after))


def _value(atom: Atom, value: Any) -> Any:
    """A value, or the outcome of a stage with its error; of a silent one with the difference it found."""
    if atom.error is None or value in ("passed", ABSENT):
        return value
    difference = atom.error.message.partition(": ")[2] if atom.severity == "wrong" else ""
    return difference or f"{value}: {atom.error.one_line}"
