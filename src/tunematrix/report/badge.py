"""A badge: a label and a message in the shape that people know, as an SVG and for the endpoint of shields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from tunematrix.base.record import BROKEN, UNTESTABLE, Record
from tunematrix.report.rows import OTHER_LOCK, Row
from tunematrix.shared.lines import one_line
from tunematrix.verdict.ledger import Ledger, errors

# White text has a contrast of at least 4.5 on each of them.
GOOD: Final = "#2a7a2f"
KNOWN: Final = "#8a5300"
BAD: Final = "#b3261e"
NONE: Final = "#5f6672"
LABEL_GROUND: Final = "#444c56"
MAX_TEXT: Final = 60
PADDING: Final = 6
# Widths in Verdana of 11 pixels. What a viewer's own font needs is fitted to it.
WIDTH: Final = 7.0
NARROW: Final = dict.fromkeys("fijlrtI .,:;!|()[]'-", 4.4)
WIDE: Final = dict.fromkeys("mwMW%@", 10.2)
SVG: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" \
aria-label="{label}: {message}">
<title>{label}: {message}</title>
<clipPath id="r"><rect width="{total}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="{left}" height="20" fill="{ground}"/>
<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11" \
aria-hidden="true">
<text x="{label_x}" y="14" textLength="{label_length}">{label}</text>
<text x="{message_x}" y="14" textLength="{message_length}">{message}</text></g>
</svg>
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Badge:
    """Two texts, each one short line, and the colour behind the message as ``#rrggbb``."""

    label: str
    message: str
    colour: str

    @classmethod
    def of(cls, label: str, message: str, colour: str) -> Badge:
        return cls(label=_short(label), message=_short(message), colour=colour)


def _short(text: str) -> str:
    line = " ".join(one_line(text).split())
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 3]}..."


def of_matrix(rows: Sequence[Row], label: str) -> Badge:
    """How many of all cells pass; one without a record, or with one of another lock or work, does not."""
    states = ["unknown" if _is_old(row) else row.state for row in rows]
    passed = states.count("passed")
    colour = NONE
    if any(state in (*BROKEN, *UNTESTABLE) for state in states):
        colour = BAD
    elif passed == len(states):
        colour = GOOD
    elif passed or "known" in states:
        colour = KNOWN
    return Badge.of(label, f"{passed} of {len(states)} pass", colour)


def of_cell(row: Row, label: str) -> Badge:
    """The state of one cell."""
    if _is_old(row):
        what = "lock" if _has_other_lock(row) else "workload"
        return Badge.of(label, f"{what} changed since the run", NONE)
    return of_state(row.state, row.record, label)


def of_record(record: Record | None, ledger: Ledger, label: str) -> Badge:
    """What a record says; without one, that nothing was tested."""
    return of_state(Row.from_record(record, ledger).state if record else "unknown", record, label)


def of_state(state: str, record: Record | None, label: str) -> Badge:
    """A state such as ``passed`` in a word, and of a failure the first stage that has it."""
    if state in BROKEN and record:
        failed = next((name for name, _ in errors(record)), "")
        return Badge.of(label, f"fails: {failed}" if failed else "fails", BAD)
    message, colour = {
        "passed": ("passes", GOOD),
        "known": ("fails for a known reason", KNOWN),
        "unresolvable": ("does not resolve", BAD),
        "uninstallable": ("does not install", BAD),
        "interrupted": ("cut off", NONE),
    }.get(state, ("not tested", NONE))
    return Badge.of(label, message, colour)


def _is_old(row: Row) -> bool:
    return _has_other_lock(row) or bool(row.current and (row.current.open or row.current.files))


def _has_other_lock(row: Row) -> bool:
    return any(note.type == OTHER_LOCK for note in row.notes)


def svg(badge: Badge) -> str:
    """The badge as an SVG file, whose title a screen reader reads."""
    label_length, message_length = _width(badge.label), _width(badge.message)
    left, right = label_length + 2 * PADDING, message_length + 2 * PADDING
    return SVG.format(
        label=escape(badge.label),
        message=escape(badge.message),
        colour=badge.colour,
        ground=LABEL_GROUND,
        total=left + right,
        left=left,
        right=right,
        label_length=label_length,
        message_length=message_length,
        label_x=left / 2,
        message_x=left + right / 2,
    )


def _width(text: str) -> int:
    """The width of ``text`` in pixels, about."""
    widths = NARROW | WIDE
    return max(1, round(sum(widths.get(character, WIDTH) for character in text)))


def endpoint(badge: Badge) -> dict[str, Any]:
    """The badge as shields.io reads it from a URL."""
    return {"schemaVersion": 1, "label": badge.label, "message": badge.message, "color": badge.colour}
