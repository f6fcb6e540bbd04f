"""The files of an upgrade: each of the two stacks reads what the other saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.questions import exchange
from tunematrix.questions.candidate import Baseline, Candidate, Progress, candidate_store
from tunematrix.run.exchange import Member
from tunematrix.run.options import Options
from tunematrix.shared.repos import TINY_MODELS
from tunematrix.verdict import exchange as verdict
from tunematrix.verdict import pairs
from tunematrix.verdict.answer import Judgement, Knowledge, judge
from tunematrix.verdict.findings import Finding

STACK: Final = {"torch", "transformers", "peft", "trl", "datasets"}  # what an exchange needs


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """The findings of the way there, and the outcomes of the way back."""

    findings: tuple[Finding, ...] = ()
    rollback: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by outcome, the artifacts
    absent: Mapping[str, str] = field(default_factory=dict)  # why a stack takes no part

    @property
    def untested(self) -> tuple[str, ...]:
        """Why nobody can tell whether saved files are read, a line each."""
        return tuple(f"files: {cell}: {reason}" for cell, reason in self.absent.items())


def judge_with(
    before: Record | None,
    after: Record | None,
    knowledge: Knowledge,
    exchanged: Files | None,
    not_installed: Sequence[str] = (),
) -> Judgement:
    """Compare two records, with what their exchange of files found, if there was one.

    ``not_installed`` are packages that move and that neither of the two had, a line each.
    """
    found = exchanged or Files()
    return judge(before, after, knowledge, found.findings, (*not_installed, *found.untested))


def both(base: Baseline, candidate: Candidate, store: Store) -> list[Member]:
    """The two stacks of an upgrade as members of an exchange."""
    places = (
        (base.cell, base.matrix, base.store),
        (candidate.cell, candidate.matrix, candidate_store(store)),
    )
    return [
        Member(
            cell=cell,
            matrix=matrix,
            results=own.root,
            venv=own.environment(cell.name),
            models=TINY_MODELS[
                -1:
            ],  # the Llama: its files have all that a GPT-2's have, and a rotary embedding
        )
        for cell, matrix, own in places
    ]


def swap(
    base: Baseline, candidate: Candidate, store: Store, knowledge: Knowledge, progress: Progress
) -> Files:
    """Exchange between baseline and candidate, both ways, with a tiny model; nothing known is run again."""
    members = both(base, candidate, store)
    old, new = base.cell.name, candidate.cell.name
    ways = [(old, new), (new, old)]
    outcome = exchange.run(members, store, len(members), Options().time_limit, progress, between=ways)
    found = verdict.find(outcome.pairs, outcome.sides, knowledge.ledger, knowledge.rungs)
    stopped = {
        pair.reader: pair.detail
        for pair in outcome.pairs
        if pair.artifact == exchange.ALL and pair.reader not in outcome.absent
    }
    return Files(
        findings=verdict.of_upgrade(found),
        rollback=pairs.rollback(outcome.pairs, old, new),
        absent={**outcome.absent, **stopped},
    )
