"""What an exchange means: its findings, one for each cause and direction, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from packaging.version import Version

from tunematrix.base.versions import parse_version
from tunematrix.verdict.findings import SEVERITIES, Cause, Evidence, Finding
from tunematrix.verdict.ledger import Issue, Ledger
from tunematrix.verdict.narrowing import Narrower
from tunematrix.verdict.pairs import ARTIFACTS, DIFFERS, FAILS, SAME, UPGRADE, Pair, Side
from tunematrix.verdict.releases import Rung
from tunematrix.verdict.steps import Step, sentence

STACK: Final = ("transformers", "peft", "trl", "tokenizers", "accelerate", "datasets")
LISTED: Final = 3
MAX_REASON: Final = 120


def find(
    pairs: Sequence[Pair], sides: Sequence[Side], ledger: Ledger, rungs: Sequence[Rung] = ()
) -> tuple[Finding, ...]:
    """The findings of an exchange, worst first: one for each cause and direction.

    What a resumed run does after its first step is the matter of the releases' training, and only told.
    """
    by_name = {side.name: side for side in sides}
    groups: dict[tuple[Any, ...], list[Pair]] = {}
    for pair in pairs:
        if pair.outcome in (FAILS, DIFFERS) and not (pair.goes_on and pair.outcome == FAILS):
            key = (pair.direction(by_name), pair.goes_on, pair.cause)
            groups.setdefault(key, []).append(pair)
    narrower = Narrower.of(pairs, by_name, rungs)
    context = _Context(sides=by_name, all_pairs=pairs, ledger=ledger, narrower=narrower)
    found = [
        _Group(context=context, direction=direction, members=members, package=_package(members[0])).finding()
        for (direction, *_), members in groups.items()
    ]
    return tuple(_numbered(sorted(found, key=_order)))


def _numbered(found: Sequence[Finding]) -> Iterator[Finding]:
    """One id each: a second cause of the same kind is number 2."""
    seen: Counter[str] = Counter()
    for finding in found:
        seen[finding.id] += 1
        number = seen[finding.id]
        yield replace(finding, id=f"{finding.id}-{number}") if number > 1 else finding


def _order(finding: Finding) -> tuple[int, bool, str]:
    """Worst first, and of one severity what nobody expects."""
    return SEVERITIES.index(finding.severity), bool(finding.accepted), finding.id


def of_upgrade(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings that an upgrade must know: how it reads what the old stack wrote.

    What is known of a release is news to the team that moves to it. What only models with experts meet, and
    the dtype that is loaded, a team may accept.
    """
    return tuple(
        replace(finding, severity=_acceptable(finding), accepted="")
        for finding in found
        if f"-{UPGRADE}" in finding.id and finding.loud
    )


def _acceptable(finding: Finding) -> str:
    if all(name.startswith("exchange.experts") for name in finding.fields):
        return "training"
    reasons = [str(item.after) for item in finding.evidence]
    return "default" if all(reason.startswith("dtype ") for reason in reasons) else finding.severity


@dataclass(frozen=True, kw_only=True, slots=True)
class _Context:
    sides: Mapping[str, Side]
    all_pairs: Sequence[Pair]
    ledger: Ledger
    narrower: Narrower

    def issue(self, members: Sequence[Pair]) -> Issue | None:
        """The ledger's entry that explains all of ``members``; None if one of them is new."""
        issues = [
            self.ledger.exchange_issue(
                f"exchange:{pair.artifact}",
                pair.reason,
                self.sides[pair.reader].packages,
                self.sides[pair.writer].packages,
            )
            for pair in members
        ]
        return issues[0] if all(issues) else None

    def version(self, package: str, cell: str) -> Version:
        return parse_version(self.sides[cell].packages.get(package)) or Version("0")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """The pairs of one cause and direction, and the package that decides."""

    context: _Context
    direction: str
    members: Sequence[Pair]
    package: str

    @property
    def sides(self) -> tuple[str, str]:
        """Which of writer and reader is the older stack, and which the newer one."""
        return ("writer", "reader") if self.direction == UPGRADE else ("reader", "writer")

    def finding(self) -> Finding:
        first, issue = self.members[0], self.context.issue(self.members)
        steps = self.context.narrower.steps(self.members, self.direction, self.package, issue)
        examples = dict.fromkeys((pair.writer, pair.reader, pair.reason) for pair in self.members)
        severity = "info" if first.goes_on else "broken" if first.outcome == FAILS else "wrong"
        return Finding(
            id=f"exchange-{first.artifact}-{first.outcome}-{self.direction}",
            severity=severity,
            title=self.title(issue.cause if issue else first.reason[:MAX_REASON], sentence(steps)),
            fields=tuple(sorted({f"exchange.{pair.artifact}" for pair in self.members})),
            cause=self.cause(steps),
            evidence=tuple(
                Evidence(name=f"{writer} read by {reader}", before=SAME, after=reason)
                for writer, reader, reason in list(examples)[:LISTED]
            ),
            action=issue.fix if issue else self.action(),
            accepted=f"known: {issue.id}" if issue else "",
            steps=steps,
        )

    def title(self, why: str, when: str) -> str:
        first = self.members[0]
        artifacts = list(dict.fromkeys(pair.artifact for pair in self.members))
        more = f" and {len(artifacts) - LISTED} more" if len(artifacts) > LISTED else ""
        names = f"{', '.join(artifacts[:LISTED])}{more}"
        readers = "itself" if self.direction == SAME else self.range("reader")
        seen = f"{self.package} {self.range('writer')} by {readers}"
        verb = "not read" if first.outcome == FAILS else "read otherwise, without an error"
        if first.goes_on:
            return f"{names} restored, then trained otherwise ({'; '.join(filter(None, (when, seen)))})"
        return f"{names} {verb} ({'; '.join(filter(None, (when, seen)))}): {why}"

    def range(self, side: str) -> str:
        """``4.57.6 to 5.23.0``: the releases on one side."""
        versions = sorted(set(self.versions(side)))
        return f"{versions[0]}" + (f" to {versions[-1]}" if versions[1:] else "")

    def versions(self, side: str) -> Iterator[Version]:
        return (self.context.version(self.package, getattr(pair, side)) for pair in self.members)

    def good(self, side: str) -> Iterator[Version]:
        """The releases on ``side`` that come out ``same``, with these artifacts and other side."""
        other = "reader" if side == "writer" else "writer"
        artifacts = {pair.artifact for pair in self.members}
        others = {getattr(pair, other) for pair in self.members}
        for pair in self.context.all_pairs:
            if pair.outcome == SAME and pair.artifact in artifacts and getattr(pair, other) in others:
                yield self.context.version(self.package, getattr(pair, side))

    def cause(self, steps: Sequence[Step]) -> Cause | None:
        """The release of the newer side with which it began, where only one can be it."""
        began = [step for step in steps if step.side == self.sides[1] and step.begins]
        if len(began) != 1 or not began[0].release:
            return None
        return Cause(package=began[0].package, release=began[0].release, date=began[0].date, measured=True)

    def action(self) -> str:
        """What to do: a stack of these cells that reads it, or one that writes it so that it is read."""
        if self.members[0].goes_on:
            return "finish a run with the stack that began it, or accept that the rest trains otherwise"
        older, newer = self.sides
        old_fine = [version for version in self.good(older) if version > max(self.versions(older))]
        new_fine = [version for version in self.good(newer) if version < min(self.versions(newer))]
        if self.direction == UPGRADE:
            ways = [f"read it with {self.package} {max(new_fine)}, and save it again"] if new_fine else []
            ways += [f"write it with {self.package} {min(old_fine)} or later"] if old_fine else []
        else:
            ways = [f"read it with {self.package} {min(old_fine)} or later"] if old_fine else []
            ways += [f"write it with {self.package} {max(new_fine)} or earlier"] if new_fine else []
        return ", or ".join(ways) or "keep the stack that wrote it for what is already saved"


def _package(pair: Pair) -> str:
    """The package in whose code it fails, else the one that decides how the artifact is written."""
    top = str(pair.error.get("where", "")).split("/")[0]
    return top if top in STACK else ARTIFACTS.get(pair.artifact, ("", "transformers"))[1]
