"""Two records side by side, for a terminal, in Markdown and as JSON: what broke comes first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.base.record import Failure, Record
from tunematrix.report.markdown import code, short
from tunematrix.report.summary import plain_change
from tunematrix.verdict.diff import ABSENT, Change, Diff, edit, removed_in
from tunematrix.verdict.failures import kind_of
from tunematrix.verdict.tolerances import tolerance

SAID: Final = {
    "regressed": "REGRESSED: something that worked does not",
    "unknown": "UNKNOWN: something was not tried on both sides",
    "fixed": "FIXED: something that did not work does",
    "changed": "CHANGED: it works, but not as before",
    "same": "SAME: nothing moved",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading and its lines; ``rows`` are (text, why, link)."""

    title: str
    rows: list[tuple[str, str, str]] = field(default_factory=list)


def sections(before: Record, after: Record, diff: Diff) -> list[Section]:
    """What a reader asks, in that order; empty ones are left out."""
    found = [
        Section(title="What broke", rows=list(_stages(after, diff, "regressed"))),
        Section(title="What was not tried on both sides", rows=list(_stages(after, diff, "unknown"))),
        Section(title="What was fixed", rows=list(_stages(before, diff, "fixed"))),
        Section(title="What fails in another way", rows=list(_stages(after, diff, "changed"))),
        Section(
            title="Numbers that moved", rows=[_number(one) for one in _values_first(diff.of("fingerprint"))]
        ),
        Section(
            title="Defaults that changed", rows=[_value(one) for one in _values_first(diff.of("default"))]
        ),
        Section(title="Edits needed", rows=list(_edits(diff))),
        Section(title="New warnings", rows=[_warning(one) for one in diff.of("warning")]),
        Section(title="Will break", rows=list(_will_break(after))),
        Section(
            title="Packages that moved",
            rows=[
                (f"{name} {_version(one)} -> {_version(other)}", "", "")
                for name, (one, other) in diff.packages.items()
            ],
        ),
    ]
    return [section for section in found if section.rows]


def _values_first(changes: list[Change]) -> list[Change]:
    """What changed before what came or went."""
    return sorted(changes, key=lambda change: ABSENT in (change.before, change.after))


def _version(version: str | None) -> str:
    return version or "(not there)"


def _stages(record: Record, diff: Diff, verdict: str) -> Iterator[tuple[str, str, str]]:
    for name, (one, other, found) in diff.stages.items():
        if found == verdict and not (verdict == "unknown" and one == other):
            error = _error(record, name)
            told = f" [{kind_of((name,), error)}] {error.line}" if error else ""
            yield f"{name}: {one} -> {other}{told}", "", ""


def _error(record: Record, name: str) -> Failure | None:
    parts = [*record.stages, *record.probes]
    return next((part.error for part in parts if part.name == name.removeprefix("probe:")), None)


def _number(change: Change) -> tuple[str, str, str]:
    text = f"{change.name}: {short(change.before)} -> {short(change.after)}"
    if (moved := change.shift) is not None:
        bias = f", bias {moved.bias:+.2g}" if isinstance(change.before, list) else ""
        allowed = tolerance(change.name)
        text += (
            f" (relative {moved.size:.2g}{bias}; {f'tolerance {allowed:g}' if allowed else 'must be equal'})"
        )
    return text, change.why, change.link


def _value(change: Change) -> tuple[str, str, str]:
    return f"{change.name}: {_plain(change.before)} -> {_plain(change.after)}", change.why, change.link


def _plain(value: Any) -> str:
    return ABSENT if value == ABSENT else short(repr(value))


def _edits(diff: Diff) -> Iterator[tuple[str, str, str]]:
    """Adaptations the pipeline made, then what is gone though the pipeline does not use it."""
    for change in diff.of("call_site"):
        yield edit(change), change.why, change.link
    for change in diff.of("signature"):
        now = "gone" if change.after == ABSENT else f"now {change.after}="
        yield f"if you use {change.name}: {now}", change.why, change.link


def _warning(change: Change) -> tuple[str, str, str]:
    return f"{change.name}: {change.after}", change.why, change.link


def _will_break(record: Record) -> Iterator[tuple[str, str, str]]:
    """Deprecations that say in which release they end, old ones too."""
    for row in record.warnings:
        if release := removed_in(row["message"]):
            yield f"in {release}: {row['module']}: {row['message']} ({row['count']} times)", "", ""


def headline(before: Record, after: Record, diff: Diff) -> str:
    return f"{before.cell} -> {after.cell}: {SAID[diff.verdict]}"


def terminal(before: Record, after: Record, diff: Diff, most: int | None = None) -> Iterator[str]:
    """The lines of a comparison, at most ``most`` a section."""
    yield headline(before, after, diff)
    for section in sections(before, after, diff):
        yield ""
        yield f"{section.title} ({len(section.rows)})"
        for text, why, _ in section.rows[:most]:
            yield f"  {text}"
            if why:
                yield f"      why: {why}"
        if most and len(section.rows) > most:
            yield f"  ... and {len(section.rows) - most} more"


def markdown(before: Record, after: Record, diff: Diff) -> str:
    lines = [f"# {headline(before, after, diff)}"]
    for section in sections(before, after, diff):
        lines += ["", f"## {section.title}", ""]
        for text, why, link in section.rows:
            cause = f": {f'[{why}]({link})' if link else why}" if why else ""
            lines.append(f"- {code(text)}{cause}")
    return "\n".join(lines) + "\n"


def plain(diff: Diff, since: str | None) -> dict[str, Any]:
    """The comparison in JSON types: the contract of ``diff --json``."""
    return {
        "verdict": diff.verdict,
        "stages": {
            name: {"before": one, "after": other, "verdict": verdict}
            for name, (one, other, verdict) in diff.stages.items()
        },
        "changes": [plain_change(change, since) for change in diff.changes],
        "packages": {name: list(pair) for name, pair in diff.packages.items()},
    }
