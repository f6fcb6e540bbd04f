"""The answer to an upgrade, for a terminal, in Markdown and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tunematrix.base.record import Record
from tunematrix.code.fix import NOT_EDITED, is_made
from tunematrix.locks.lock import WORKFLOW_PACKAGES
from tunematrix.locks.rungs import PACKAGES
from tunematrix.questions.files import Files
from tunematrix.questions.plan import Plan
from tunematrix.questions.upgrade import Answer
from tunematrix.report import difference, screen
from tunematrix.report.escape import plain_text
from tunematrix.report.prediction import explain_json
from tunematrix.report.rows import age
from tunematrix.report.screen import command, row, wrapped
from tunematrix.shared.stages import DEFAULT_MODEL
from tunematrix.verdict.answer import BEHAVIOUR_CHANGES, BREAKS, NOTHING_TO_TEST, Judgement
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.pairs import DIFFERS, FAILS, SAME, UNAVAILABLE
from tunematrix.verdict.prediction import Prediction
from tunematrix.verdict.scoring import score

NAMED: Final = 6  # packages named in one line
ROLLBACK: Final = 4  # kinds of files named in one line


def upgrade_lines(answer: Answer, *, everything: bool = False) -> list[str]:
    """The whole answer, at most 40 lines of 100 characters unless ``everything`` is asked for."""
    head = [f"{answer.answer}: {answer.source or answer.baseline} with {_request(answer)}"]
    if answer.answer == NOTHING_TO_TEST:
        return [f"{answer.answer}: {answer.reason}", *_notes(answer)]
    if answer.reason or not (answer.before and answer.after):
        reason = (f"  {line}" for line in answer.reason.splitlines())
        return [*head, *reason, *_notes(answer), *_next(answer)]
    head += wrapped("", screen.why(answer.judgement)[:200])
    head += screen.untested_lines(answer.judgement, None if everything else 3)
    tail = [*screen.accepted_lines(answer.judgement), *_tail(answer)]
    room = None if everything else screen.HEIGHT - len(head) - len(tail)
    return [*head, *screen.findings_lines(answer.judgement, room), *tail]


def _request(answer: Answer) -> str:
    moved = answer.candidate.moved if answer.candidate else {}
    required = answer.candidate.required_by if answer.candidate else {}
    pairs = [
        f"{name} {old} -> {new}" for name, (old, new) in moved.items() if old and new and name not in required
    ]
    return ", ".join(pairs) or ", ".join(answer.requests)


def _tail(answer: Answer) -> Iterator[str]:
    """What surrounds the findings: what was tried, what moves, what was not tested, and what to do next."""
    assert answer.before
    assert answer.after
    judgement = answer.judgement
    yield from _tried(answer)
    for line in answer.advice:
        yield from wrapped("also bump", line, lines=2)
    yield from wrapped("also moves", _moved(answer, NAMED) or "nothing else", lines=2)
    yield from wrapped("unchanged", screen.passed_line(answer.before, judgement), lines=2)
    if answer.files:
        yield from wrapped("rollback", _rollback(answer.files), lines=2)
    # The ladder knows nothing of a team's own scripts.
    if answer.prediction and answer.prediction.rungs and "stages" not in answer.before.options:
        yield from wrapped("foreseen", _foreseen(answer, answer.prediction), lines=2)
    yield from _notes(answer)
    if noisy := _noisy(answer.before, answer.after):
        yield from wrapped("noise", f"not equal when run twice, so compared with that: {noisy}", lines=2)
    if info := screen.info_line(judgement):
        yield row("info", info)
    if "workload" not in answer.before.options:
        yield row("your code", "not run; --run 'python train.py' or a workload.toml runs your own scripts")
    yield row("records", f"{_age('baseline', answer.before)}, {_age('candidate', answer.after)}")
    yield from (row("problem", problem) for problem in judgement.problems)
    yield from _next(answer)
    if answer.details:
        yield command("details", str(answer.details))


def _tried(answer: Answer) -> Iterator[str]:
    """The fix that was tried, the edits that were made, and the files in which none could be."""
    if answer.fix:
        yield from _fix(answer)
    for file, changes in answer.fixed.items():
        if not is_made(changes):
            yield from wrapped("not fixed", f"{file}: {changes.removeprefix(NOT_EDITED)}", lines=2)
            continue
        lines = [
            line.strip()
            for line in changes.splitlines()
            if line[:1] in "+-" and line[:3] not in ("+++", "---")
        ]
        yield from wrapped("fixed", f"{file}: {'; '.join(lines)}", lines=2)
    if answer.unread:
        more = _more(answer.unread)
        yield from wrapped("not read", f"so what it uses is not told: {answer.unread[0]}{more}", lines=2)


def _notes(answer: Answer) -> Iterator[str]:
    for note in answer.notes:
        yield from wrapped("pins", note, lines=2)


def _rollback(files: Files) -> str:
    """Whether the old stack reads what the new one saves: can one go back after a week of training?"""
    if files.absent:
        return f"not tried: {next(iter(files.absent.values()))}"
    counts = {outcome: len(names) for outcome, names in files.rollback.items()}
    total = sum(counts.values()) - counts.get(UNAVAILABLE, 0)
    parts = [f"the old stack reads {counts[SAME]} of {total} kinds of files of the new one as they were"]
    for outcome, words in ((FAILS, "not"), (DIFFERS, "otherwise, without an error")):
        if names := files.rollback[outcome]:
            parts.append(f"{words}: {_some(names, ROLLBACK)}")
    return "; ".join(parts)


def _foreseen(answer: Answer, prediction: Prediction) -> str:
    """How the prediction of the ladder held; what it did not foresee is the news."""
    held = score(prediction, answer.judgement.findings)
    parts = [f"{len(held.foreseen)} of {held.found} findings"] if held.found else ["that nothing changes"]
    if held.surprises:
        parts.append(f"not: {held.surprises[0].title}{_more(held.surprises)}")
    if held.missed:
        first = held.missed[0]
        release = f"{first.rung.package} {first.rung.after}"
        parts.append(f"expected in vain: {first.title} ({release}){_more(held.missed)}")
    return "; ".join(parts)


def _more(items: Sequence[object]) -> str:
    return f" and {len(items) - 1} more" if len(items) > 1 else ""


def _noisy(before: Record, after: Record) -> str:
    """The stages of a team's own scripts that are not bit-equal to themselves, with their numbers."""
    found: dict[str, set[str]] = {}
    for record in (before, after):
        for name, noise in record.fingerprint.items():
            if name.endswith(".noise"):
                found.setdefault(name.removesuffix(".noise"), set()).update(noise)
    return "; ".join(f"{stage} ({', '.join(sorted(names))})" for stage, names in found.items())


def _fix(answer: Answer) -> Iterator[str]:
    fix = answer.fix
    assert fix is not None
    assert answer.candidate is not None
    more = len(fix.moved.keys() - answer.candidate.moved.keys())
    left = fix.judgement.of("broken", "wrong")
    ids = {finding.id for finding in left}
    severe = [one for one in answer.judgement.of("broken", "wrong") if one.id not in ids]
    hidden = [one for one in severe if not _has_run(one, fix.judgement)]
    fixed = [one.title for one in severe if one not in hidden]
    words = f"fixes {len(fixed)} ({'; '.join(fixed)})" if fixed else "does not help"
    rest = f"; {len(left)} broken or wrong are left" if left else ""
    if hidden:
        rest += f"; {len(hidden)} not tried again, since its stage did not run"
    text = f"with {' '.join(fix.requests)}: {fix.judgement.answer}; {words}{rest}; {more} more packages move"
    yield from wrapped("tried", text, lines=2)


def _has_run(finding: Finding, judgement: Judgement) -> bool:
    """Whether every stage and probe that the finding is about has passed in the candidate with the fix."""
    outcomes = {name.removeprefix("probe:"): new for name, (_, new, _) in judgement.diff.stages.items()}
    return not any(
        outcome != "passed" and (field == name or field.startswith(f"{name}."))
        for field in finding.fields
        for name, outcome in outcomes.items()
    )


def _next(answer: Answer) -> Iterator[str]:
    """The command to type; commands are never cut."""
    if answer.answer == BREAKS and answer.nearest:
        release, word = answer.nearest
        yield row("nearest", f"{release} is {word}")
    elif answer.answer == BREAKS and (search := _search(answer)):
        yield command("nearest", f"unknown; find it: {search}")
    if answer.fix and answer.fix.judgement.answer != BREAKS:
        requests = " ".join(shlex.quote(text) for text in (*answer.requests, *answer.fix.requests))
        yield command("next", f"tunematrix upgrade {requests}{_options(answer)}")
    elif answer.answer == BEHAVIOUR_CHANGES and (left := answer.judgement.of("training", "default")):
        yield command("next", f'accept what you want: --accept {left[0].id} --reason "..."')
    unexplained = (one for one in answer.judgement.findings if one.action.startswith("unexplained"))
    if first := next(unexplained, None):
        yield command("unexplained", _attribute(answer) or first.action.partition(": ")[2])


def _attribute(answer: Answer) -> str:
    """The command that finds the package, where several of the ladder's moved."""
    moved = answer.candidate.moved if answer.candidate else {}
    if sum(name in PACKAGES for name in moved) < 2:
        return ""
    requests = " ".join(shlex.quote(text) for text in answer.requests)
    return f"tunematrix upgrade {requests}{_options(answer)} --attribute"


def _search(answer: Answer) -> str:
    if answer.candidate is None:
        return ""
    required = answer.candidate.required_by
    moved = [
        (name, pair)
        for name, pair in answer.candidate.moved.items()
        if name not in required and None not in pair
    ]
    if len(moved) != 1:
        return ""
    ((name, (old, new)),) = moved
    return f"tunematrix bisect {name} {old} {new}{_options(answer)}"


def _options(answer: Answer) -> str:
    """What the command was given, and the model if another command would not take it by itself."""
    model = answer.before.model.get("name", DEFAULT_MODEL) if answer.before else DEFAULT_MODEL
    return "".join(f" {shlex.quote(word)}" for word in answer.given) + (
        f" --model {model}" if model != DEFAULT_MODEL else ""
    )


def _age(name: str, record: Record) -> str:
    if not record.reused:
        return f"{name} run now"
    return f"{name} reused ({age(record)} old; --rerun runs it again)"


def _moved(answer: Answer, most: int | None) -> str:
    """The packages that move along, and why; new and removed ones by name."""
    if not answer.candidate:
        return ""
    moved, required_by = answer.candidate.moved, answer.candidate.required_by
    changed = [
        f"{name} {old} -> {new} (for {', '.join(required_by[name][:2])})"
        for name, (old, new) in moved.items()
        if old and new and required_by.get(name)
    ]
    new = [name for name, (old, _) in moved.items() if old is None]
    gone = [name for name, (_, new) in moved.items() if new is None]
    parts = _some(changed, most), _some(new, most), _some(gone, most)
    words = ("", "new: ", "gone: ")
    return "; ".join(f"{word}{part}" for word, part in zip(words, parts, strict=True) if part)


def _some(names: Sequence[str], most: int | None) -> str:
    more = f" and {len(names) - most} more" if most and len(names) > most else ""
    return ", ".join(names[:most]) + more


def upgrade_markdown(answer: Answer) -> str:
    """The answer as on the terminal, then every difference."""
    title = f"{answer.source or answer.baseline} with {_request(answer)}"
    lines = [f"# {answer.answer}: {plain_text(title)}", ""]
    lines += [f"- {plain_text(line)}" for line in answer.reason.splitlines()]
    lines += [*(f"- {plain_text(line)}" for line in (*answer.advice, *answer.notes))]
    lines += [f"- also moves: {plain_text(moved)}"] if (moved := _moved(answer, None)) else []
    lines.append("")
    text = "\n".join(lines) + "\n"
    if answer.before and answer.after:
        details = difference.diff_markdown(answer.before, answer.after, answer.judgement)
        text += "\n" + details.replace("# ", "## ", 1).replace("\n## ", "\n### ")
    return text


def upgrade_json(answer: Answer) -> dict[str, Any]:
    """The format of ``upgrade --json``: that of ``diff --json``, and the answer with its evidence."""
    broken, wrong = answer.judgement.of("broken"), answer.judgement.of("wrong")
    moved = answer.candidate.moved if answer.candidate else {}
    fix = answer.fix
    return difference.diff_json(answer.judgement, answer.baseline) | {
        "baseline": answer.baseline,
        "candidate": answer.candidate.cell.name if answer.candidate else None,
        "requests": list(answer.requests),
        "moved": {name: list(pair) for name, pair in moved.items()},
        "breaks": [name for finding in broken for name in finding.fields],
        "silent": [name for finding in wrong for name in finding.fields],
        "edits": answer.edits,
        "advice": list(answer.advice),
        "fix": {"requests": list(fix.requests), "answer": fix.judgement.answer} if fix else None,
        "prediction": explain_json(answer.prediction) if answer.prediction else None,
        "nearest": list(answer.nearest) if answer.nearest else None,
        "reason": answer.reason,
        "notes": list(answer.notes),
        "fixed": dict(answer.fixed),
        "rollback": {key: list(names) for key, names in answer.files.rollback.items()}
        if answer.files
        else None,
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
    if broken := answer.judgement.of("broken", "wrong"):
        return f"alone: {broken[0].title}"
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
