"""What a team's own scripts saved, across an upgrade: findings of the way there, outcomes of the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tunematrix.verdict import pairs
from tunematrix.verdict.findings import SEVERITIES, Evidence, Finding
from tunematrix.verdict.reads import DIFFERS, FAILS, LOADS, UNTESTED, Outcome, Verdict

CHECKPOINT: Final = "checkpoint"
SEVERE: Final = {FAILS: "broken", DIFFERS: "wrong"}
WORDS: Final = {FAILS: "not read", DIFFERS: "read otherwise, without an error,"}
AS_PAIR: Final = {
    LOADS: pairs.SAME,
    DIFFERS: pairs.DIFFERS,
    FAILS: pairs.FAILS,
    UNTESTED: pairs.UNAVAILABLE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of a kept folder, such as its adapter, and how each of the two cells reads it.

    None where a cell was not tried.
    """

    kind: str
    outcomes: Mapping[str, Outcome | None]

    def outcome(self, cell: str) -> str:
        found = self.outcomes.get(cell)
        return found.outcome if found else UNTESTED


def find(parts: Mapping[str, Part], old: str, new: str, *, resumed: bool) -> tuple[Finding, ...]:
    """What the cell ``new`` does not read as ``old``, which wrote it, does; worst first.

    A checkpoint is left out if the scripts themselves ``resumed`` it: they say more.
    """
    found = [
        Finding(
            id=f"kept-{name.replace('/', '-')}-{outcome.outcome}",
            severity=SEVERE[outcome.outcome],
            title=f"{name} that your scripts saved is {WORDS[outcome.outcome]} by the new stack",
            fields=(f"kept.{name}",),
            evidence=(Evidence(name=f"{name} of {old}", before="read", after=outcome.reason),),
            action="keep the old stack for what is already saved, or train it again",
        )
        for name, part, outcome in _unlike(parts, old, new)
        if not (resumed and part.kind == CHECKPOINT)
    ]
    return tuple(sorted(found, key=lambda each: SEVERITIES.index(each.severity)))


def find_back(parts: Mapping[str, Part], new: str, old: str) -> tuple[Finding, ...]:
    """The same for what ``new`` wrote and ``old`` reads: told, and decides nothing."""
    return tuple(
        Finding(
            id=f"kept-{name.replace('/', '-')}-rollback",
            severity="info",
            title=f"no way back for {name}: {WORDS[outcome.outcome]} by the old stack: {outcome.reason}",
            fields=(f"kept.{name}",),
            evidence=(Evidence(name=f"{name} of {new}", before="read", after=outcome.reason),),
            action="go back to what the old stack saved itself",
        )
        for name, _, outcome in _unlike(parts, new, old)
    )


def _unlike(parts: Mapping[str, Part], writer: str, reader: str) -> Iterator[tuple[str, Part, Outcome]]:
    """The parts that ``writer`` reads as it saved them, and ``reader`` does not."""
    for name, part in parts.items():
        outcome = part.outcomes.get(reader)
        if outcome and outcome.outcome in SEVERE and part.outcome(writer) == LOADS:
            yield name, part, outcome


def rollback(parts: Mapping[str, Part], new: str, old: str) -> dict[str, list[str]]:
    """By outcome of an exchange, the parts that ``new`` saved, as ``old`` reads them.

    What ``new`` itself does not read as it saved it says nothing about ``old``.
    """
    found: dict[str, list[str]] = {outcome: [] for outcome in AS_PAIR.values()}
    for name, part in parts.items():
        outcome = part.outcome(old) if part.outcome(new) == LOADS else UNTESTED
        found[AS_PAIR[outcome]].append(name)
    return found


def absent(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Why a cell read nothing, by its name."""
    return {
        cell: outcomes[""].reason
        for verdict in verdicts
        for cell, outcomes in verdict.parts.items()
        if "" in outcomes
    }
