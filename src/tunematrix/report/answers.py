"""The answers of upgrade, bisect and bounds, for a terminal, in Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunematrix.locks.lock import WORKFLOW_PACKAGES
from tunematrix.questions import bisect, bounds, upgrade
from tunematrix.questions.upgrade import Answer, Plan
from tunematrix.report import difference
from tunematrix.report.difference import installed


def upgrade_lines(answer: Answer, limit: int | None = 20) -> Iterator[str]:
    """The answer first, then its evidence; at most ``limit`` entries a section."""
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
        others = len(answer.candidate.moved) > 1
        yield (
            f"  also moves: {_moved_packages(answer, limit) or 'nothing'}"
            if others
            else "  nothing else moves"
        )
    if answer.before and answer.after:
        yield ""
        yield from difference.diff_lines(answer.before, answer.after, answer.diff, limit)


def _moved_packages(answer: Answer, limit: int | None) -> str:
    if not answer.candidate:
        return ""
    moved, required_by = answer.candidate.moved, answer.candidate.required_by
    changes = [
        f"{name} {before} -> {after} (required by {', '.join(required_by[name])})"
        for name, (before, after) in moved.items()
        if before and after and required_by.get(name)
    ]
    added = [name for name, (before, _) in moved.items() if before is None]
    removed = [name for name, (_, after) in moved.items() if after is None]
    changes += [f"added: {', '.join(added[:limit])}"] if added else []
    changes += [f"removed: {', '.join(removed[:limit])}"] if removed else []
    return "; ".join(changes)


def upgrade_markdown(answer: Answer) -> str:
    lines = [f"# {answer.answer}: {answer.baseline} -> {', '.join(answer.requests)}", ""]
    lines += [f"> {line}" for line in answer.reason.splitlines()]
    lines += [f"- breaks: {', '.join(answer.breaks)}"] if answer.breaks else []
    lines += [f"- runs, but is wrong: {', '.join(answer.silent)}"] if answer.silent else []
    lines += [f"- {line}" for line in answer.advice]
    lines += [f"- also moves: {moved}"] if (moved := _moved_packages(answer, None)) else []
    text = "\n".join(lines) + "\n"
    if answer.before and answer.after:
        details = difference.diff_markdown(answer.before, answer.after, answer.diff)
        text += "\n" + details.replace("\n# ", "\n## ")
    return text


def upgrade_json(answer: Answer) -> dict[str, Any]:
    """The format of ``upgrade --json``: that of ``diff --json``, and the answer with its evidence."""
    return difference.diff_json(answer.diff, answer.baseline) | {
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
    """Each bump alone, all together, and the order in which every step works."""
    for answer in plan.alone.values():
        others = f"; also moves {moved}" if (moved := _moved_with(answer)) else ""
        yield f"{answer.answer:<18} {', '.join(answer.requests)} alone{others}"
    yield f"{plan.together.answer:<18} all together"
    yield ""
    for number, (_, answer) in enumerate(plan.order, start=1):
        yield f"{number}. {answer.requests[-1]} ({answer.answer})"
    for name in plan.blocked:
        yield f"-  {name}: blocked; {_why_blocked(plan.alone[name])}"


def _moved_with(answer: Answer) -> str:
    """The packages of the stack that have to move with a request."""
    if not (candidate := answer.candidate):
        return ""
    return ", ".join(
        f"{name} {before} -> {after}"
        for name, (before, after) in candidate.moved.items()
        if before and after and name in candidate.required_by and name in WORKFLOW_PACKAGES
    )


def _why_blocked(answer: Answer) -> str:
    if answer.breaks:
        return f"alone it breaks {', '.join(answer.breaks)}"
    return answer.reason.splitlines()[-1].strip() if answer.reason else "it fails with the other bumps"


def plan_json(plan: Plan) -> dict[str, Any]:
    """The format of ``upgrade --all --json``."""
    return {
        "alone": {name: upgrade_json(answer) for name, answer in plan.alone.items()},
        "together": upgrade_json(plan.together),
        "order": [answer.requests[-1] for _, answer in plan.order],
        "left": plan.blocked,
        "answer": plan.together.answer,
    }


def upgrade_exit_code(answer: str) -> int:
    """1 if something breaks, 3 if that could not be tested, else 0."""
    return {upgrade.BREAKS: 1, upgrade.CANNOT_TELL: 3}.get(answer, 0)


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
    """The fragment for ``pyproject.toml``, the results at both corners, and the errors of upstream."""
    yield bounds.pyproject_fragment(answer)
    for name, corner in (("lowest", answer.lowest), ("highest", answer.highest)):
        pins = ", ".join(f"{package} {version}" for package, version in corner.pins.items())
        wider = f"; wider ranges failed: {corner.wrong}" if corner.wrong else ""
        yield f"{name} together: {pins}: verified{wider}"
    yield from answer.upstream
