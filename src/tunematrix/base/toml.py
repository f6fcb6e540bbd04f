"""Reads and checks TOML files; errors name the file, the key and the closest valid key."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import UsageError, did_you_mean

TYPE_NAMES: Final[Mapping[type, str]] = {
    int: "a whole number",
    bool: "true or false",
    str: "text",
    dict: "a table",
    list: "a list",
    datetime.date: "a day such as 2024-12-10",
}


def read(path: Path) -> dict[str, Any]:
    """The content of a TOML file; raises ``UsageError``."""
    return read_with_text(path)[0]


def read_with_text(path: Path) -> tuple[dict[str, Any], str]:
    """The content of a TOML file and the text it was parsed from; raises ``UsageError``."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    return parse(text, path), text


def parse(text: str, path: Path) -> dict[str, Any]:
    """The content of ``text``; raises ``UsageError`` that names ``path``."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None


def check_schema(content: Mapping[str, Any], supported: int, path: Path | str) -> None:
    """Raise ``UsageError`` unless the file's schema is ``supported``."""
    schema = content.get("schema")
    if schema != supported:
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
