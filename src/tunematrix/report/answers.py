"""The answers of bisect and bounds, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunematrix.questions import bisect, bounds
from tunematrix.report.difference import installed


def bisect_lines(answer: bisect.Answer) -> Iterator[str]:
    """The first bad or fixed version or date, its release date, and the packages that moved with it."""
    question, result = answer.question, answer.result
    state = "fixed" if question.find_fix else "bad"
    if len(result.suspects) > 1:
        yield f"first {state}: one of {question.package} {', '.join(result.suspects)}"
        *untested, certain = result.suspects
        yield f"  {', '.join(untested)} cannot be tested; {certain} is certainly {state}"
    else:
        released = f", released {answer.date}" if answer.date and question.package != bisect.BY_DATE else ""
        yield f"first {state}: {question.package} {result.suspects[-1]}{released}"
    yield f"  last {'bad' if question.find_fix else 'good'}: {result.last_good}"
    for package in answer.culprits:
        before, after = answer.changed_with_it[package]
        yield f"  caused by: {package} {installed(before)} -> {installed(after)}"
    for package, (before, after) in answer.changed_with_it.items():
        if package not in answer.culprits:
            yield f"  also moved: {package} {installed(before)} -> {installed(after)}"
    for issue in answer.known_issues:
        yield f"  known issue: {issue}"
    untestable = f"; untestable: {', '.join(result.untestable)}" if result.untestable else ""
    yield f"  {len(result.steps)} runs{untestable}"


def bisect_json(answer: bisect.Answer) -> dict[str, Any]:
    """The format of ``bisect --json``; ``first_bad`` is a list if there are several suspects."""
    question, result = answer.question, answer.result
    first: Any = result.suspects[0] if len(result.suspects) == 1 else result.suspects
    return {
        "package": question.package,
        "good": question.last if question.find_fix else question.first,
        "bad": question.first if question.find_fix else question.last,
        "first_good" if question.find_fix else "first_bad": first,
        "date": str(answer.date) if answer.date else None,
        "steps": [
            {"version": point, "verdict": question.swap_for_fix(verdict)} for point, verdict in result.steps
        ],
        "untestable": result.untestable,
        "changed_with_it": {name: list(pair) for name, pair in answer.changed_with_it.items()},
        "known_issues": list(answer.known_issues),
        "culprits": list(answer.culprits),
    }


def bounds_lines(answer: bounds.Bounds) -> Iterator[str]:
    """The fragment for ``pyproject.toml``, how the corners were tested, and the errors of upstream."""
    yield from bounds.pyproject_fragment(answer).splitlines()
    if answer.untested:
        yield f"not tested, since the baseline does not pass it: {', '.join(answer.untested)}"
    for name, corner in (("lowest", answer.lowest), ("highest", answer.highest)):
        pins = ", ".join(f"{package} {version}" for package, version in corner.pins.items())
        if not corner.works:
            yield f"{name} together: {pins}: FAILS: {corner.wrong}"
        else:
            narrowed = f"; narrowed, since the ends together: {corner.wrong}" if corner.wrong else ""
            yield f"{name} together: {pins}: works{narrowed}"
    yield from answer.upstream
