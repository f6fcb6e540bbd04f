"""GitHub's REST API: the few requests that comments, issues and proposals take, for one repository.

The token goes to the configured API and nowhere else: redirects are not followed, and ``.netrc`` is not read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.shared import reading
from tunematrix.shared.lines import one_line
from tunematrix.shared.secrets import clean_token

DEFAULT_URL: Final = "https://api.github.com"
LOCAL: Final = ("127.0.0.1", "localhost", "::1")  # hosts to which a token may go unencrypted
REPOSITORY: Final = re.compile(r"[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}")
TIMEOUTS: Final = (10, 30)  # seconds to connect, and until the next bytes
ATTEMPTS: Final = 3  # after the first
LONGEST_WAIT: Final = 120  # seconds that the API may ask us to wait
REPEATABLE: Final = frozenset({"GET", "PATCH"})  # twice is as once
PAGE: Final = 100  # entries, the most that the API gives at once
MAX_PAGES: Final = 50
HINTS: Final = {
    401: "it does not accept the token; pass the job's own as GITHUB_TOKEN",
    403: "the token has no right to do this; the job needs 'pull-requests: write', 'statuses: write' and "
    "'actions: read' in its permissions, and for issues 'issues: write'",
    404: "there is no such thing, or the token must not see it; check GITHUB_REPOSITORY and the permissions",
    422: "it refuses the content",
}
T = TypeVar("T")


class _Retries(urllib3.Retry):
    """Waits as the API asks, and repeats a write only if the first had no effect."""

    RETRY_AFTER_STATUS_CODES = frozenset({403, 429, 503})

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:  # noqa: FBT001, FBT002  # urllib3's
        limited = has_retry_after and status_code in self.RETRY_AFTER_STATUS_CODES
        return bool(self.total) and (limited or (status_code >= 500 and method in REPEATABLE))

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        seconds = super().get_retry_after(response)
        if seconds and seconds > LONGEST_WAIT:
            raise InfrastructureError(
                f"the API allows no request for {seconds:.0f} s; run this job again then"
            )
        return seconds


class _Bearer(requests.auth.AuthBase):
    """The token in the header of each request; requests then looks for no other, such as in ``.netrc``."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Api:
    """The API below ``/repos/OWNER/NAME``."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise UsageError(f"GITHUB_API_URL {url!r}: no https URL; GitHub sets it in every job")
        if not REPOSITORY.fullmatch(repository):
            raise UsageError(f"GITHUB_REPOSITORY {repository!r}: not OWNER/NAME; GitHub sets it in every job")
        self.root = f"{url.rstrip('/')}/repos/{repository}"
        self._session = requests.Session()
        self._session.auth = _Bearer(token)
        self._session.headers["Accept"] = "application/vnd.github+json"
        self._session.headers["X-GitHub-Api-Version"] = "2022-11-28"
        retries = _Retries(
            total=ATTEMPTS, backoff_factor=1, allowed_methods=REPEATABLE, raise_on_status=False, redirect=0
        )
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retries))

    @classmethod
    def from_environment(cls) -> Api:
        """The API that a job on GitHub names, or one on GitHub Enterprise; raises ``UsageError``."""
        try:
            token = clean_token(os.environ.get("GITHUB_TOKEN", ""))
        except ValueError as error:
            raise UsageError(f"GITHUB_TOKEN: {error}") from None
        if not token:
            raise UsageError(
                "GITHUB_TOKEN is not set; in the step, write env: {GITHUB_TOKEN: '${{ github.token }}'}"
            )
        url = os.environ.get("GITHUB_API_URL") or DEFAULT_URL
        return cls(url, os.environ.get("GITHUB_REPOSITORY", ""), token)

    def get(self, path: str, **query: str | int) -> Any:
        return self._request("GET", path, query=query)

    def pages(self, path: str, key: str = "", **query: str | int) -> Iterator[dict[str, Any]]:
        """The entries of a list, or of the list ``key`` in an answer, page by page."""
        for page in range(1, MAX_PAGES + 1):
            content = self.get(path, **query, per_page=PAGE, page=page)
            entries = content.get(key) if key and isinstance(content, dict) else content
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise InfrastructureError(f"{self.root}/{path}: the answer is no list; run this job again")
            yield from entries
            if len(entries) < PAGE:
                return

    def post(self, path: str, content: Mapping[str, Any]) -> None:
        self._request("POST", path, content)

    def patch(self, path: str, content: Mapping[str, Any]) -> bool:
        """Change what is at ``path``; false if nothing is there."""
        return self._request("PATCH", path, content, allow_missing=True) is not None

    def _request(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        *,
        query: dict[str, str | int] | None = None,
        allow_missing: bool = False,
    ) -> Any:
        """The content of the answer; None for a 404 with ``allow_missing``.

        Raises ``UsageError`` if the API refuses, ``InfrastructureError`` if it cannot be reached, is out of
        order or asks to wait too long.
        """
        where = f"{method} {self.root}/{path}"
        try:
            response = self._session.request(
                method,
                f"{self.root}/{path}",
                params=query,
                json=content,
                timeout=TIMEOUTS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise InfrastructureError(
                one_line(f"{where}: no answer: {type(error).__name__}: {error}")
            ) from None
        if allow_missing and response.status_code == 404:
            return None
        _check(response, where)
        try:
            return reading.parse_json(response.text, where)
        except ValueError as error:
            raise InfrastructureError(f"{error}; something between here and the API answers for it") from None


def _check(response: requests.Response, where: str) -> None:
    """Raise an error for every status but those of success."""
    status = response.status_code
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise UsageError(f"{where}: redirected, which is not followed; check GITHUB_API_URL and the name")
    limited = response.headers.get("Retry-After") or response.headers.get("X-RateLimit-Remaining") == "0"
    if status >= 500 or status == 429 or (status == 403 and limited):
        reason = "too many requests" if status < 500 else "out of order"
        raise InfrastructureError(f"{where}: HTTP status {status}, {reason}; run this job again later")
    raise UsageError(f"{where}: HTTP status {status}: {HINTS.get(status, 'refused')}{_message(response)}")


def _message(response: requests.Response) -> str:
    """What the API says itself, in a line."""
    try:
        text = reading.parse_json(response.text, "")["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({one_line(str(text))[:200]})"


def again(work: Callable[[], T]) -> T:
    """The result of ``work``, which is repeated once if the API fails in the middle of it."""
    try:
        return work()
    except InfrastructureError:
        return work()
