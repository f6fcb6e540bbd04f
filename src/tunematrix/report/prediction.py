"""The answers of ``explain`` and ``check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tunematrix.questions.score import Scored
from tunematrix.report import screen
from tunematrix.report.escape import code_block, plain_text, workflow_command
from tunematrix.verdict.prediction import Expected, Prediction
from tunematrix.verdict.releases import Moved
from tunematrix.verdict.scoring import rates
from tunematrix.verdict.standing import Problem

SHOWN: Final = 2  # findings of one release and severity
OTHERS: Final = 3  # packages that are not on the ladder, by name
LABELS: Final = {"default": "defaults", "edit": "edits"}


def explain_lines(
    names: tuple[str, str], prediction: Prediction, *, everything: bool = False
) -> Iterator[str]:
    """One screen: what moved, what is known to change, worst first, and where knowledge ends."""
    moves = ", ".join(_moves(prediction.moved))
    number = "1 release" if prediction.rungs == 1 else f"{prediction.rungs} releases"
    yield f"{names[0]} -> {names[1]}: {number} of the ladder between them"
    yield from screen.wrapped("moves", moves or "no package of the ladder")
    label = ""
    shown: Counter[tuple[str, str, str]] = Counter()
    for each in prediction.found:
        group = each.severity, each.rung.package, each.rung.after
        shown[group] += 1
        if not everything and (each.severity == "edit" or shown[group] > SHOWN):
            continue
        own = LABELS.get(each.severity, each.severity)
        yield from screen.wrapped(
            "" if own == label else own, _headline(each), lines=None if everything else 2
        )
        if each.action and everything:
            yield from screen.wrapped("", each.action)
        label = own
    hidden = sum(
        number - SHOWN for (severity, *_), number in shown.items() if severity != "edit" and number > SHOWN
    )
    if hidden and not everything:
        yield screen.row("", f"and {hidden} more of these releases, which mostly follow")
    if edits := [] if everything else [each for each in prediction.found if each.severity == "edit"]:
        releases = dict.fromkeys(f"{each.rung.package} {each.rung.after}" for each in edits)
        yield from screen.wrapped("edits", f"names and options gone or refused in {', '.join(releases)}")
    unknown = [f"releases of {name} {versions}" for name, versions in sorted(prediction.beyond.items())]
    if prediction.others:
        moved = _moves(dict(sorted(prediction.others.items(), key=lambda item: item[0] != "torch")))
        more = f" and {len(moved) - OTHERS} more" if len(moved) > OTHERS else ""
        unknown.append(f"{', '.join(moved[:OTHERS])}{more}")
    if not prediction.found and prediction.rungs:
        yield screen.row("", "of these releases nothing above info is known to change")
    for line in unknown:
        yield from screen.wrapped("not known", f"{line}: not on the ladder", lines=2)
    if edits or (hidden and not everything):
        yield screen.row("details", "--all shows every finding; upgrade runs it")


def moves_lines(
    names: tuple[str, str],
    prediction: Prediction,
    left_out: Mapping[str, Sequence[str]],
    *,
    everything: bool = False,
) -> Iterator[str]:
    """As ``explain_lines``, then every package that moves, and what each file lists without a version."""
    yield from explain_lines(names, prediction, everything=everything)
    pairs = {**prediction.moved, **prediction.others}
    groups = {
        "changed": [f"{name} {old} -> {new}" for name, (old, new) in pairs.items() if old and new],
        "new": [f"{name} {new}" for name, (old, new) in pairs.items() if not old],
        "gone": [f"{name} {old}" for name, (old, new) in pairs.items() if not new],
    }
    most = None if everything else 2
    for label, entries in groups.items():
        if entries:
            yield from screen.wrapped(label, f"{len(entries)}: {', '.join(entries)}", lines=most)
    for name, listed in left_out.items():
        if listed:
            text = f"in {name}, without one version: {len(listed)}: {', '.join(listed)}"
            yield from screen.wrapped("not compared", text, lines=most)


def moves_markdown(lines: Sequence[str]) -> str:
    """The lines of ``moves_lines`` in Markdown: the first is the heading."""
    return "\n".join([f"# {plain_text(lines[0])}", "", *code_block(lines[1:])]) + "\n"


def _moves(moved: Moved) -> list[str]:
    return [f"{name} {old or '(none)'} -> {new or '(none)'}" for name, (old, new) in moved.items()]


def _headline(each: Expected) -> str:
    release = f"{each.rung.package} {each.rung.after} ({each.rung.day})"
    return f"{'undone, ' if each.undone else ''}{release}: {each.title}"


def explain_json(prediction: Prediction) -> dict[str, Any]:
    """The prediction with the keys of ``Prediction``."""
    return {
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
