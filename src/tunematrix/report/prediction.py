"""The answers of ``explain`` as data, and those of ``check`` and of the score of predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tunematrix.questions.score import Scored
from tunematrix.report import screen
from tunematrix.report.escape import workflow_command
from tunematrix.verdict.expectation import answer
from tunematrix.verdict.prediction import Prediction
from tunematrix.verdict.scoring import rates
from tunematrix.verdict.standing import Problem


def explain_json(prediction: Prediction) -> dict[str, Any]:
    """The prediction with the keys of ``Prediction``, and its answer."""
    return {
        "answer": answer(prediction),
        "moved": {name: list(pair) for name, pair in sorted(prediction.moved.items())},
        "rungs": prediction.rungs,
        "beyond": dict(prediction.beyond),
        "others": {name: list(pair) for name, pair in prediction.others.items()},
        "found": [
            {
                "day": each.rung.day,
                "package": each.rung.package,
                "release": each.rung.after,
                "severity": each.severity,
                "title": each.title,
                "action": each.action,
                "undone": each.undone,
            }
            for each in prediction.found
        ],
    }


def score_lines(pairs: Sequence[Scored]) -> Iterator[str]:
    """A line for each pair: findings predicted and held, found and foreseen; then precision and recall.

    Pairs that reach beyond the ladder do not count.
    """
    yield f"{'from -> to':<52} {'predicted':>9} {'held':>5} {'found':>6} {'foreseen':>9}"
    for pair in pairs:
        score, name = pair.score, f"{pair.before} -> {pair.after}"
        beyond = "  beyond the ladder" if pair.prediction.beyond else ""
        counts = f"{score.predicted:>9} {len(score.held):>5} {score.found:>6} {len(score.foreseen):>9}"
        yield f"{name:<52} {counts}{beyond}"
    counted = [pair.score for pair in pairs if not pair.prediction.beyond]
    precision, recall = rates(counted)
    shares = f"{precision:.0%} of the predictions held, {recall:.0%} of the findings were foreseen"
    yield f"{len(counted)} pairs count: {shares}"


def score_json(pairs: Sequence[Scored]) -> dict[str, Any]:
    """As ``score_lines``."""
    precision, recall = rates([pair.score for pair in pairs if not pair.prediction.beyond])
    counts = [
        {
            "before": pair.before,
            "after": pair.after,
            "predicted": pair.score.predicted,
            "held": len(pair.score.held),
            "found": pair.score.found,
            "foreseen": len(pair.score.foreseen),
            "beyond": bool(pair.prediction.beyond),
        }
        for pair in pairs
    ]
    return {"pairs": counts, "precision": precision, "recall": recall}


def check_lines(name: str, found: Sequence[Problem]) -> Iterator[str]:
    """A line for how many there are, and for each what it hits, why, and the nearest pins that mend it."""
    number = "1 known problem" if len(found) == 1 else f"{len(found) or 'no'} known problems"
    yield f"{name}: {number}"
    for problem in found:
        yield from screen.wrapped(problem.severity, f"{', '.join(problem.stages)} [{problem.id}]")
        yield from screen.wrapped("", problem.cause)
        yield from screen.wrapped("", f"mend it: {problem.fix}")
        if problem.link:
            yield screen.row("", problem.link)


def github_lines(file: str, found: Sequence[Problem]) -> Iterator[str]:
    """Annotations of a workflow run on GitHub: one for each problem, at the file if there is one."""
    for problem in found:
        text = f"{', '.join(problem.stages)}: {problem.cause}; mend it: {problem.fix}"
        place = {"file": file} if file else {}
        yield workflow_command("error", text, **place, title=f"{problem.severity} {problem.id}")
