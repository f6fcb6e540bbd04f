"""The answer of ``explain`` for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunematrix.report import screen
from tunematrix.verdict.prediction import Expected, Prediction

LABELS = {"default": "defaults", "edit": "edits"}


def explain_lines(
    names: tuple[str, str], prediction: Prediction, *, everything: bool = False
) -> Iterator[str]:
    """One screen: what moved, what is known to change, worst first, and where knowledge ends."""
    moves = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in sorted(prediction.moved.items()))
    number = "1 release" if prediction.rungs == 1 else f"{prediction.rungs} releases"
    yield f"{names[0]} -> {names[1]}: {number} of the ladder between them"
    yield from screen.wrapped("moves", moves or "no package of the ladder")
    label = ""
    loud = [each for each in prediction.found if each.severity != "edit" or everything]
    for each in loud:
        own = LABELS.get(each.severity, each.severity)
        yield from screen.wrapped(
            "" if own == label else own, _headline(each), lines=None if everything else 2
        )
        if each.action and everything:
            yield from screen.wrapped("", each.action)
        label = own
    if edits := [] if everything else [each for each in prediction.found if each.severity == "edit"]:
        releases = dict.fromkeys(f"{each.rung.package} {each.rung.after}" for each in edits)
        yield from screen.wrapped("edits", f"names and options gone or refused in {', '.join(releases)}")
    if not prediction.found:
        yield screen.row("", "nothing above info is known to change")
    for name, versions in sorted(prediction.beyond.items()):
        yield from screen.wrapped("not known", f"releases of {name} {versions}: not on the ladder")
    if edits:
        yield screen.row("details", "--all shows every finding; upgrade runs it")


def _headline(each: Expected) -> str:
    release = f"{each.rung.package} {each.rung.after} ({each.rung.day})"
    return f"{'undone, ' if each.undone else ''}{release}: {each.title}"


def explain_json(prediction: Prediction) -> dict[str, Any]:
    """The prediction with the keys of ``Prediction``."""
    return {
        "moved": {name: list(pair) for name, pair in sorted(prediction.moved.items())},
        "rungs": prediction.rungs,
        "beyond": dict(prediction.beyond),
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
