"""How well predictions hold: random pairs of recorded cells, the older first, against their comparison."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.base.versions import parse_version
from tunematrix.locks import rungs as chain
from tunematrix.locks import table
from tunematrix.verdict import scoring
from tunematrix.verdict.answer import Knowledge
from tunematrix.verdict.prediction import Prediction
from tunematrix.verdict.releases import Rung
from tunematrix.verdict.scoring import Score

PAIRS: Final = 20
SEED: Final = 0  # the same pairs each time, so that two scores can be compared


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """The prediction from cell ``before`` to cell ``after``, and how it held."""

    before: str
    after: str
    prediction: Prediction
    score: Score


def scored_pairs(store: Store, rungs: Sequence[Rung]) -> list[Scored]:
    """Twenty random upgrades among the recorded cells; raises ``UsageError`` if there is none."""
    knowledge = dataclasses.replace(Knowledge.load(table.constraints_folder()), rungs=tuple(rungs))
    records = {cell.name: store.load(cell.name) for cell in table.load().cells}
    there = [(name, record) for name, record in records.items() if record]
    pairs = [pair for pair in itertools.permutations(there, 2) if _is_upgrade(pair[0][1], pair[1][1])]
    if not pairs:
        raise UsageError(
            f"no two cells have records of {store.model}; run nox -s e2e -- --model {store.model}"
        )
    # Ruff warns of weak keys; this picks examples.
    chosen = random.Random(SEED).sample(pairs, min(PAIRS, len(pairs)))  # noqa: S311
    found = []
    for (before, old), (after, new) in sorted(chosen, key=pairs.index):
        prediction, score = scoring.score_pair(old, new, knowledge)
        found.append(Scored(before=before, after=after, prediction=prediction, score=score))
    return found


def _is_upgrade(before: Record, after: Record) -> bool:
    """Whether of the ladder's packages one is newer and none older, and both records are whole."""
    moves = []
    for name in chain.PACKAGES:
        old, new = parse_version(before.packages.get(name)), parse_version(after.packages.get(name))
        if old is None or new is None or new < old:
            return False
        moves.append(new > old)
    return any(moves) and not (before.error or after.error)
