"""The one place that reads files which people write: TOML, YAML, JSON and plain text.

Every error names the file, what is wrong and, for a syntax error, the line and column, but never shows the
line, which may hold a token. The parsed value is safe to walk and to print: its depth, the size of its
numbers and the characters of its texts are checked.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

MAX_BYTES: Final = 10 * 2**20
LARGE_NUMBER: Final = re.compile(r"[eE]\+?[0-9]{3}|[0-9]{300}")  # which may be beyond a float
ODD_SCALAR: Final = re.compile(r"[0-9]{19}|\\u[dD]")  # JSON that may have a number or a text to refuse
CONTAINERS: Final = (dict, list, tuple, set, frozenset)
MAX_DEPTH: Final = 100
MAX_BITS: Final = 64
MAX_DIGITS: Final = 20  # those of MAX_BITS; a longer number is refused before it is converted
BAD_NUMBER: Final = "a number is too large, infinite or not a number (NaN)"
FLOAT_LITERALS: Final = ("inf", "nan")
# Strings and comments of TOML. Keys are what is left with dots in it; a key cannot span lines.
TOML_TEXT: Final = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|#[^\n]*")
LONG_KEY: Final = re.compile(rf"(?<![\w-])(?:[\w-]+[ \t]*\.[ \t]*){{{MAX_DEPTH}}}")


class UnreadableError(ValueError):
    """A file that cannot be read, or whose content is not what its format allows."""


def read_text(path: Path | str) -> str:
    """The text of a regular UTF-8 file, with its line ends and without a byte order mark.

    Raises ``UnreadableError`` if it is missing, larger than ``MAX_BYTES`` or not UTF-8.
    """
    path = expand_path(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise UnreadableError(f"{path}: {'a folder' if stat.S_ISDIR(mode) else 'a device'}, not a file")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableError(f"{path}: no such file") from None
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise UnreadableError(f"{path}: larger than {MAX_BYTES // 2**20} MB")
    return _decode(content, path)


def is_file(path: Path | str) -> bool:
    """Whether ``path`` is a regular file; also for a text that is no path."""
    try:
        return expand_path(path).is_file()
    except (UnreadableError, OSError):
        return False


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        line = content.count(b"\n", 0, error.start) + 1
        what = "UTF-16" if utf16 else f"not UTF-8 text (line {line})"
        raise UnreadableError(f"{path}: {what}; save it as UTF-8") from None


def expand_path(path: Path | str) -> Path:
    """``path`` with ``~`` expanded; raises ``UnreadableError`` for one that no file system can hold."""
    shown = repr(str(path)[:80])
    try:
        expanded = Path(path).expanduser()
        name_lengths = [len(name.encode()) for name in expanded.parts]
    except RuntimeError:
        raise UnreadableError(f"{shown}: no such user; write the path in full") from None
    except UnicodeEncodeError:
        raise UnreadableError(f"{shown}: not a path: it has characters that are not UTF-8") from None
    if "\0" in str(expanded):
        raise UnreadableError(f"{shown}: not a path: it has a NUL character")
    if max(name_lengths, default=0) > 255 or len(str(expanded).encode()) > 4000:
        raise UnreadableError(f"{shown}...: not a path: it is too long")
    return expanded


def parse_toml(text: str, name: object, *, allow_nan: bool = False) -> dict[str, Any]:
    """The content of a TOML file; raises ``UnreadableError`` that starts with ``name``."""
    import tomllib  # not in Python 3.10, which a cell may have

    def parse_float(literal: str) -> float:
        special = literal.lstrip("+-") in FLOAT_LITERALS
        return _finite(literal, name, allowed=special and allow_nan)

    with _syntax_errors("TOML", name):
        _check_toml_keys(text, name)
        return dict(_checked(tomllib.loads(text, parse_float=parse_float), name))


def _check_toml_keys(text: str, name: object) -> None:
    """``tomllib`` needs quadratic time for a key with many parts."""
    for number, line in enumerate(TOML_TEXT.sub("s", text).split("\n"), start=1):
        if line.count(".") >= MAX_DEPTH and LONG_KEY.search(line):
            raise UnreadableError(f"{name}: line {number}: a key of more than {MAX_DEPTH} parts")


def parse_json(text: str, name: object, *, allow_nan: bool = False) -> Any:
    """The content of a JSON file; raises ``UnreadableError`` that starts with ``name``."""

    def parse_int(literal: str) -> int:
        if len(literal.lstrip("-")) > MAX_DIGITS:
            _refuse_number(name)
        return int(literal)

    def parse_float(literal: str) -> float:
        return _finite(literal, name, allowed=False)

    def parse_constant(literal: str) -> float:
        return _finite(literal, name, allowed=allow_nan)

    hooks: dict[str, Any] = {"parse_constant": parse_constant}
    if LARGE_NUMBER.search(text):  # a call for each number takes most of the time
        hooks |= {"parse_int": parse_int, "parse_float": parse_float}
    with _syntax_errors("JSON", name):
        return _checked(json.loads(text, **hooks), name, scalars=ODD_SCALAR.search(text) is not None)


def parse_yaml(text: str, name: object, *, allow_nan: bool = False) -> Any:
    """The content of a YAML file of one document; raises ``UnreadableError`` that starts with ``name``.

    Duplicate keys, recursive aliases and aliases that multiply are errors.
    """
    from tunematrix.shared import safe_yaml  # PyYAML is in every cell, but not everywhere else

    with _syntax_errors("YAML", name):
        return _checked(safe_yaml.load(text, allow_nan=allow_nan), name)


@contextmanager
def _syntax_errors(language: str, name: object) -> Iterator[None]:
    """Turn a parser's errors into ``UnreadableError``."""
    try:
        yield
    except UnreadableError:
        raise
    except RecursionError:
        raise UnreadableError(f"{name}: nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        # int() has no error of its own for too many digits.
        reason = BAD_NUMBER if "integer string conversion" in str(error) else str(error)
        raise UnreadableError(f"{name}: not {language}: {reason}") from None


def _checked(content: Any, name: object, *, scalars: bool = True) -> Any:
    """``content`` if it is neither too deep nor has numbers beyond 64 bits or broken characters.

    Without ``scalars`` only the depth is checked: a call for each number of a record takes most of the time.
    """
    if scalars:
        _check_scalar(content, name)
    level = [content]
    for _ in range(MAX_DEPTH + 1):
        level = [value for value in level if isinstance(value, CONTAINERS)]
        if not level:
            return content
        level = [item for value in level for item in _children(value)]
        for value in level if scalars else ():
            if type(value) is not float:
                _check_scalar(value, name)
    raise UnreadableError(f"{name}: nested more than {MAX_DEPTH} levels deep")


def _check_scalar(value: Any, name: object) -> None:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        _refuse_number(name)
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UnreadableError(f"{name}: a text has half a character (a lone surrogate)") from None


def _children(value: Any) -> Iterable[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else value


def _finite(literal: str, name: object, *, allowed: bool) -> float:
    """The number; infinity and NaN only if ``allowed``."""
    value = float(literal)
    if not allowed and not math.isfinite(value):
        _refuse_number(name)
    return value


def _refuse_number(name: object) -> NoReturn:
    raise UnreadableError(f"{name}: {BAD_NUMBER}")
