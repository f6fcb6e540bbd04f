"""The package index: one bounded request per package, and what its answer proves.

An answer that is not an index page (a login page, an error of a proxy, garbage) proves nothing about a
package and is an ``InfrastructureError``. Only a 404 from an index that works means "no such package".
"""

from __future__ import annotations

import datetime
import http.client
import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from packaging.utils import InvalidName, canonicalize_name

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.shared import reading
from tunematrix.shared.secrets import mask

CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 30  # until the next bytes of an answer
TOTAL_SECONDS: Final = 120  # for a whole answer, because slow bytes reset the other limits
MAX_BYTES: Final = 32 * 2**20  # unpacked; the largest pages on PyPI have 2 MB
JSON: Final = "application/vnd.pypi.simple.v1+json"
HTML: Final = ("application/vnd.pypi.simple.v1+html", "text/html")
FILE_LINK: Final = re.compile(rb"\.(?:whl|tar\.gz|zip|tar\.bz2|egg)[\"'#?<]", re.IGNORECASE)
REQUEST_ERRORS: Final = (OSError, ValueError)  # what ``_request`` and ``parse`` raise


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of a release; ``uploaded`` is in UTC, and None if the index does not report it (PEP 700)."""

    name: str
    uploaded: datetime.datetime | None
    yanked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: bytes = b""


def files(index_url: str | None, package: str) -> tuple[File, ...] | None:
    """The files of ``package`` on the index, PyPI by default; None if the index has no such package.

    An index that answers in HTML reports no upload times: one nameless file stands for all of a page's.
    Raises ``InfrastructureError`` if the index cannot be reached or its answer is not an index page,
    ``UsageError`` for a text that cannot be the name of a package.
    """
    from pypi_simple import PYPI_SIMPLE_ENDPOINT  # slow to import, and seldom needed

    root = f"{(index_url or PYPI_SIMPLE_ENDPOINT).rstrip('/')}/"
    try:
        page = f"{root}{canonicalize_name(package, validate=True)}/"
    except InvalidName:
        raise UsageError(f"{package!r} is not the name of a package") from None
    try:
        answer = _answer("GET", page)
        if answer.status == 404 and _answer("HEAD", root).status != 404:
            return None
        return parse(answer)
    except REQUEST_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise InfrastructureError(
            mask(f"the package index {root} cannot list {package}: {reason}")
            + "; check UV_DEFAULT_INDEX, the proxy and the network"
        ) from None


def _answer(method: str, url: str) -> Answer:
    """The answer to a request, with a limit for the whole of it; raises ``REQUEST_ERRORS``.

    The thread of a request that exceeds the limit goes on, but keeps nobody waiting.
    """
    future: Future[Answer] = Future()

    def work() -> None:
        try:
            future.set_result(_request(method, url))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return future.result(TOTAL_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"no complete answer in {TOTAL_SECONDS} s") from None


def _request(method: str, url: str) -> Answer:
    import requests  # slow to import, and few commands need the index
    import urllib3

    options: Any = {
        "headers": {"Accept": ", ".join([JSON, f"{HTML[0]};q=0.2", f"{HTML[1]};q=0.1"])},
        "timeout": (CONNECT_SECONDS, READ_SECONDS),
        "stream": True,
        "verify": _certificates(),
    }
    try:
        with requests.Session() as session, session.request(method, url, **options) as response:
            body = bytearray()
            for chunk in response.iter_content(2**16):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"an answer of more than {MAX_BYTES // 2**20} MB")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return Answer(status=response.status_code, content_type=kind, body=bytes(body))
    # The errors of requests are OSErrors; some of the libraries below it pass through.
    except (urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        raise OSError(str(error) or type(error).__name__) from None


def _certificates() -> str | None:
    """The file of the certificates to trust, if one is set; uv, which installs, honours ``SSL_CERT_FILE``."""
    names = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def parse(answer: Answer) -> tuple[File, ...]:
    """The files on the page of a package; raises ``ValueError`` if it is not an index page."""
    if answer.status != 200:
        raise ValueError(f"it answers with HTTP status {answer.status}")
    if answer.content_type == JSON:
        return _parse_json(answer.body)
    if answer.content_type not in HTML:
        raise ValueError(f"an answer of the type {answer.content_type!r}, not an index page")
    if not FILE_LINK.search(answer.body):
        raise ValueError("an HTML page without files, such as a login page, not an index page")
    return (File(name="", uploaded=None),)


def _parse_json(body: bytes) -> tuple[File, ...]:
    """The files on a JSON page (PEP 691)."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ValueError("its answer is not UTF-8 text") from None
    content = reading.parse_json(text, "its answer")
    version = _get(_get(content, "meta", Mapping), "api-version", str)
    if not version.startswith("1."):
        raise ValueError(f"version {version!r} of the index protocol, not 1.x")
    return tuple(_parse_file(entry) for entry in _get(content, "files", list))


def _parse_file(entry: Any) -> File:
    time = entry.get("upload-time") if isinstance(entry, Mapping) else None
    name = _get(entry, "filename", str)
    # "yanked" is a flag or a reason, which may be empty.
    yanked = entry.get("yanked", False) not in (False, None)
    return File(name=name, uploaded=None if time is None else _parse_time(time), yanked=yanked)


def _parse_time(value: Any) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(value)
        return time.astimezone(datetime.UTC) if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"an upload-time of {value!r}"[:100]) from None


def _get(content: Any, key: str, kind: type[Any]) -> Any:
    """The value of ``key``; raises ``ValueError`` if it is missing or of another type."""
    value = content.get(key) if isinstance(content, Mapping) else None
    if isinstance(value, kind):
        return value
    raise ValueError(f"a JSON answer without a valid '{key}', not an index page")
