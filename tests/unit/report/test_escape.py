"""Values of others in Markdown: shown as they are, and nothing else."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from tunematrix.report.escape import inline_code, link, plain_text, shorten, table_row

MARKDOWN = MarkdownIt("commonmark").enable("table")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "**bold** _it_ __it__ `code` ~~gone~~",
        "[text](javascript:alert(1)) ![image](http://x)",
        "<http://auto.link> &lt; &amp; &copy;",
        "# heading",
        "- item",
        "+ item",
        "1. item",
        "2) item",
        "> quotation",
        "---",
        "===",
        "a \\ b \\* \\",
        "a_b_c __init__ _x",
        "$x$",
        "| a | b |",
    ],
)
def test_plain_text_shows_the_text(text: str) -> None:
    for line in (plain_text(text), f"- {plain_text(text)}", f"> {plain_text(text)}"):
        tokens = MARKDOWN.parse(line)
        inline = [token for token in tokens if token.type == "inline"]

        assert [child.content for token in inline for child in token.children or ()] != []
        assert "".join(child.content for token in inline for child in token.children or ()) == text
        assert {child.type for token in inline for child in token.children or ()} <= {"text", "text_special"}
        assert not any(token.type in ("heading_open", "html_block", "hr", "code_block") for token in tokens)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trl-0.12", "trl-0.12"),
        ("4.46.3", "4.46.3"),
        ("-", "-"),
        ("constraints/known-issues.toml:12: timed_out", "constraints/known-issues.toml:12: timed_out"),
        ("two\nlines", "two lines"),
        ("\x1b[31m", "\ufffd\\[31m"),
        ("::error::planted", ": :error::planted"),
        ("http://a:b@c", "http://\\*\\*\\*@c"),
    ],
)
def test_plain_text_changes_only_what_it_must(text: str, expected: str) -> None:
    assert plain_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "`a`"),
        ("a | `b`", "`` a | `b` ``"),
        ("``` three", "```` ``` three ````"),
        ("two\nlines\x1b", "`two lines\ufffd`"),
        ("", "` `"),
    ],
)
def test_no_backtick_ends_inline_code(text: str, expected: str) -> None:
    assert inline_code(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a?b=c#d", "[why](https://example.org/a?b=c#d)"),
        ("HTTP://example.org", "[why](HTTP://example.org)"),
        ("https://e.org/a) [x](javascript:1", "[why](https://e.org/a%29%20%5Bx%5D%28javascript:1)"),
        ("javascript:alert(1)", "why"),
        ("data:text/html,x", "why"),
        (" https://e.org\n", "[why](https://e.org)"),
        ("https://", "why"),
        ("https://user:secret@e.org", "[why](https://%2A%2A%2A@e.org)"),
        ("", "why"),
    ],
)
def test_a_link_leads_to_the_web_or_nowhere(url: str, expected: str) -> None:
    assert link("why", url) == expected
    assert link("a]b", "https://e.org") == "[a\\]b](https://e.org)"


@pytest.mark.parametrize("value", ["a | b", "a \\| b", "a \\\\| b", "|", "\\", "`|`", "a\n| b |"])
def test_a_value_stays_in_its_cell(value: str) -> None:
    rows = [table_row(["left", "right"]), "|---|---|", table_row([plain_text(value), inline_code(value)])]

    html = MARKDOWN.render("\n".join(rows))

    assert html.count("<tr>") == 2
    assert html.count("<td>") == 2
    assert "<code>" in html


def test_a_secret_is_masked_before_a_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "x" * 50)

    assert shorten("a" * 80 + "x" * 50) == "a" * 80 + "***"
    assert shorten("a" * 101) == "a" * 97 + "..."
    assert shorten("") == "(dropped)"
