"""Answers to the questions before a bump, for a terminal, in Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunematrix.locks.lock import NEEDED
from tunematrix.questions import bisect, bounds, search, upgrade
from tunematrix.questions.upgrade import Answer, Plan
from tunematrix.report import difference


def upgrade_lines(answer: Answer, most: int | None = 20) -> Iterator[str]:
    """One answer first, then what it rests on."""
    yield f"{answer.answer}: {answer.baseline} -> {', '.join(answer.requests)}"
    if answer.reason:
        yield from (f"  {line}" for line in answer.reason.splitlines())
    if answer.breaks:
        yield f"  breaks: {', '.join(answer.breaks)}"
    if answer.silent:
        yield f"  runs, but is wrong: {', '.join(answer.silent)}"
    for line in answer.advice:
        yield f"  advice: {line}"
    if answer.candidate:
        moved = answer.candidate.moved
        yield (
            f"  moves with it: {_moved(answer, most) or 'nothing'}"
            if len(moved) > 1
            else "  nothing else has to move"
        )
    if answer.before and answer.after:
        yield ""
        yield from difference.terminal(answer.before, answer.after, answer.diff, most)


def _moved(answer: Answer, most: int | None) -> str:
    if not answer.candidate:
        return ""
    rows = []
    for name, (before, after) in answer.candidate.moved.items():
        users = answer.candidate.required_by.get(name, ())
        why = f" (for {', '.join(users)})" if users else ""
        if before and after and users:
            rows.append(f"{name} {before} -> {after}{why}")
    new = [name for name, (before, _) in answer.candidate.moved.items() if before is None]
    gone = [name for name, (_, after) in answer.candidate.moved.items() if after is None]
    rows += [f"new: {', '.join(new[:most])}"] if new else []
    rows += [f"gone: {', '.join(gone[:most])}"] if gone else []
    return "; ".join(rows)


def upgrade_markdown(answer: Answer) -> str:
    lines = [f"# {answer.answer}: {answer.baseline} -> {', '.join(answer.requests)}", ""]
    lines += [f"> {line}" for line in answer.reason.splitlines()]
    lines += [f"- breaks: {', '.join(answer.breaks)}"] if answer.breaks else []
    lines += [f"- runs, but is wrong: {', '.join(answer.silent)}"] if answer.silent else []
    lines += [f"- {line}" for line in answer.advice]
    lines += [f"- moves with it: {moved}"] if (moved := _moved(answer, None)) else []
    text = "\n".join(lines) + "\n"
    if answer.before and answer.after:
        text += "\n" + difference.markdown(answer.before, answer.after, answer.diff).replace("\n# ", "\n## ")
    return text


def upgrade_json(answer: Answer) -> dict[str, Any]:
    """The diff, and what the answer adds to it: the contract of ``upgrade --json``."""
    return difference.plain(answer.diff, answer.baseline) | {
        "answer": answer.answer,
        "baseline": answer.baseline,
        "candidate": answer.candidate.cell.name if answer.candidate else None,
        "requests": list(answer.requests),
        "moved": {name: list(pair) for name, pair in answer.candidate.moved.items()}
        if answer.candidate
        else {},
        "breaks": list(answer.breaks),
        "silent": list(answer.silent),
        "edits": answer.edits,
        "advice": list(answer.advice),
        "reason": answer.reason,
    }


def plan_lines(plan: Plan) -> Iterator[str]:
    """Each package alone, all together, and the order that keeps every step green."""
    for answer in plan.alone.values():
        along = f"; takes along {moved}" if (moved := _along(answer)) else ""
        yield f"{answer.answer:<18} {', '.join(answer.requests)} alone{along}"
    yield f"{plan.together.answer:<18} all together"
    yield ""
    for number, (_, answer) in enumerate(plan.order, start=1):
        yield f"{number}. {answer.requests[-1]} ({answer.answer})"
    for name in plan.left:
        yield f"-  {name}: cannot follow; {_why(plan.alone[name])}"


def _along(answer: Answer) -> str:
    """The packages of the stack that have to move with a request."""
    made = answer.candidate
    rows = made.moved.items() if made else ()
    return ", ".join(
        f"{name} {before} -> {after}"
        for name, (before, after) in rows
        if before and after and made and name in made.required_by and name in NEEDED
    )


def _why(answer: Answer) -> str:
    if answer.breaks:
        return f"alone it breaks {', '.join(answer.breaks)}"
    return answer.reason.splitlines()[-1].strip() if answer.reason else "not with the others"


def plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "alone": {name: upgrade_json(answer) for name, answer in plan.alone.items()},
        "together": upgrade_json(plan.together),
        "order": [answer.requests[-1] for _, answer in plan.order],
        "left": plan.left,
        "answer": plan.together.answer,
    }


def upgrade_code(answer: str) -> int:
    """1 where something breaks, 3 where nobody can tell, else 0."""
    return {upgrade.BREAKS: 1, upgrade.UNKNOWN: 3}.get(answer, 0)


def bisect_lines(answer: bisect.Answer) -> Iterator[str]:
    """The first release or day, when it came, and what moved with it."""
    question, result = answer.question, answer.result
    what = "fixed" if question.find_fix else "bad"
    head = f"{question.package} {result.suspects[-1]}"
    if len(result.suspects) > 1:
        yield f"first {what}: one of {question.package} {', '.join(result.suspects)}"
        yield f"  those between cannot be tested here; {result.suspects[-1]} is {what} for certain"
    else:
        yield f"first {what}: {head}" + (f", released {answer.day}" if _dated(answer) else "")
    yield f"  last {'bad' if question.find_fix else 'good'}: {result.last_good}"
    for package in answer.culprits:
        before, after = answer.changed_with_it[package]
        yield f"  by {package} {before or '(not there)'} -> {after or '(not there)'}"
    for package, (before, after) in answer.changed_with_it.items():
        if package not in answer.culprits:
            yield f"  moved with it: {package} {before or '(not there)'} -> {after or '(not there)'}"
    for issue in answer.known_issues:
        yield f"  known issue: {issue}"
    yield f"  {len(result.steps)} runs" + (
        f"; untestable: {', '.join(result.untestable)}" if result.untestable else ""
    )


def _dated(answer: bisect.Answer) -> bool:
    return answer.day is not None and answer.question.package != bisect.DAY


def bisect_json(answer: bisect.Answer) -> dict[str, Any]:
    """The contract of ``bisect --json``; ``first_bad`` is a list where it is one of several."""
    question, result = answer.question, answer.result
    shown = {search.GOOD: search.BAD, search.BAD: search.GOOD} if question.find_fix else {}
    first: Any = result.suspects[0] if len(result.suspects) == 1 else result.suspects
    return {
        "package": question.package,
        "good": question.last if question.find_fix else question.first,
        "bad": question.first if question.find_fix else question.last,
        "first_good" if question.find_fix else "first_bad": first,
        "date": str(answer.day) if answer.day else None,
        "steps": [
            {"version": point, "verdict": shown.get(verdict, verdict)} for point, verdict in result.steps
        ],
        "untestable": result.untestable,
        "changed_with_it": {name: list(pair) for name, pair in answer.changed_with_it.items()},
        "known_issues": list(answer.known_issues),
        "culprits": list(answer.culprits),
    }


def bounds_lines(found: bounds.Bounds) -> Iterator[str]:
    """The fragment to paste, how the corners went, and what upstream declares wrongly."""
    yield bounds.fragment(found)
    for name, corner in (("lowest", found.lowest), ("highest", found.highest)):
        pins = ", ".join(f"{package} {version}" for package, version in corner.pins.items())
        yield f"{name} together: {pins}: verified" + (f"; wider was {corner.wrong}" if corner.wrong else "")
    yield from found.upstream
