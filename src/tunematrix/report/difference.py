"""The comparison of two records for a terminal, in Markdown and as JSON; breakages come first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tunematrix.base.record import Failure, Record
from tunematrix.report.markdown import inline_code, shorten
from tunematrix.report.summary import change_json
from tunematrix.verdict.diff import ABSENT, Change, Diff, describe_edit, removed_in
from tunematrix.verdict.failures import kind_of
from tunematrix.verdict.tolerances import tolerance

HEADLINES: Final = {
    "regressed": "REGRESSED: something that worked no longer works",
    "unknown": "UNKNOWN: something did not run on both sides",
    "fixed": "FIXED: something that failed works now",
    "changed": "CHANGED: nothing broke, but something changed",
    "same": "SAME: nothing changed",
}


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
            error = _error(record, name)
            suffix = f" [{kind_of((name,), error)}] {error.one_line}" if error else ""
            yield Entry(f"{name}: {before} -> {after}{suffix}")


def _error(record: Record, name: str) -> Failure | None:
    results = [*record.stages, *record.probes]
    return next((result.error for result in results if result.name == name.removeprefix("probe:")), None)


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


def headline(before: Record, after: Record, diff: Diff) -> str:
    return f"{before.cell} -> {after.cell}: {HEADLINES[diff.verdict]}"


def diff_lines(before: Record, after: Record, diff: Diff, limit: int | None = None) -> Iterator[str]:
    """The comparison for a terminal, at most ``limit`` entries a section."""
    yield headline(before, after, diff)
    for section in sections(before, after, diff):
        yield ""
        yield f"{section.title} ({len(section.entries)})"
        for entry in section.entries[:limit]:
            yield f"  {entry.text}"
            if entry.why:
                yield f"      why: {entry.why}"
        if limit and len(section.entries) > limit:
            yield f"  ... and {len(section.entries) - limit} more"


def diff_markdown(before: Record, after: Record, diff: Diff) -> str:
    lines = [f"# {headline(before, after, diff)}"]
    for section in sections(before, after, diff):
        lines += ["", f"## {section.title}", ""]
        for text, why, link in section.entries:
            cause = f": {f'[{why}]({link})' if link else why}" if why else ""
            lines.append(f"- {inline_code(text)}{cause}")
    return "\n".join(lines) + "\n"


def diff_json(diff: Diff, compared_with: str | None) -> dict[str, Any]:
    """The format of ``diff --json``; ``compared_with`` names the cell of the first record."""
    return {
        "verdict": diff.verdict,
        "stages": {
            name: {"before": before, "after": after, "verdict": verdict}
            for name, (before, after, verdict) in diff.stages.items()
        },
        "changes": [change_json(change, compared_with) for change in diff.changes],
        "packages": {name: list(pair) for name, pair in diff.packages.items()},
    }
