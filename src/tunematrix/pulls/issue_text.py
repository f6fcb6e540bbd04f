"""The text of an issue. Every value of a record stands in code, bounded in length.

In code, GitHub makes neither links nor mentions, references, HTML nor commands of it; titles are plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tunematrix.report.escape import code_block, inline_code, link
from tunematrix.report.problems import Problem
from tunematrix.shared.lines import one_line

LONGEST_TITLE: Final = 160  # characters; the API takes 256
LONGEST_LINE: Final = 300
LONGEST_ENTRY: Final = 8_000
SHOWN_CELLS: Final = 40
SHOWN_LINES: Final = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The run that found it: its page, the commit, and the day, ISO 8601."""

    url: str
    sha: str
    day: str


def title(problem: Problem) -> str:
    """One plain line. A character without width after each @ keeps it from being a mention."""
    text = _short(f"{problem.severity}: {problem.title}", LONGEST_TITLE)
    return text.replace("@", "@\u200b")


def body(problem: Problem, model: str, since: str, run: Run) -> str:
    """The issue without its marker: cause, cells, evidence, commands, the entry for the ledger."""
    cells = [inline_code(cell) for cell in problem.cells[:SHOWN_CELLS]]
    more = f" and {len(problem.cells) - SHOWN_CELLS} more" if len(problem.cells) > SHOWN_CELLS else ""
    head = (
        f"**{problem.severity}** in {', '.join(cells)}{more}, with the model {inline_code(_short(model))}, "
        f"since {since}. Last seen by {link('this run', run.url)} of {inline_code(run.sha[:12])}."
    )
    lines = [
        head,
        "",
        f"Cause: {inline_code(_short(problem.cause))}",
        *_section("Evidence", _lines(problem.evidence)),
        *_section("Reproduce", _lines(problem.commands)),
    ]
    if problem.entry and len(problem.entry) <= LONGEST_ENTRY:
        lines += _section(
            "If it is upstream's, add this to constraints/known-issues.toml, with its cause and its fix",
            problem.entry.splitlines(),
        )
    tail = (
        "This text is rewritten while the problem lasts, and the issue is closed when it is over: write in "
        "comments. Close it to hear no more of it until it comes back."
    )
    return "\n".join([*lines, "", tail])


def over(cells: Sequence[str], run: Run) -> str:
    """The comment of an issue that is closed."""
    where = ", ".join(inline_code(cell) for cell in cells[:SHOWN_CELLS])
    tested = f"tested in {where}, and not seen" if cells else "its cells are not in the matrix any more"
    return f"Over: {tested} by {link('this run', run.url)} of {inline_code(run.sha[:12])}."


def count(name: str, rest: Sequence[Problem]) -> Problem:
    """One problem that stands for ``rest``, for which no issues are opened in this run."""
    cells = tuple(dict.fromkeys(cell for problem in rest for cell in problem.cells))
    return Problem(
        id=name,
        severity="broken",
        title=f"{len(rest)} more problems of the matrix",
        cells=cells,
        cause="several; the next run opens issues for the first of those that last",
        evidence=tuple(f"{problem.severity}: {problem.title}" for problem in rest),
        commands=("nox -s report",),
    )


def _section(heading: str, lines: Iterable[str]) -> list[str]:
    content = list(lines)
    return ["", f"{heading}:", "", *code_block(content)] if content else []


def _lines(texts: Sequence[str]) -> list[str]:
    lines = [_short(text) for text in texts[:SHOWN_LINES]]
    return [*lines, *([f"and {len(texts) - SHOWN_LINES} more"] if len(texts) > SHOWN_LINES else [])]


def _short(text: str, longest: int = LONGEST_LINE) -> str:
    text = one_line(text)  # first, because half a secret would not be recognised
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
