"""Reports: whatever stands in records, tables and causes, a page has no more lines, links or tags for it."""

from __future__ import annotations

import contextlib
import datetime
import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from packaging.version import Version
from rich.console import Console

from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Entry
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report import difference, markdown, terminal
from tunematrix.report import summary as view
from tunematrix.report.escape import inline_code, link, plain_text, table_row
from tunematrix.report.rows import rows
from tunematrix.shared.lines import one_line
from tunematrix.shared.output import print_lines
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.accepted import Accepted
from tunematrix.verdict.answer import Knowledge, judge
from tunematrix.verdict.causes import KnownChange
from tunematrix.verdict.ledger import Issue, Ledger

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
CELLS = {"a": "1.0", "b": "2.0", "c": "2.1"}
COLUMN = re.compile(r"(?<!\\)(?:\\\\)*\|")
ODD = (
    "<script>", "</td>", "&lt;", "&#58;", "[x](javascript:1)", "![", "](", "`", "``", "|", "\\", "\\|", "*",
    "_", "~~", "$", "# ", "- ", "1. ", "> ", "---", "===", "\n", "\r", "\n\n", "    ", "\t", "::error::",
    "##[error]", "\x1b[31m", "\x1b]8;;http://x\x07", "\x9b", "\x00", "\x85", "\u2028", "\u202e", "\ud800",
    "http://a:b@c", "https://e.org", "javascript:1", "www.e.org", "@user", "a_b", ":", "日本", "[/x]",
)  # fmt: skip
TEXT = st.lists(st.sampled_from(ODD) | st.text(max_size=5), max_size=6).map("".join)
URL = TEXT | st.sampled_from(["https://", "http://", "javascript:", "//"]).flatmap(
    lambda start: TEXT.map(lambda text: f"{start}{text}")
)
FAILURE = st.builds(Failure, type=TEXT, message=TEXT, where=TEXT, traceback=TEXT)
OUTCOME = st.sampled_from(["passed", "failed", "crashed", "not_run"])
VALUE = TEXT | st.floats(allow_nan=False) | st.lists(TEXT, max_size=2)


@st.composite
def records(draw: st.DrawFn) -> Record:
    name = st.sampled_from(STAGES) | TEXT
    result = st.builds(Result, name=name, outcome=OUTCOME, error=FAILURE)
    texts = st.dictionaries(TEXT, TEXT, max_size=2)
    return Record(
        cell=draw(TEXT),
        outcome=draw(OUTCOME),
        model={"name": "tiny"},
        environment={"packages": {"trl": draw(st.sampled_from(["1.0", "2.0"])), **draw(texts)}},
        stages=tuple(draw(st.lists(result, max_size=3))),
        probes=tuple(draw(st.lists(result, max_size=2))),
        fingerprint=draw(st.dictionaries(TEXT, VALUE, max_size=3)),
        defaults={"SFTConfig": draw(st.dictionaries(TEXT, VALUE, max_size=3))},
        signatures=draw(st.dictionaries(TEXT, st.lists(TEXT, max_size=2), max_size=2)),
        call_sites=tuple(
            draw(st.lists(st.fixed_dictionaries({"call": TEXT, "argument": TEXT, "use": TEXT}), max_size=2))
        ),
        warnings=tuple(
            {"category": "FutureWarning", "module": module, "message": f"{message} removed in v6", "count": 1}
            for module, message in draw(texts).items()
        ),
    )


ISSUE = st.builds(
    Issue,
    id=TEXT,
    when=st.just(()),
    cause=TEXT,
    fix=TEXT,
    link=URL,
    expires=st.just(datetime.date(2099, 1, 1)),
    stages=st.just(STAGES),
    error=st.just(re.compile("")),
    fingerprint=st.just("*"),
)
KNOWN = st.builds(
    KnownChange,
    id=TEXT,
    fields=st.just(("*",)),
    package=st.just("trl"),
    since=st.just(Version("2.0")),
    cause=TEXT,
    action=TEXT,
    link=URL,
)


def tokens_of(text: str) -> Iterator[Token]:
    for token in MARKDOWN.parse(text):
        yield token
        yield from token.children or ()


def check_page(text: str) -> None:
    """Check a page of Markdown: no tags, no control characters, no commands, complete table rows."""
    for line in text.split("\n"):
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in line)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(COLUMN.findall(row)) for row in table.splitlines()}) == 1, table
    for token in tokens_of(text):
        assert token.type not in ("html_block", "html_inline", "image", "fence", "code_block", "hr"), token
        if token.type == "link_open":
            assert re.match(r"https?://|(\w/)?changes\.md$", str(token.attrs["href"]), re.IGNORECASE)
        assert token.type != "text" or "\x1b" not in token.content
    assert "a:b@c" not in text


def check_lines(text: str) -> None:
    """Check what is printed on a terminal."""
    for line in text.split("\n"):
        assert not line.lstrip().startswith("::")
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in line)
    assert "a:b@c" not in text


@given(text=TEXT, url=URL)
def test_a_value_is_shown_as_it_is(text: str, url: str) -> None:
    shown = "".join(token.content for token in tokens_of(f"- x {plain_text(text)}") if token.type != "inline")
    assert " ".join(shown.split()) == " ".join(f"x {one_line(text)}".split())
    codes = [token.content for token in tokens_of(f"- {inline_code(text)}") if token.type == "code_inline"]
    assert [code.strip() for code in codes] == [one_line(text).strip()]
    cells = [plain_text(text), inline_code(text), link(text, url)]
    table = "\n".join([table_row(["a", "b", "c"]), "|---|---|---|", table_row(cells)])
    assert [token.type for token in tokens_of(table)].count("td_open") == 3
    assert [token.type for token in tokens_of(table)].count("tr_open") == 2
    assert len(COLUMN.findall(table.split("\n")[-1])) == 4


def knowledge_of(issue: Issue, known: KnownChange) -> Knowledge:
    return Knowledge(
        known=(known,),
        ledger=Ledger(path=Path("known-issues.toml"), issues=(issue,)),
        accepted=Accepted(path=Path("accepted.toml")),
        today=datetime.date(2026, 1, 1),
    )


@given(first=records(), second=records(), issue=ISSUE, known=KNOWN, text=TEXT)
def test_a_summary(first: Record, second: Record, issue: Issue, known: KnownChange, text: str) -> None:
    knowledge = knowledge_of(issue, known)
    cells = tuple(Cell(name=name, pins={"trl": version}) for name, version in CELLS.items())
    matrix = Matrix(folder=Path("none"), cells=cells)
    entries = {"a": Entry(record=first), "b": Entry(record=second), "c": Entry(problem=text)}
    summary = view.Summary(model=text, rows=rows(matrix, entries, knowledge), ledger=knowledge.ledger)
    console = Console(width=120, file=io.StringIO(), highlight=False)

    check_page(markdown.render(summary))
    terminal.show(summary, console)
    check_lines(console.file.getvalue())  # type: ignore[attr-defined]  # a StringIO


@given(first=records(), second=records(), issue=ISSUE, known=KNOWN)
def test_a_comparison(first: Record, second: Record, issue: Issue, known: KnownChange) -> None:
    judgement = judge(first, second, knowledge_of(issue, known))

    check_page(difference.diff_markdown(first, second, judgement))
    for everything in (False, True):
        lines = list(difference.diff_lines(first, second, judgement, everything=everything))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            print_lines(lines)
        check_lines(printed.getvalue())
        assert printed.getvalue().count("\n") == len(lines)
