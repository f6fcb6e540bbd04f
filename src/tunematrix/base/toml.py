"""Checks files that people write, above all TOML; errors name the file, the key and the closest valid key."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import UsageError
from tunematrix.shared import reading
from tunematrix.shared.reading import UnreadableError
from tunematrix.shared.suggest import did_you_mean

TYPE_NAMES: Final[Mapping[type, str]] = {
    int: "a whole number",
    bool: "true or false",
    str: "text",
    dict: "a table",
    list: "a list",
    datetime.date: "a day such as 2024-12-10",
}


@contextmanager
def unreadable_is_usage_error() -> Iterator[None]:
    """Turn what ``shared.reading`` raises into ``UsageError``; the only place that does."""
    try:
        yield
    except UnreadableError as error:
        raise UsageError(str(error)) from None


def read_text(path: Path) -> str:
    """The text of a file that people write; raises ``UsageError``."""
    with unreadable_is_usage_error():
        return reading.read_text(path)


def read(path: Path) -> dict[str, Any]:
    """The content of a TOML file; raises ``UsageError``."""
    return read_with_text(path)[0]


def read_with_text(path: Path) -> tuple[dict[str, Any], str]:
    """The content of a TOML file and the text it was parsed from; raises ``UsageError``."""
    text = read_text(path)
    return parse(text, path), text


def parse(text: str, path: Path) -> dict[str, Any]:
    """The content of ``text``; raises ``UsageError`` that names ``path``."""
    with unreadable_is_usage_error():
        return reading.parse_toml(text, path)


def check_schema(content: Mapping[str, Any], supported: int, path: Path | str) -> None:
    """Raise ``UsageError`` unless the file's schema is ``supported``.

    Check it before the keys: a file of a newer release has keys that this one does not know.
    """
    schema = content.get("schema")
    if schema is None:
        raise UsageError(f"{path}: schema is missing; add 'schema = {supported}' as the first line")
    if type(schema) is not int or schema != supported:
        raise UsageError(f"{path}: schema is {schema!r}; this release reads schema = {supported}")


def check_keys(types: Mapping[str, type], table: Any, where: str) -> None:
    """Raise ``UsageError`` for a key that is not in ``types`` or whose value has another type.

    ``where`` starts the message: the file and the table.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: must be a table")
    for key, value in table.items():
        if key not in types:
            raise UsageError(f"{where}: unknown key '{key}'{did_you_mean(key, types)}")
        # isinstance accepts True as an int and a datetime as a date; TOML distinguishes them.
        wrong = isinstance(value, bool) is not (types[key] is bool) or isinstance(value, datetime.datetime)
        if wrong or not isinstance(value, types[key]):
            raise UsageError(f"{where}: {key}: must be {TYPE_NAMES[types[key]]}")
