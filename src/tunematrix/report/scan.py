"""The answer of ``scan``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tunematrix.code.fix import NOT_EDITED, is_made
from tunematrix.code.uses import Code
from tunematrix.locks.rungs import PACKAGES
from tunematrix.report import screen
from tunematrix.verdict.releases import Moved, Rung
from tunematrix.verdict.usage import TRAINS, Place, brought, count_edits

Told = Sequence[tuple[Place, Rung | None]]
LABELS: Final = {True: "edits", False: "defaults"}
BROUGHT: Final = 3  # new options named beside one that went


def scan_lines(
    code: Code, told: Told, moved: Moved, beyond: Mapping[str, str], made: Mapping[str, str]
) -> Iterator[str]:
    """One line a place: edits first, then the defaults that the code leaves to the release."""
    edits = count_edits(place for place, _ in told)
    defaults = sum(not place.edit for place, _ in told)
    files = "1 file" if code.files == 1 else f"{code.files} files"
    known = " that is known" if beyond else ""
    number = edits or f"nothing{known}"
    yield f"{number} to edit, {defaults} defaults that you do not set changed ({files})"
    moves = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in moved.items() if name in PACKAGES)
    yield from screen.wrapped("moves", moves or "nothing")
    label = ""
    for place, rung in told:
        own = LABELS[place.edit]
        since = f", since {rung.package} {rung.after} ({rung.day})" if rung else ""
        effect = f"; {TRAINS}" if place.trains and not place.doubt else ""
        came = brought(place.name, rung)[:BROUGHT] if rung and place.edit and place.trains else []
        beside = f", which brought {', '.join(came)}" if came else ""
        yield from screen.wrapped("" if own == label else own, f"{place.title}{effect}{since}{beside}")
        label = own
    for name, diff in made.items():
        if not is_made(diff):
            yield from screen.wrapped("not fixed", f"{name}: {diff.removeprefix(NOT_EDITED)}")
            continue
        yield screen.row("fixed", name)
        yield from (f"             {line}" for line in diff.splitlines() if line[:1] in "+-")
    for name, versions in sorted(beyond.items()):
        yield from screen.wrapped("not known", f"releases of {name} {versions}: not on the ladder")
    for line in code.unreadable:
        yield from screen.wrapped("not read", line, lines=1)


def scan_json(code: Code, told: Told, beyond: Mapping[str, str], made: Mapping[str, str]) -> dict[str, Any]:
    """The format of ``scan --json``."""
    return {
        "files": code.files,
        "unreadable": list(code.unreadable),
        "beyond": dict(beyond),
        "fixed": dict(made),
        "places": [
            {
                "kind": "edit" if place.edit else "default",
                "name": place.name,
                "text": place.text,
                "by_hand": place.doubt or None,
                "changes_training": place.trains,
                "places": [{"file": use.file, "line": use.line} for use in place.uses],
                "release": f"{rung.package}=={rung.after}" if rung else None,
            }
            for place, rung in told
        ],
    }
