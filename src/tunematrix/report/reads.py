"""The answer of ``reads`` for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tunematrix.questions.reads import Answer, Folder
from tunematrix.verdict.reads import DIFFERS, FAILS, LOADS, UNTESTED, Reading, Verdict

SCHEMA: Final = 1
WORDS: Final = {LOADS: "ok", DIFFERS: "DIFF", FAILS: "FAIL", UNTESTED: "?"}
LISTED: Final = 3
WIDTH: Final = 110
PICKLES_LISTED: Final = 4


def answer(folder: Folder, verdict: Verdict) -> str:
    """One sentence: ``loads and resumes in 6 of 8 stacks; fails in trl-0.12``."""
    resumes = any(entry["kind"] == "checkpoint" for entry in folder.parts.values())
    verb = "loads and resumes" if resumes else "loads"
    fine, total = len(verdict.cells(LOADS)), len(verdict.parts)
    count = "none" if not fine else "all" if fine == total and total > 1 else str(fine)
    text = [f"{verb} in {count} of {total} stack{'s' if total > 1 else ''}"]
    for outcome, words in (
        (DIFFERS, "is read otherwise in"),
        (FAILS, "fails in"),
        (UNTESTED, "not tried in"),
    ):
        if names := verdict.cells(outcome):
            more = f" and {len(names) - LISTED} more" if names[LISTED:] else ""
            text.append(f"{words} {', '.join(names[:LISTED])}{more}")
    return "; ".join(text)


def all_lines(answers: Sequence[Answer]) -> Iterator[str]:
    """The answers of several folders, each below its name."""
    for each in answers:
        yield f"{each.folder.path}:"
        yield from lines(each.folder, each.readings, each.verdict)
        yield ""


def lines(folder: Folder, readings: Sequence[Reading], verdict: Verdict) -> Iterator[str]:
    """The answer, what was read and compared with what, and a line for each cell."""
    yield answer(folder, verdict)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(folder.versions.items()))
    references = ", ".join(dict.fromkeys(verdict.references.values()))
    told = [
        ", ".join(folder.parts),
        f"written with {versions}" if versions else "written by releases that it does not name",
    ]
    told += [f"compared with {references}"] if references else []
    yield "; ".join(told)
    if folder.pickles:
        more = f" and {len(folder.pickles) - PICKLES_LISTED} more" if folder.pickles[PICKLES_LISTED:] else ""
        names = ", ".join(folder.pickles[:PICKLES_LISTED])
        yield f"pickles, of which only weights are loaded and no code is run: {names}{more}"
    yield ""
    width = max(len(reading.cell) for reading in readings)
    for reading in readings:
        outcome = verdict.cell(reading.cell)
        text = f"{reading.cell.ljust(width)}  {WORDS[outcome.outcome].ljust(4)}  {outcome.reason}".rstrip()
        yield text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def to_json(folder: Folder, readings: Sequence[Reading], verdict: Verdict) -> dict[str, Any]:
    """The format that docs/exchange.md describes."""
    return {
        "schema": SCHEMA,
        "folder": str(folder.path),
        "answer": answer(folder, verdict),
        "parts": list(folder.parts),
        "written_with": dict(folder.versions),
        "pickles": list(folder.pickles),
        "references": dict(verdict.references),
        "cells": [
            {
                "cell": reading.cell,
                "versions": {name: reading.packages[name] for name in sorted(reading.packages)},
                "outcome": verdict.cell(reading.cell).outcome,
                "reason": verdict.cell(reading.cell).reason,
                "parts": [
                    {"part": part, "outcome": outcome.outcome, "reason": outcome.reason}
                    for part, outcome in verdict.parts[reading.cell].items()
                    if part
                ],
            }
            for reading in readings
        ],
    }


def exit_code(*verdicts: Verdict) -> int:
    """1 if a cell fails or reads otherwise, 3 if one could not be tried, else 0."""
    if any(verdict.cells(FAILS) or verdict.cells(DIFFERS) for verdict in verdicts):
        return 1
    return 3 if any(verdict.cells(UNTESTED) for verdict in verdicts) else 0
