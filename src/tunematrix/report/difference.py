"""The comparison of two records for a terminal, in Markdown and as JSON; breakages come first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tunematrix.base.record import Record
from tunematrix.report import screen
from tunematrix.report.escape import inline_code, link, plain_text, shorten
from tunematrix.report.summary import change_json, finding_json
from tunematrix.verdict.answer import Judgement
from tunematrix.verdict.deprecations import removed_in
from tunematrix.verdict.diff import ABSENT, Change, Diff
from tunematrix.verdict.edits import describe_edit
from tunematrix.verdict.failures import kind_of
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.tolerances import tolerance


class Entry(NamedTuple):
    """One line of a section, with the cause of the change and a link to it, if they are known."""

    text: str
    why: str = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    title: str
    entries: list[Entry]


def sections(before: Record, after: Record, diff: Diff) -> list[Section]:
    """The sections that have entries, the most important first."""
    packages = [
        Entry(f"{name} {installed(left)} -> {installed(right)}")
        for name, (left, right) in diff.packages.items()
    ]
    numbers, defaults = (_values_first(diff.of_kind(kind)) for kind in ("fingerprint", "default"))
    entries = {
        "What broke": list(_stages(after, diff, "regressed")),
        "What did not run on both sides": list(_stages(after, diff, "unknown")),
        "What was fixed": list(_stages(before, diff, "fixed")),
        "What fails differently": list(_stages(after, diff, "changed")),
        "Numbers that moved": [_number(change) for change in numbers],
        "Defaults that changed": [_default(change) for change in defaults],
        "Edits needed": list(_edits(diff)),
        "New warnings": [_warning(change) for change in diff.of_kind("warning")],
        "Will break": list(_removals(after)),
        "Packages that moved": packages,
    }
    return [Section(title=title, entries=items) for title, items in entries.items() if items]


def _values_first(changes: list[Change]) -> list[Change]:
    """Changed values before values that only one side has."""
    return sorted(changes, key=lambda change: ABSENT in (change.before, change.after))


def installed(version: str | None) -> str:
    return version or "(not installed)"


def _stages(record: Record, diff: Diff, verdict: str) -> Iterator[Entry]:
    """The stages and probes with ``verdict``, with the error of ``record``."""
    for name, (before, after, stage_verdict) in diff.stages.items():
        if stage_verdict == verdict and not (verdict == "unknown" and before == after):
            error = record.error_of(name)
            suffix = f" [{kind_of((name,), error)}] {error.one_line}" if error else ""
            yield Entry(f"{name}: {before} -> {after}{suffix}")


def _number(change: Change) -> Entry:
    text = f"{change.name}: {shorten(change.before)} -> {shorten(change.after)}"
    if (shift := change.shift) is not None:
        bias = f", bias {shift.bias:+.2g}" if isinstance(change.before, list) else ""
        allowed = tolerance(change.name)
        limit = f"tolerance {allowed:g}" if allowed else "must be equal"
        text += f" (relative {shift.size:.2g}{bias}; {limit})"
    return Entry(text, change.why, change.link)


def _default(change: Change) -> Entry:
    before, after = (
        ABSENT if value == ABSENT else shorten(repr(value)) for value in (change.before, change.after)
    )
    return Entry(f"{change.name}: {before} -> {after}", change.why, change.link)


def _edits(diff: Diff) -> Iterator[Entry]:
    """The calls that the pipeline had to adapt, then removed names that the pipeline does not use."""
    for change in diff.of_kind("call_site"):
        yield Entry(describe_edit(change), change.why, change.link)
    for change in diff.of_kind("signature"):
        now = "removed" if change.after == ABSENT else f"now {change.after}="
        yield Entry(f"if you use {change.name}: {now}", change.why, change.link)


def _warning(change: Change) -> Entry:
    return Entry(f"{change.name}: {change.after}", change.why, change.link)


def _removals(record: Record) -> Iterator[Entry]:
    """The deprecations that name the release of the removal, including those that ``before`` has too."""
    for warning in record.warnings:
        if release := removed_in(warning["message"]):
            yield Entry(f"in {release}: {warning['module']}: {warning['message']} ({warning['count']} times)")


def diff_lines(before: Record, after: Record, judgement: Judgement, *, everything: bool = False) -> list[str]:
    """The comparison on one screen; with ``everything`` all findings, and then every difference."""
    head = [f"{judgement.answer}: {before.cell} -> {after.cell}"]
    head += screen.wrapped("", screen.why(judgement))
    head += screen.untested_lines(judgement, None if everything else 3)
    tail = [*screen.accepted_lines(judgement)]
    tail += screen.wrapped("unchanged", screen.passed_line(before, judgement), lines=2)
    info = screen.info_line(judgement)
    tail += screen.wrapped("info", info, lines=None if everything else 1) if info else []
    tail += [screen.row("problem", problem) for problem in judgement.problems]
    tail += [] if everything else [screen.row("details", "--all shows every difference")]
    room = None if everything else screen.HEIGHT - len(head) - len(tail)
    lines = [*head, *screen.findings_lines(judgement, room), *tail]
    return [*lines, *_section_lines(before, after, judgement.diff)] if everything else lines


def _section_lines(before: Record, after: Record, diff: Diff) -> Iterator[str]:
    for section in sections(before, after, diff):
        yield ""
        yield f"{section.title} ({len(section.entries)})"
        for entry in section.entries:
            yield f"  {entry.text}"
            if entry.why:
                yield f"      why: {entry.why}"


def findings_markdown(judgement: Judgement) -> list[str]:
    """A list of the findings above ``info``, of what was not tested, and of what the team accepted."""
    lines = [f"- **not tested** {inline_code(line)}" for line in judgement.untested]
    lines += [f"- {finding_markdown(finding)}" for finding in judgement.findings if finding.loud]
    info = screen.info_line(judgement)
    return [*lines, *([f"- **info** {plain_text(info)}"] if info else [])]


def finding_markdown(finding: Finding) -> str:
    """One finding in one line."""
    cause = finding.cause
    since = f" ({link(f'{cause.package} {cause.release}', cause.link)})" if cause else ""
    action = f"; {plain_text(finding.action)}" if finding.action else ""
    accepted = f" *accepted: {plain_text(finding.accepted)}*" if finding.accepted else ""
    name = inline_code(finding.id)
    return f"**{finding.severity}** {plain_text(finding.title)}{since}{action} [{name}]{accepted}"


def diff_markdown(before: Record, after: Record, judgement: Judgement) -> str:
    """The findings, then every difference."""
    lines = [f"# {judgement.answer}: {plain_text(before.cell)} -> {plain_text(after.cell)}", ""]
    lines += findings_markdown(judgement)
    for section in sections(before, after, judgement.diff):
        lines += ["", f"## {section.title}", ""]
        for text, why, url in section.entries:
            lines.append(f"- {inline_code(text)}{f': {link(why, url)}' if why else ''}")
    return "\n".join(lines) + "\n"


def diff_json(judgement: Judgement, compared_with: str | None) -> dict[str, Any]:
    """The format of ``diff --json``; ``compared_with`` names the cell of the first record."""
    diff = judgement.diff
    return {
        "verdict": diff.verdict,
        "answer": judgement.answer,
        "findings": [finding_json(finding) for finding in judgement.findings],
        "untested": list(judgement.untested),
        "stages": {
            name: {"before": before, "after": after, "verdict": verdict}
            for name, (before, after, verdict) in diff.stages.items()
        },
        "changes": [change_json(change, compared_with) for change in diff.changes],
        "packages": {name: list(pair) for name, pair in diff.packages.items()},
    }
