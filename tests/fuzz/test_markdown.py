"""Reports: whatever stands in records, tables and causes, a page has no more lines, links or tags for it."""

from __future__ import annotations

import contextlib
import datetime
import io
import random
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
from tunematrix.report.overview import Overview
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
POOLS = st.lists(TEXT, min_size=1, max_size=8)  # the texts of one case
SEEDS = st.integers(0, 2**32 - 1)
LINKS = ("https://", "http://", "javascript:", "//", "")


class Maker:
    """Makes records and causes of the texts in a pool: much faster than to draw each text by itself."""

    def __init__(self, pool: list[str], seed: int) -> None:
        self.pool = pool
        self.random = random.Random(seed)

    def text(self) -> str:
        return self.random.choice(self.pool)

    def texts(self, most: int = 3) -> list[str]:
        return self.random.choices(self.pool, k=self.random.randint(0, most))

    def values(self) -> dict[str, Any]:
        kinds: list[Callable[[], Any]] = [self.text, self.random.random, self.texts]
        return {name: self.random.choice(kinds)() for name in self.texts()}

    def result(self) -> Result:
        outcome = self.random.choice(["passed", "failed", "crashed", "not_run"])
        error = Failure(type=self.text(), message=self.text(), where=self.text(), traceback=self.text())
        return Result(name=self.random.choice([*STAGES, self.text()]), outcome=outcome, error=error)

    def record(self) -> Record:
        keys = ("call", "argument", "use")
        warning = {"category": "FutureWarning", "module": self.text(), "count": 1}
        return Record(
            cell=self.text(),
            outcome=self.result().outcome,
            model={"name": "tiny"},
            environment={"packages": {"trl": self.random.choice(["1.0", "2.0"]), self.text(): self.text()}},
            stages=tuple(self.result() for _ in self.texts()),
            probes=tuple(self.result() for _ in self.texts()),
            fingerprint=self.values(),
            defaults={"SFTConfig": self.values()},
            signatures={name: self.texts() for name in self.texts()},
            call_sites=tuple({key: self.text() for key in keys} for _ in self.texts()),
            warnings=tuple({**warning, "message": f"{text} removed in v6"} for text in self.texts()),
        )

    def link(self) -> str:
        return self.random.choice(LINKS) + self.text()

    def knowledge(self) -> Knowledge:
        issue = Issue(
            id=self.text(),
            when=(),
            cause=self.text(),
            fix=self.text(),
            link=self.link(),
            expires=datetime.date(2099, 1, 1),
            stages=STAGES[: self.random.randint(0, len(STAGES))],
            error=re.compile(""),
            fingerprint=self.random.choice(["*", None]),
        )
        known = KnownChange(
            id=self.text(),
            fields=("*",),
            package="trl",
            since=Version("2.0"),
            cause=self.text(),
            action=self.text(),
            link=self.link(),
        )
        return Knowledge(
            known=(known,),
            ledger=Ledger(path=Path("known-issues.toml"), issues=(issue,)),
            accepted=Accepted(path=Path("accepted.toml")),
            today=datetime.date(2026, 1, 1),
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


@given(text=TEXT, start=st.sampled_from(LINKS))
def test_a_value_is_shown_as_it_is(text: str, start: str) -> None:
    shown = "".join(token.content for token in tokens_of(f"- x {plain_text(text)}") if token.type != "inline")
    assert " ".join(shown.split()) == " ".join(f"x {one_line(text)}".split())
    codes = [token.content for token in tokens_of(f"- {inline_code(text)}") if token.type == "code_inline"]
    assert [code.strip() for code in codes] == [one_line(text).strip()]
    cells = [plain_text(text), inline_code(text), link(text, start + text)]
    table = "\n".join([table_row(["a", "b", "c"]), "|---|---|---|", table_row(cells)])
    assert [token.type for token in tokens_of(table)].count("td_open") == 3
    assert [token.type for token in tokens_of(table)].count("tr_open") == 2
    assert len(COLUMN.findall(table.split("\n")[-1])) == 4


@given(pool=POOLS, seed=SEEDS)
def test_a_summary(pool: list[str], seed: int) -> None:
    make = Maker(pool, seed)
    knowledge = make.knowledge()
    cells = tuple(Cell(name=name, pins={"trl": version}) for name, version in CELLS.items())
    matrix = Matrix(folder=Path("none"), cells=cells)
    entries = {
        "a": Entry(record=make.record()),
        "b": Entry(record=make.record()),
        "c": Entry(problem=make.text()),
    }
    summary = view.Summary(model=make.text(), rows=rows(matrix, entries, knowledge), ledger=knowledge.ledger)
    console = Console(width=120, file=io.StringIO(), highlight=False)

    check_page(markdown.render(summary))
    terminal.show(Overview.of(summary), console)
    check_lines(console.file.getvalue())  # type: ignore[attr-defined]  # a StringIO


@given(pool=POOLS, seed=SEEDS)
def test_a_comparison(pool: list[str], seed: int) -> None:
    make = Maker(pool, seed)
    first, second = make.record(), make.record()
    judgement = judge(first, second, make.knowledge())

    check_page(difference.diff_markdown(first, second, judgement))
    for everything in (False, True):
        lines = list(difference.diff_lines(first, second, judgement, everything=everything))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            print_lines(lines)
        check_lines(printed.getvalue())
        assert printed.getvalue().count("\n") == len(lines)
