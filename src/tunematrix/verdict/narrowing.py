"""Which releases make the difference in an exchange: from its pairs, from the ladder, and from the ledger.

Along a line of pairs one stack stays and the other gets newer. Where the outcome changes between neighbours,
a release between those two did it, on the side that moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from packaging.utils import canonicalize_name
from packaging.version import Version

from tunematrix.base.versions import parse_version
from tunematrix.verdict.ledger import Issue, full
from tunematrix.verdict.pairs import DOWNGRADE, FAILS, ORDER, SAME, UNAVAILABLE, UPGRADE, Pair, Side
from tunematrix.verdict.releases import STACK, Rung, between, responsible
from tunematrix.verdict.steps import READER, WRITER, Step

CHECKPOINTS: Final = ("sft", "full-checkpoint")
MODELS: Final = ("full", "merged", "merged-bf16", "sharded")
TOKENIZERS: Final = ("tokenizer", "tokenizer-extra", "tokenizer-generic", "autopeft")
BOTH: Final = (WRITER, READER)
FORMAT: Final = "tiny-llama.format"
FAILED: Final = "failed: "  # of a stage
MISMATCH: Final = "Mismatch"  # what a stage raises when it read, and read otherwise
Line = tuple[str, str, str, str]  # who moves along it, who stays, model, artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Matter:
    """What the ladder measures of the same matter: a field, or a stage, that moves with a release.

    It is the matter of these ``artifacts`` if the reason of a pair contains ``reason``, for these sides, and
    in this ``direction``, both if empty.
    """

    artifacts: Sequence[str]
    reason: str
    field: str
    sides: Sequence[str] = (READER,)
    direction: str = ""


MATTERS: Final = (
    # Stages write and read with one release, so that they tell of both sides.
    Matter(artifacts=CHECKPOINTS, reason="", field="finetune-resume", sides=BOTH),
    Matter(artifacts=("dpo",), reason="", field="align-resume", sides=BOTH),
    Matter(artifacts=MODELS, reason="logits", field=f"{FORMAT}.rope_parameters.logits_equal"),
    Matter(artifacts=MODELS, reason="dtype", field="tiny-llama.load.dtype.default", sides=BOTH),
    Matter(artifacts=TOKENIZERS, reason="chat", field=f"{FORMAT}.chat_template_file.chat"),
    Matter(artifacts=TOKENIZERS, reason="'keys'", field=f"{FORMAT}.special_tokens_list.tokenizer_error"),
    Matter(artifacts=TOKENIZERS, reason="TokenizersBackend", field=f"{FORMAT}.written_by_5.tokenizer_error"),
    # transformers 4 wrote extra tokens under two names, and 5 writes a list under one.
    Matter(
        artifacts=TOKENIZERS,
        reason="extra special",
        field=f"{FORMAT}.special_tokens_both.extra_tokens",
        direction=UPGRADE,
    ),
    Matter(
        artifacts=TOKENIZERS,
        reason="extra special",
        field=f"{FORMAT}.special_tokens_list.extra_tokens",
        direction=DOWNGRADE,
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Edge:
    """Two stacks, neighbours in age, of which one has the finding and the other has not."""

    side: str
    begins: bool
    old: Side
    new: Side

    @property
    def moved(self) -> Mapping[str, tuple[str, str]]:
        """The packages of which the newer stack has a newer release."""
        return {
            name: (before, after)
            for name, after in self.new.packages.items()
            if (before := self.old.packages.get(name)) and _is_newer(after, before)
        }

    def overlaps(self, other: Edge) -> bool:
        """Whether a release may lie in both, on the same side."""
        if (self.side, self.begins) != (other.side, other.begins):
            return False
        return max(self.old.age, other.old.age) < min(self.new.age, other.new.age)


def _is_newer(version: str, other: str) -> bool:
    left, right = parse_version(version), parse_version(other)
    return left is not None and right is not None and left > right


@dataclass(frozen=True, kw_only=True, slots=True)
class Narrower:
    """All pairs of an exchange as lines, the oldest stack first, and what is known of releases."""

    sides: Mapping[str, Side]
    lines: Mapping[Line, Sequence[Pair]]
    rungs: Sequence[Rung]

    @classmethod
    def of(cls, pairs: Iterable[Pair], sides: Mapping[str, Side], rungs: Sequence[Rung]) -> Narrower:
        lines: dict[Line, list[Pair]] = {}
        for pair in pairs:
            if pair.outcome != UNAVAILABLE:
                for side in BOTH:
                    lines.setdefault(_line(side, pair), []).append(pair)
        ordered = {
            line: sorted(members, key=lambda pair: sides[getattr(pair, line[0])].age)
            for line, members in lines.items()
        }
        return cls(sides=sides, lines=ordered, rungs=rungs)

    def steps(
        self, members: Sequence[Pair], direction: str, package: str, issue: Issue | None
    ) -> tuple[Step, ...]:
        """The steps of the pairs ``members``, which have one cause; writers first.

        ``package`` is where the cause is looked for if neither the ladder nor ``issue`` says.
        """
        edges = self._edges(members) or list(self._presumed(members, direction))
        found = (self._step(edge, members, direction, package, issue) for edge in edges)
        return tuple(step for step in found if step)

    def _edges(self, members: Sequence[Pair]) -> list[Edge]:
        """Where the outcome changes, without those in which a narrower one lies."""
        cause = members[0].cause
        found: dict[tuple[str, bool, str, str], Edge] = {}
        goes_on: list[tuple[str, tuple[Version, ...], tuple[Version, ...]]] = []
        for line in dict.fromkeys(_line(side, pair) for side in BOTH for pair in members):
            # What fails for another reason says nothing about this one.
            known = [pair for pair in self.lines[line] if pair.outcome == SAME or pair.cause == cause]
            for first, second in pairwise(known):
                begins = first.outcome == SAME
                old, new = (self.sides[getattr(pair, line[0])] for pair in (first, second))
                if begins != (second.outcome == SAME) and old.age < new.age:
                    edge = Edge(side=line[0], begins=begins, old=old, new=new)
                    found.setdefault((edge.side, begins, old.name, new.name), edge)
                elif not begins and second.outcome != SAME:
                    goes_on.append((line[0], old.age, new.age))
        narrowest: list[Edge] = []
        for edge in sorted(found.values(), key=lambda edge: self._distance(edge.old, edge.new)):
            # Of another artifact, or with another stack, it was there before, or stays.
            is_partial = any(
                side == edge.side and old <= edge.old.age and edge.new.age <= new
                for side, old, new in goes_on
            )
            if not is_partial and not any(edge.overlaps(other) for other in narrowest):
                narrowest.append(edge)
        return sorted(narrowest, key=lambda edge: (BOTH.index(edge.side), edge.old.age))

    def _presumed(self, members: Sequence[Pair], direction: str) -> Iterator[Edge]:
        """Where no pair shows a change: between the closest two stacks, if the older reads its own files."""
        across = [pair for pair in members if pair.direction(self.sides) != SAME]
        if not across:
            return
        closest = min(
            across, key=lambda pair: self._distance(self.sides[pair.writer], self.sides[pair.reader])
        )
        side, names = READER, (closest.writer, closest.reader)
        if direction != UPGRADE:
            side, names = WRITER, names[::-1]
        old, new = (self.sides[name] for name in names)
        own = self.lines.get((READER, old.name, closest.model, closest.artifact), ())
        if all(pair.outcome == SAME for pair in own if pair.reader == old.name):
            yield Edge(side=side, begins=True, old=old, new=new)

    def _distance(self, one: Side, other: Side) -> int:
        """How many stacks lie between two."""
        low, high = sorted((one.age, other.age))
        return sum(low < side.age < high for side in self.sides.values())

    def _step(
        self, edge: Edge, members: Sequence[Pair], direction: str, package: str, issue: Issue | None
    ) -> Step | None:
        """The step at an edge: by experiment before by hand, else with all releases as candidates."""
        rung = self._rung(edge, members, direction)
        name, bound = (rung.package, rung.after) if rung else _by_hand(edge, issue)
        moved = [each for each in dict.fromkeys((name, package, *ORDER)) if each in edge.moved]
        if not moved:
            return None
        after, upto = edge.moved[moved[0]]
        releases = self._between(moved[0], after, upto)
        # A condition such as >=4.52 holds from the first release on that there is.
        release = next((each for each in releases if not _is_newer(bound, each)), full(bound)) if name else ""
        releases = (release,) if release else releases
        is_known = release or (members[0].outcome == FAILS and moved[0] == package)
        days = {(each.package, each.after): each.day for each in self.rungs}
        return Step(
            side=edge.side,
            begins=edge.begins,
            package=moved[0],
            after=after,
            upto=upto,
            releases=releases,
            beside=() if is_known else tuple(moved[1:]),
            date=days.get((moved[0], releases[0]), "") if len(releases) == 1 else "",
        )

    def _rung(self, edge: Edge, members: Sequence[Pair], direction: str) -> Rung | None:
        """The one release between the two stacks that moved what the ladder measures of the matter."""
        moved = {name: pair for name, pair in edge.moved.items() if name in STACK}
        crossed = between(moved, self.rungs)
        found: set[Rung] = set()
        for name in _fields(members, edge.side, direction):
            steps = [pair for rung, _ in crossed if (pair := rung.stages.get(name) or rung.changes.get(name))]
            if not steps or steps[0][0] == steps[-1][1]:
                continue
            start, end = steps[0][0], steps[-1][1]
            if any(name in rung.stages for rung, _ in crossed):
                error = members[0].error.get("type") or MISMATCH
                expected = ("passed", f"{FAILED}{error}")
                if (start, end) != (expected if edge.begins else expected[::-1]):
                    continue  # the stage failed for another reason
            found |= {rung for rung in [responsible(name, (start, end), crossed)] if rung}
        return found.pop() if len(found) == 1 else None

    def _between(self, package: str, after: str, upto: str) -> tuple[str, ...]:
        """The releases later than ``after`` up to ``upto``, the oldest first; none if some are not known."""
        rungs = [rung for rung in self.rungs if rung.lies_between({package: (after, upto)}) > 0]
        rungs = [rung for rung in rungs if rung.package == package]
        names = sorted({rung.after for rung in rungs}, key=lambda text: parse_version(text) or 0)
        starts = any(not _is_newer(rung.before, after) for rung in rungs)
        return tuple(names) if starts and names[-1] == upto else ()


def _line(side: str, pair: Pair) -> Line:
    stays = pair.reader if side == WRITER else pair.writer
    return side, stays, pair.model, pair.artifact


def _fields(members: Sequence[Pair], side: str, direction: str) -> Iterator[str]:
    """What the ladder measures of the matter of all ``members``, for one side."""
    artifacts = {pair.artifact for pair in members}
    for matter in MATTERS:
        fits = artifacts <= set(matter.artifacts) and matter.reason in members[0].reason
        if fits and side in matter.sides and matter.direction in ("", direction):
            yield matter.field


def _by_hand(edge: Edge, issue: Issue | None) -> tuple[str, str]:
    """The package and the release that a condition of ``issue`` names, if it lies at the edge."""
    conditions = (issue.when if edge.side == READER else issue.written_by) if issue else ()
    for condition in conditions:
        name = canonicalize_name(condition.name)
        if name not in edge.moved:
            continue
        after, upto = edge.moved[name]
        for part in condition.specifier:
            if part.operator == (">=" if edge.begins else "<"):
                version = parse_version(part.version)
                if version and _is_newer(part.version, after) and not _is_newer(part.version, upto):
                    return name, part.version
    return "", ""
