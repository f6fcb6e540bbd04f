"""The answers of ``explain`` and ``check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tunematrix.report import screen
from tunematrix.verdict.prediction import Expected, Prediction
from tunematrix.verdict.standing import Problem

SHOWN: Final = 2  # findings of one release and severity
LABELS: Final = {"default": "defaults", "edit": "edits"}


def explain_lines(
    names: tuple[str, str], prediction: Prediction, *, everything: bool = False
) -> Iterator[str]:
    """One screen: what moved, what is known to change, worst first, and where knowledge ends."""
    moves = ", ".join(
        f"{name} {old or '(none)'} -> {new or '(none)'}"
        for name, (old, new) in sorted(prediction.moved.items())
    )
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
    if not prediction.found:
        yield screen.row("", "nothing above info is known to change")
    for name, versions in sorted(prediction.beyond.items()):
        yield from screen.wrapped("not known", f"releases of {name} {versions}: not on the ladder")
    if edits or (hidden and not everything):
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
        place = f"file={_escaped(file)}," if file else ""
        yield f"::error {place}title={_escaped(f'{problem.severity} {problem.id}')}::{_escaped_data(text)}"


def _escaped_data(text: str) -> str:
    """The text of a command, as the runner's own toolkit escapes it; nothing in it can start another."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped(text: str) -> str:
    """A property of a command."""
    return _escaped_data(text).replace(":", "%3A").replace(",", "%2C")
