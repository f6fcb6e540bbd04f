"""Text of others on a terminal: one line, and nothing that controls it."""

from __future__ import annotations

import pytest

from tunematrix.shared.lines import one_line, split_lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, ünïcode 日本 🚀", None),
        ("two\nlines\r\nand\ttabs\u2028more", "two lines  and tabs more"),
        ("\x1b[31mred\x1b[0m \x07\x00\x9b", "\ufffd[31mred\ufffd[0m \ufffd\ufffd\ufffd"),
        ("\u202eabc\u202c", "\ufffdabc\ufffd"),
        ("half \ud800", "half \ufffd"),
        ("::error::planted", ": :error::planted"),
        ("  \n::add-mask::x", "   : :add-mask::x"),
        ("a ::error::", None),
        ("x ##[error]planted", "x # #[error]planted"),
        ("https://user:pass@host", "https://***@host"),
    ],
)
def test_one_line(text: str, expected: str | None) -> None:
    assert one_line(text) == (text if expected is None else expected)


def test_lines_stay_lines() -> None:
    assert list(split_lines(["a\n  b", "::c\x1b"])) == ["a", "  b", ": :c\ufffd"]
