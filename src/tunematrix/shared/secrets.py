"""Keeps secrets out of every text that leaves a process: terminal, logs, records and reports.

A secret is the value of a token variable of the environment, the credentials in a URL, a token of the Hub,
and what ``add`` was called with, such as a token in a configuration.
"""

from __future__ import annotations

import contextlib
import functools
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

from tunematrix.shared.reading import UnreadableError, parse_yaml, read_text

MASK: Final = "***"
MIN_LENGTH: Final = 6
MIN_DIGITS: Final = 12  # PAD_TOKEN=100000 is not a secret, and masking it would break numbers in records
SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:token|api_?key|secret|secret_key|access_key|private_key|password|passwd)$", re.IGNORECASE
)
# The variables with which clients and this project reach the Hub; no process but a cell's needs them.
HUB_VARIABLES: Final = frozenset(
    {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "HUGGINGFACEHUB_API_TOKEN", "TUNEMATRIX_HUB"}
)
CREDENTIALS: Final = re.compile(r"://([^\s/?#\"'<>\\]+)@")
# Short names in small letters, such as hf_quantizer, are words of the stack.
HUB_TOKEN: Final = re.compile(r"hf_(?:[a-z]*[A-Z0-9][A-Za-z0-9]*|[a-z]{20,})")
MIN_HUB_TOKEN: Final = len("hf_") + 8
MAX_PENDING: Final = 2**16  # bytes of an unfinished line to hold back
OVERLAP: Final = 2**12  # bytes to hold back of a longer line: more than a secret has
ESCAPES: Final[tuple[Callable[[str], str], ...]] = (
    lambda text: repr(text)[1:-1],
    lambda text: repr(text.encode(errors="surrogateescape"))[2:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: quote(text, errors="surrogateescape"),
    lambda text: quote(text, safe="", errors="surrogateescape"),
    lambda text: quote_plus(text, errors="surrogateescape"),
    html.escape,
)
_added: set[str] = set()
_kept: list[tuple[str, ...]] = []  # of ``unchanged``


def mask(text: str) -> str:
    """``text`` with every secret replaced by ``***``."""
    return _mask(text, _current_forms()) if len(text) >= MIN_LENGTH else text


def mask_all(value: Any) -> Any:
    """A copy of JSON-like data in which every text is masked."""
    return _mask_all(value, _current_forms())


def _mask(text: str, forms: Iterable[str]) -> str:
    for form in forms:
        if form in text:
            text = text.replace(form, MASK)
    if "://" in text:
        text = CREDENTIALS.sub(f"://{MASK}@", text)
    if "hf_" in text:
        text = HUB_TOKEN.sub(lambda match: MASK if len(match[0]) >= MIN_HUB_TOKEN else match[0], text)
    return text


def _mask_all(value: Any, forms: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _mask(value, forms) if len(value) >= MIN_LENGTH else value
    if isinstance(value, Mapping):
        return {_mask_all(key, forms): _mask_all(item, forms) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mask_all(item, forms) for item in value)
    return value


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Look for secrets once for all texts in the block, in which no variable and no ``add`` brings another.

    Going over the environment takes ten times as long as masking a short text.
    """
    _kept.append(_current_forms())
    try:
        yield
    finally:
        _kept.pop()


def _current_forms() -> tuple[str, ...]:
    if _kept:
        return _kept[-1]
    return _forms_of_all(tuple(os.environ.items()), frozenset(_added))


def mask_file(path: Path) -> None:
    """Mask the text in the file ``path``, if there is one."""
    if not path.is_file():
        return
    masked = path.with_name(f"{path.name}.masked")
    with path.open("rb") as source, masked.open("wb") as target:
        lines = LineMasker(target.write)
        while chunk := source.read(MAX_PENDING):
            lines.feed(chunk)
        lines.flush()
    masked.replace(path)


def add(secret: str) -> None:
    """Mask ``secret`` from now on, wherever it came from."""
    if len(secret.strip()) >= MIN_LENGTH:
        _added.add(secret)


def add_values(content: Any) -> None:
    """Mask from now on what stands under a key such as ``token`` in parsed YAML."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(value, str) and is_secret_name(str(key)) and "${" not in value:
                add(value)
            add_values(value)
    elif isinstance(content, list):
        for item in content:
            add_values(item)


def add_files(folder: Path) -> None:
    """Mask from now on the tokens in the YAML files of ``folder``."""
    for path in sorted(folder.glob("*.yaml")):
        with contextlib.suppress(UnreadableError):  # a message about such a file shows nothing of it
            add_values(parse_yaml(read_text(path), path, allow_nan=True))


def is_secret_name(name: str) -> bool:
    """Whether a variable or key of this name holds a secret."""
    return SECRET_NAME.search(name) is not None


def environment_of_tools() -> dict[str, str]:
    """The environment for programs that this project starts, other than cells: without the Hub's secrets."""
    return {name: value for name, value in os.environ.items() if name not in HUB_VARIABLES}


def clean_token(token: str) -> str:
    """``token`` without the white space around it.

    Raises ``ValueError``, without the token, if it has characters that an HTTP header cannot carry.
    """
    token = token.strip()
    if not all("!" <= character <= "~" for character in token):
        raise ValueError("the token has white space, control or non-ASCII characters inside; copy it again")
    return token


@functools.lru_cache(maxsize=4)
def _forms_of_all(environment: tuple[tuple[str, str], ...], added: frozenset[str]) -> tuple[str, ...]:
    """All texts to mask, the longest first, because one may contain another."""
    secrets = set(added)
    for name, value in environment:
        if is_secret_name(name) and len(value.strip()) >= MIN_LENGTH:
            secrets.add(value)
        for credentials in CREDENTIALS.findall(value):
            password = credentials.partition(":")[2] or credentials
            secrets |= {password, unquote(password)}
    forms = {form for secret in secrets for form in _forms(secret)}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _forms(secret: str) -> set[str]:
    """The texts in which ``secret`` can appear: whole or line by line, as it is or escaped, also twice."""
    forms = {secret.strip(), " ".join(secret.split()), *(line.strip() for line in secret.splitlines())}
    for _ in range(2):
        forms |= {escape(form) for form in forms for escape in ESCAPES}
    return {form for form in forms if len(form) >= (MIN_DIGITS if form.isdigit() else MIN_LENGTH)}


class LineMasker:
    """Masks a stream of bytes line by line; holds back only the unfinished last line, up to a limit."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        encoding: str = "utf-8",
        clean: Callable[[str], str] = mask,
    ) -> None:
        self._write = write
        self._encoding = encoding
        self._clean = clean
        self._pending = bytearray()

    def feed(self, data: bytes) -> None:
        """Write the lines that ``data`` completes."""
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            end += len(self._pending)
        self._pending += data
        if end:
            self._write(self._masked(self._pending[:end]))
            del self._pending[:end]
        if len(self._pending) > MAX_PENDING:
            masked = self._masked(self._pending)
            self._write(masked[:-OVERLAP])
            self._pending = bytearray(masked[-OVERLAP:])

    def flush(self) -> None:
        """Write the unfinished line as it is."""
        if self._pending:
            self._write(self._masked(self._pending))
            self._pending.clear()

    def _masked(self, data: bytearray) -> bytes:
        text = data.decode(self._encoding, "surrogateescape")
        return self._clean(text).encode(self._encoding, "surrogateescape")
