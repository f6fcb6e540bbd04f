"""The answer that a run is expected to give, as far as the ladder knows."""

from __future__ import annotations

from tunematrix.verdict.answer import (
    BEHAVIOUR_CHANGES,
    BREAKS,
    CANNOT_TELL,
    NOTHING_TO_TEST,
    SAFE,
    SAFE_WITH_EDITS,
)
from tunematrix.verdict.prediction import Prediction


def answer(prediction: Prediction) -> str:
    """The worst that is known; SAFE only of releases that all are on the ladder, with the same torch."""
    effects = {each.effect for each in prediction.found}
    if effects & {"broken", "wrong"}:
        return BREAKS
    if effects & {"training", "default"}:
        return BEHAVIOUR_CHANGES
    if not (prediction.moved or prediction.others):
        return NOTHING_TO_TEST
    if prediction.beyond or "torch" in prediction.others or not prediction.rungs:
        return CANNOT_TELL
    return SAFE_WITH_EDITS if "edit" in effects else SAFE
