"""Values of others in Markdown: one function for each place in which a value can stand.

Model names, causes, links, error messages and file names come from records, tables and packages. None of
them may break a line or a table, add to the page, send a command to a CI service, or show a secret.
``shared.lines`` does the same for a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from tunematrix.shared.lines import one_line
from tunematrix.shared.secrets import mask

SPECIAL: Final = re.compile(r"[\\`*\[\]~$<>&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
ENTITIES: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# The first characters of a line or a list item that make it a heading, a list or a rule.
BLOCK_START: Final = re.compile(r"^(?:[#+-](?=[#\s])|[=-](?=[=\s-]+$)|\d{1,9}(?=[.)](?:\s|$)))")
BAR: Final = re.compile(r"(\\*)\|")
URL: Final = re.compile(r"https?://[^/?#]", re.IGNORECASE)
MAX_LENGTH: Final = 100


def plain_text(text: Any) -> str:
    """``text`` as Markdown that shows it, and nothing else."""
    escaped = SPECIAL.sub(lambda match: ENTITIES.get(match[0], f"\\{match[0]}"), one_line(str(text)).strip())
    return BLOCK_START.sub(lambda match: f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}", escaped)


def inline_code(text: Any) -> str:
    """``text`` as inline code, which none of its backticks can end."""
    single = one_line(str(text)).strip() or " "
    longest = _longest_fence(single)
    fence = "`" * (longest + 1)
    padding = " " if longest else ""
    return f"{fence}{padding}{single}{padding}{fence}"


def code_block(lines: Iterable[str]) -> list[str]:
    """``lines`` as a block of code, which none of them can end."""
    shown = [one_line(line) for line in lines]
    fence = "`" * max(3, _longest_fence("\n".join(shown)) + 1)
    return [fence, *shown, fence]


def _longest_fence(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def link(text: str, url: str) -> str:
    """A link; only the text if ``url`` is not one of the web."""
    target = quote(one_line(url).strip(), safe=":/?#@!$&'+,;=%~")
    return f"[{plain_text(text)}]({target})" if URL.match(target) else plain_text(text)


def table_row(cells: Iterable[str]) -> str:
    """A row of a table; the ``cells`` are Markdown already."""
    # Backslashes before a bar are doubled, or they would escape each other and leave the bar to the table.
    escaped = (BAR.sub(r"\1\1\\|", cell) for cell in cells)
    return f"| {' | '.join(escaped)} |"


def shorten(value: Any) -> str:
    """``value`` as a short text; masked first, because half a secret would not be recognised."""
    text = mask(str(value)) if value != "" else "(dropped)"
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."


def workflow_command(command: str, text: str, **properties: object) -> str:
    """A command to GitHub's runner, such as ``error``; no value in it can start another."""
    pairs = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{command}{f' {pairs}' if pairs else ''}::{_data(text)}"


def _data(text: object) -> str:
    """The text of a command, as the runner's own toolkit escapes it, and without secrets."""
    return mask(str(text)).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: object) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
