"""How well a prediction held: its findings against those of a real run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunematrix.base.record import Record
from tunematrix.verdict.answer import Knowledge, judge
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.prediction import Expected, Prediction, predict


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The findings above ``info`` of a prediction and of a run.

    ``held`` were predicted and found, ``missed`` predicted and not found; ``foreseen`` were found and
    predicted, ``surprises`` found and not predicted. One finding may stand for several of the other side.
    """

    held: tuple[Expected, ...]
    missed: tuple[Expected, ...]
    foreseen: tuple[Finding, ...]
    surprises: tuple[Finding, ...]

    @property
    def predicted(self) -> int:
        return len(self.held) + len(self.missed)

    @property
    def found(self) -> int:
        return len(self.foreseen) + len(self.surprises)


def score(prediction: Prediction, found: Iterable[Finding]) -> Score:
    """A finding is the predicted one if a field, or a stage, is in both."""
    loud = [finding for finding in found if finding.loud]
    real = {name for finding in loud for name in finding.fields}
    expected = {name for each in prediction.found for name in each.fields}
    held = [bool(real & {*each.fields}) for each in prediction.found]
    foreseen = [bool(expected & {*finding.fields}) for finding in loud]
    return Score(
        held=tuple(each for each, did in zip(prediction.found, held, strict=True) if did),
        missed=tuple(each for each, did in zip(prediction.found, held, strict=True) if not did),
        foreseen=tuple(finding for finding, was in zip(loud, foreseen, strict=True) if was),
        surprises=tuple(finding for finding, was in zip(loud, foreseen, strict=True) if not was),
    )


def score_pair(before: Record, after: Record, knowledge: Knowledge) -> tuple[Prediction, Score]:
    """The prediction from the packages of two records, and how it held in their comparison."""
    prediction = predict(before.packages, after.packages, knowledge.rungs)
    return prediction, score(prediction, judge(before, after, knowledge).findings)


def rates(scores: Sequence[Score]) -> tuple[float, float]:
    """Precision and recall over all findings; 1 where there is nothing to tell."""
    predicted, found = sum(each.predicted for each in scores), sum(each.found for each in scores)
    held = sum(len(each.held) for each in scores)
    foreseen = sum(len(each.foreseen) for each in scores)
    return (held / predicted if predicted else 1.0), (foreseen / found if found else 1.0)
