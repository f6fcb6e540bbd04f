"""Text of others for a terminal or a log, which it can neither break nor control."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from tunematrix.shared.secrets import mask

SUSPICIOUS: Final = re.compile("[^ -~\u00a1-\u05ff]")  # printable ASCII and Latin text needs no second look
WHITE_SPACE: Final = "\t\n\r\v\f\x85\u2028\u2029"
# Characters that change the direction of the text around them, and so what people read.
DIRECTIONS: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROL_CATEGORIES: Final = ("Cc", "Cs")  # the second are halves of characters, which no file can hold
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
# Control characters but line ends, tabs and, after an escape, the colours that rich prints.
CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]|\r(?!\n)|\x1b(?!\\[[0-9;]*m)")
# GitHub's commands; it also reads ##[command] inside a line.
WORKFLOW_COMMAND: Final = re.compile(r"^([^\S\n]*):(?=:)", re.MULTILINE)


def one_line(text: str) -> str:
    """``text`` on one line, without secrets, control characters and commands to a CI service."""
    return _without_commands(SUSPICIOUS.sub(_replacement, mask(text)).rstrip())


def split_lines(texts: Iterable[str]) -> Iterator[str]:
    """``texts``, which may have several lines each, as such lines."""
    for text in texts:
        yield from map(one_line, text.split("\n"))


def clean(text: str) -> str:
    """Text that this program prints; as ``one_line``, but with its lines and colours."""
    return _without_commands(CONTROL.sub(REPLACEMENT, mask(text)))


def _without_commands(text: str) -> str:
    return WORKFLOW_COMMAND.sub(r"\1: ", text).replace("##[", "# #[")


def _replacement(match: re.Match[str]) -> str:
    character = match[0]
    if character in WHITE_SPACE:
        return " "
    control = unicodedata.category(character) in CONTROL_CATEGORIES or character in DIRECTIONS
    return REPLACEMENT if control else character
