"""One screen for one comparison: the answer, why, the findings worst first, and what to do next."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tunematrix.base.record import Record
from tunematrix.shared.lines import one_line
from tunematrix.verdict.answer import Judgement
from tunematrix.verdict.findings import SEVERITIES, Finding
from tunematrix.verdict.sentences import counted

WIDTH: Final = 100
HEIGHT: Final = 40
LONGEST: Final = 60  # characters of a value
INDENT: Final = 13
HEADINGS: Final = {
    "broken": "broken",
    "wrong": "wrong",
    "training": "training",
    "default": "defaults",
    "edit": "edits",
}
SHORTEST: Final = 1
SIZES: Final = {"broken": 4, "wrong": 4, "edit": 1}  # lines, if there is room; others 2
# Actions that say nothing which the title does not; the bisect command stands at the end of the screen.
GENERIC: Final = ("accept it", "edit the calls", "unexplained")


def findings_lines(judgement: Judgement, room: int | None) -> list[str]:
    """The findings above ``info`` in at most ``room`` lines; None shows all of each.

    The milder a finding, the earlier its evidence and action are left out; then whole findings are, counted.
    """
    return fitted(judgement.of(*SEVERITIES[:-1]), room)


def fitted(loud: Sequence[Finding], room: int | None, elsewhere: str = "--details shows them") -> list[str]:
    """The findings ``loud``, as ``findings_lines`` shows them; ``elsewhere`` says where the others are."""
    if room is None:
        return _rendered(loud, [0] * len(loud))
    sizes = [SIZES.get(finding.severity, 2) for finding in loud]
    while sum(sizes) > room and max(sizes, default=0) > SHORTEST:
        # From the end, since the findings are in the order of severity.
        sizes[max(range(len(sizes)), key=lambda place: (sizes[place] > SHORTEST, place))] -= 1
    for place, finding in enumerate(loud):
        if sum(sizes) < room and sizes[place] == 2 and finding.severity == "training":
            sizes[place] += 1
    shown = loud[: room - 1] if sum(sizes) > room else loud
    lines = _rendered(shown, sizes)
    left = len(loud) - len(shown)
    return [*lines, row("", f"and {left} more; {elsewhere}")] if left else lines


def _rendered(findings: Sequence[Finding], sizes: Sequence[int]) -> list[str]:
    lines: list[str] = []
    previous = ""
    for finding, size in zip(findings, sizes, strict=False):
        label = f"{HEADINGS[finding.severity]}" if finding.severity != previous else ""
        previous = finding.severity
        lines += list(_finding(finding, label, size))
    return lines


def _finding(finding: Finding, label: str, size: int) -> Iterator[str]:
    """The title, the evidence and the action; in at most ``size`` lines, or in as many as it takes (0)."""
    name = "" if size else f" [{finding.id}]"
    title = wrapped(label, f"{headline(finding)}{name}", lines=min(size, 2) or None)
    evidence = "; ".join(
        f"{item.name} {brief(item.before)} -> {brief(item.after)}" for item in finding.evidence
    )
    told_by_title = finding.severity in ("edit", "default")
    texts = [] if told_by_title and size else [evidence]
    texts += [finding.action] if not size or not finding.action.startswith(GENERIC) else []
    rest = [row("", text) if size else text for text in texts if text]
    if size:
        yield from [*title, *rest[-(size - len(title)) :]] if len(title) < size else title
        return
    yield from title
    for text in rest:
        yield from wrapped("", text)


def headline(finding: Finding) -> str:
    """The title, after the release that did it; what nobody knows the cause of says so."""
    if finding.cause:
        return f"{finding.cause.package} {finding.cause.release}: {finding.title}"
    unknown = finding.action.startswith("unexplained") and finding.severity not in ("edit", "info")
    return f"unexplained: {finding.title}" if unknown else finding.title


def info_line(judgement: Judgement) -> str:
    """What is below the findings, counted in one line."""
    return "; ".join(finding.title for finding in judgement.findings if not finding.loud)


def accepted_lines(judgement: Judgement) -> Iterator[str]:
    for finding in judgement.findings:
        if finding.accepted:
            yield row("accepted", f"{finding.id}: {finding.accepted}")


def untested_lines(judgement: Judgement, most: int | None = 3) -> Iterator[str]:
    """The parts that did not pass on both sides, first of all: they are why nobody can tell."""
    for number, text in enumerate(judgement.untested[:most]):
        yield from wrapped("" if number else "not tested", text, lines=2)
    if most and len(judgement.untested) > most:
        yield row("", f"and {len(judgement.untested) - most} more")


def why(judgement: Judgement) -> str:
    """The reason for the answer in one sentence."""
    counts = Counter(
        finding.severity for finding in judgement.findings if finding.loud and not finding.accepted
    )
    parts = [counted(counts)] if counts else []
    accepted = sum(bool(finding.accepted) for finding in judgement.findings)
    parts += [f"{accepted} accepted"] if accepted else []
    if judgement.untested:
        parts.insert(0, "not everything was tested")
    return ", ".join(parts) or "nothing that was measured differs"


def passed_line(before: Record, judgement: Judgement) -> str:
    """The stages that passed on both sides."""
    stages = judgement.diff.stages
    both = [name for name, (old, new, _) in stages.items() if old == new == "passed" and ":" not in name]
    return f"{len(both)} of {len(before.stages)} stages passed on both sides: {', '.join(both)}"


def brief(value: Any) -> str:
    """A value in at most 60 characters; numbers with five digits."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list) and value and all(isinstance(item, float) for item in value):
        return f"[{', '.join(f'{item:.5g}' for item in value[:3])}{', ...' if len(value) > 3 else ''}]"
    text = " ".join(str(value).split()) if value != "" else "(none)"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def row(label: str, text: str) -> str:
    """One line: a label, and a text that is cut at the width of the screen."""
    whole = f"{label:<{INDENT}}{one_line(text)}"
    return whole if len(whole) <= WIDTH else f"{whole[: WIDTH - 3]}..."


def command(label: str, text: str) -> str:
    """A label and a text to copy, which is never cut."""
    return f"{label:<{INDENT}}{one_line(text)}"


def wrapped(label: str, text: str, lines: int | None = None) -> list[str]:
    """A label, and a text over as many lines as it takes, or at most ``lines``."""
    room = WIDTH - INDENT
    made = textwrap.wrap(one_line(text), room, break_long_words=False, break_on_hyphens=False) or [""]
    if lines and len(made) > lines:
        made = [*made[: lines - 1], f"{made[lines - 1][: WIDTH - INDENT - 4]} ..."]
    return [f"{label if not number else '':<{INDENT}}{part}" for number, part in enumerate(made)]
