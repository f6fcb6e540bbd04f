"""What is expected of a move, for a terminal: the answer, the findings worst first, then what to do."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tunematrix.base.versions import parse_version
from tunematrix.locks.table import CORE
from tunematrix.report import screen
from tunematrix.report.escape import code_block, plain_text
from tunematrix.verdict.answer import NOTHING_TO_TEST
from tunematrix.verdict.expectation import answer
from tunematrix.verdict.findings import SEVERITIES, Cause, Finding
from tunematrix.verdict.prediction import Expected, Prediction
from tunematrix.verdict.releases import Moved
from tunematrix.verdict.sentences import counted

LOUD: Final = SEVERITIES[:-1]
# Lines of a screen for each severity; what one does not need goes to the others, the worst first.
SHARES: Final[Mapping[str, int]] = {"broken": 7, "wrong": 6, "training": 6, "default": 4, "edit": 5}
OTHERS: Final = 3  # packages that are not on the ladder, by name
MOVES: Final = 3  # lines
EDITS: Final = re.compile(r"(\d+) (.*?): (.*?)(?: and \d+ more)?")  # as the findings of one release say them
SINGULAR: Final = re.compile(r"\b(name|call|argument|option|field)\b")
ELSEWHERE: Final = "--all shows them"


def explain_lines(
    names: tuple[str, str],
    prediction: Prediction,
    *,
    upgrade: str = "",
    listed: Sequence[str] = (),
    everything: bool = False,
) -> list[str]:
    """At most 40 lines of 100 characters, unless ``everything`` is asked for.

    ``upgrade`` are the arguments of the command that runs it, and ``listed`` are further lines, which name
    every package that moves.
    """
    findings = [_finding(each) for each in prediction.found]
    if (expected := answer(prediction)) == NOTHING_TO_TEST:
        return [f"{expected}: no package moves from {names[0]} to {names[1]}", *listed]
    head = [f"expected {expected}: {names[0]} -> {names[1]}"]
    head += screen.wrapped("", f"{_counts(findings)}; {_source(prediction)}")
    tail = [*(listed or _moves_lines(prediction, everything=everything)), *_unknown(prediction)]
    tail += _commands(prediction, findings, upgrade)
    if everything:
        return [*head, *screen.fitted(findings, None), *tail]
    tail += [screen.row("details", "--all shows every finding and what to do about it")] if findings else []
    return [*head, *_shared(findings, screen.HEIGHT - len(head) - len(tail)), *tail]


def diff_lines(
    names: tuple[str, str],
    prediction: Prediction,
    left_out: Mapping[str, Sequence[str]],
    *,
    upgrade: str = "",
    everything: bool = False,
) -> list[str]:
    """As ``explain_lines``, with every package that moves, and what each file lists without a version."""
    pairs = {**prediction.moved, **prediction.others}
    groups = {
        "changed": [f"{name} {old} -> {new}" for name, (old, new) in pairs.items() if old and new],
        "new": [f"{name} {new}" for name, (old, new) in pairs.items() if not old],
        "gone": [f"{name} {old}" for name, (old, new) in pairs.items() if not new],
    }
    most = None if everything else 2
    listed = [
        line
        for label, entries in groups.items()
        for line in (screen.wrapped(label, f"{len(entries)}: {', '.join(entries)}", most) if entries else ())
    ]
    for name, unpinned in left_out.items():
        if unpinned:
            text = f"in {name}, without one version: {len(unpinned)}: {', '.join(unpinned)}"
            listed += screen.wrapped("not compared", text, lines=most)
    return explain_lines(names, prediction, upgrade=upgrade, listed=listed, everything=everything)


def diff_markdown(lines: Sequence[str]) -> str:
    """The lines of ``diff_lines`` in Markdown: the first is the heading."""
    return "\n".join([f"# {plain_text(lines[0])}", "", *code_block(lines[1:])]) + "\n"


def _finding(each: Expected) -> Finding:
    return Finding(
        id=f"{each.rung.package}-{each.rung.after}",
        severity=each.effect,
        title=f"undone: {each.title}" if each.undone else each.title,
        fields=each.fields,
        cause=Cause(package=each.rung.package, release=each.rung.after, date=each.rung.day),
        action=each.action,
    )


def _counts(findings: Sequence[Finding]) -> str:
    counts: Counter[str] = Counter()
    for each in findings:
        found = EDITS.fullmatch(each.title) if each.severity == "edit" else None
        counts[each.severity] += int(found[1]) if found else 1
    return counted(counts) or "nothing is known to change"


def _source(prediction: Prediction) -> str:
    """What the answer is from, and that it is no run."""
    if not prediction.rungs:
        return "no release is known between them; nothing was run"
    releases = "1 release" if prediction.rungs == 1 else f"{prediction.rungs} releases"
    return f"from what {releases} did; nothing was run"


def _shared(findings: Sequence[Finding], room: int) -> Iterator[str]:
    """The findings in ``room`` lines: some of each severity, those with an advice and a wide effect first."""
    groups = {severity: [each for each in findings if each.severity == severity] for severity in LOUD}
    for severity, group in groups.items():
        group.sort(key=lambda each: (not each.action, -len(each.fields)))
        groups[severity] = _added_up(group) if severity == "edit" else group
    needed = {severity: len(_group(group, room)) for severity, group in groups.items()}
    given = {severity: min(number, SHARES[severity]) for severity, number in needed.items()}
    for severity, number in needed.items():
        given[severity] += max(0, min(number - given[severity], room - sum(given.values())))
    while sum(given.values()) > room and max(given.values()) > 1:  # where much else has to be said
        given[max(given, key=lambda severity: given[severity])] -= 1
    for severity, group in groups.items():
        yield from _group(group, given[severity])


def _group(findings: Sequence[Finding], room: int) -> list[str]:
    return screen.fitted(findings, room, ELSEWHERE) if findings else []


def _added_up(edits: Sequence[Finding]) -> list[Finding]:
    """The edits of all releases as one finding for each kind, such as ``3 names gone: trl.A, trl.B``."""
    kinds: dict[str, list[re.Match[str]]] = {}
    others = []
    for each in edits:
        found = None if each.title.startswith("undone") else EDITS.fullmatch(each.title)
        if found:
            kinds.setdefault(SINGULAR.sub(r"\1s", found[2]), []).append(found)
        else:
            others.append(each)
    return [*(_sum(kind, kinds[kind]) for kind in sorted(kinds, key=_rank)), *others]


def _rank(kind: str) -> tuple[bool, bool, bool, str]:
    """What a call must change comes first, then configurations; calls that only we make come last."""
    is_call = kind.startswith("calls") and not kind.endswith("edit")
    return is_call, not kind.endswith("edit"), not kind.startswith("config"), kind


def _sum(kind: str, edits: Sequence[re.Match[str]]) -> Finding:
    number, named = sum(int(each[1]) for each in edits), ", ".join(dict.fromkeys(each[3] for each in edits))
    what = kind if number > 1 else edits[0][2]
    return Finding(id=kind, severity="edit", title=f"{number} {what}: {named}", fields=())


def _moves_lines(prediction: Prediction, *, everything: bool) -> list[str]:
    moves = ", ".join(_moves(prediction.moved)) or "no package of the stack"
    return screen.wrapped("moves", moves, None if everything else MOVES)


def _moves(moved: Moved) -> list[str]:
    return [f"{name} {old or '(none)'} -> {new or '(none)'}" for name, (old, new) in moved.items()]


def _unknown(prediction: Prediction) -> Iterator[str]:
    """What moves and nobody knows the effect of."""
    for name, versions in sorted(prediction.beyond.items()):
        what = f"{name}," if versions.startswith("without") else f"releases of {name}"
        yield from screen.wrapped("not known", f"{what} {versions}: not measured", lines=2)
    if prediction.others:
        moved = _moves(dict(sorted(prediction.others.items(), key=lambda item: item[0] != "torch")))
        more = f" and {len(moved) - OTHERS} more" if len(moved) > OTHERS else ""
        yield from screen.wrapped("not known", f"{', '.join(moved[:OTHERS])}{more}: not measured", lines=2)


def _commands(prediction: Prediction, findings: Sequence[Finding], upgrade: str) -> Iterator[str]:
    """What to type: to find the lines of one's own code, and to run it."""
    pairs = {name: prediction.moved[name] for name in CORE if name in prediction.moved}
    new = [f"{name}=={version}" for name, (_, version) in pairs.items() if version and parse_version(version)]
    if new and any(each.severity in ("edit", "default") for each in findings):
        options = " ".join(f"--to {shlex.quote(request)}" for request in new)
        yield screen.command("your code", f"which lines to edit: tunematrix scan {options}")
    if upgrade and (prediction.moved or prediction.others):
        yield screen.command("next", f"run it: tunematrix upgrade {upgrade}")
