"""Download model repositories, whole or in part, and verify every byte.

``huggingface_hub`` compares only sizes, in all its releases, and so stores a damaged file under the right
name. Therefore each file's size and content hash are compared here with what the Hub lists.
"""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TypeVar

from tunematrix.pipeline.config import DownloadConfig, DownloadEntry
from tunematrix.pipeline.errors import ConfigError, HubError
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.suggest import did_you_mean

STAGING: Final = ".tunematrix-incoming"  # so that it is nobody else's folder
CHUNK: Final = 1024 * 1024
API_TIMEOUT: Final = 30.0  # seconds; no client bounds this call by itself
MAX_WAIT: Final = 30.0  # seconds between two attempts
PERMANENT_ERRORS: Final = {
    "RepositoryNotFoundError": "no such repository, or a private one and no valid token",
    "GatedRepoError": "the repository is gated: accept its terms on the Hub, then set HF_TOKEN",
    "DisabledRepoError": "the repository was disabled upstream",
    "RevisionNotFoundError": "no such revision",
    "EntryNotFoundError": "no such file",
    "RemoteEntryNotFoundError": "no such file",
    "LocalTokenNotFoundError": "a token is needed: set HF_TOKEN",
}

Result = TypeVar("Result")
Token = str | Literal[False]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file as the Hub lists it; ``sha256`` for LFS files, else git's blob id in ``oid``."""

    name: str
    size: int
    oid: str
    sha256: str | None

    def problem(self, path: Path) -> str | None:
        """What is wrong with the file at ``path``, or None."""
        if not path.is_file():
            return "missing"
        if (size := path.stat().st_size) != self.size:
            return f"{size:,} bytes instead of {self.size:,}"
        digest = (
            hashlib.sha256()
            if self.sha256
            else hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        )
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != (self.sha256 or self.oid):
            return "its content hash differs"
        return None


def download(config: DownloadConfig, trace: Trace) -> None:
    """Download what is missing or damaged of each repository; raises ``HubError`` and ``ConfigError``."""
    token: Token = config.huggingface.token or False  # False: the client does not read the user's token file
    fetched = 0
    for entry in config.models:
        fetched += _download_repo(entry, token, config.retries, trace)
    trace.add_number("fetched", fetched)


def _download_repo(entry: DownloadEntry, token: Token, retries: int, trace: Trace) -> int:
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()

    def request_info() -> Any:
        return HfApi().model_info(
            entry.repo, revision=entry.revision, files_metadata=True, timeout=API_TIMEOUT, token=token
        )

    info = _with_retries(request_info, f"{entry.repo}@{entry.revision}", retries)
    missing = [
        file
        for file in select_files(list(_list_files(info)), entry)
        if file.problem(entry.output_dir / file.name)
    ]
    for file in missing:
        fetch = partial(_fetch, file, entry, str(info.sha), token)
        _with_retries(fetch, f"{entry.repo}/{file.name}", retries)
    shutil.rmtree(entry.output_dir / STAGING, ignore_errors=True)
    trace.add_number("revision", str(info.sha))
    print(f"{entry.repo}@{info.sha[:12]}: {len(missing)} files fetched, all verified, in {entry.output_dir}")
    return len(missing)


def _fetch(file: RemoteFile, entry: DownloadEntry, commit: str, token: Token) -> None:
    """Download one file to a staging folder, verify it, and only then move it to its target."""
    from huggingface_hub import hf_hub_download

    staging = entry.output_dir / STAGING
    staged = Path(hf_hub_download(entry.repo, file.name, revision=commit, local_dir=staging, token=token))
    if problem := file.problem(staged):
        # The client resumes a partial file by its length alone and trusts its metadata files: delete all.
        shutil.rmtree(staging)
        raise DamagedError(f"{file.name} arrived damaged: {problem}; deleted")
    target = entry.output_dir / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    verified = staging / "verified"
    shutil.move(staged.resolve(), verified)  # clients before 0.23 leave a link into their cache here
    verified.replace(target)


def _list_files(info: Any) -> Iterator[RemoteFile]:
    for sibling in info.siblings:
        lfs = sibling.lfs
        sha256 = lfs["sha256"] if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
        path = PurePosixPath(sibling.rfilename)
        if path.is_absolute() or ".." in path.parts or "\\" in sibling.rfilename:
            raise HubError(f"the Hub lists a file outside of the repository: {sibling.rfilename!r}; refused")
        yield RemoteFile(name=sibling.rfilename, size=sibling.size, oid=sibling.blob_id, sha256=sha256)


def select_files(files: list[RemoteFile], entry: DownloadEntry) -> list[RemoteFile]:
    """The files that ``entry`` names, sorted by name.

    Raises ``ConfigError`` for a name that matches no file, and when nothing is selected; for a pattern
    that matches no file it prints a warning.
    """
    names = sorted(file.name for file in files)
    selected = set(names)
    if entry.files is not None:
        selected = set()
        for pattern in entry.files:
            matches = fnmatch.filter(names, pattern)
            if not matches and not any(wildcard in pattern for wildcard in "*?["):
                raise ConfigError(f"{entry.repo} has no file '{pattern}'{did_you_mean(pattern, names)}")
            if not matches:
                print(f"{entry.repo}: no file matches '{pattern}'", file=sys.stderr)
            selected.update(matches)
        if not selected:
            raise ConfigError(
                f"{entry.repo}: no file matches {', '.join(entry.files)}; it has {', '.join(names)}"
            )
    return sorted((file for file in files if file.name in selected), key=lambda file: file.name)


class DamagedError(Exception):
    """A downloaded file differs from what the Hub lists; worth another attempt."""


def _with_retries(action: Callable[[], Result], target: str, retries: int) -> Result:
    """Call ``action``, up to ``retries`` more times after transient errors; raises ``HubError``."""
    for attempt in range(retries + 1):
        try:
            return action()
        except Exception as error:
            reason = explain(error)
            if attempt == retries or not is_transient(error):
                raise HubError(f"{target}: {reason}") from error
            wait = min(retry_after(error) or 2.0**attempt / 2, MAX_WAIT)
            print(f"{target}: {reason}; trying again in {wait:.1f} s", file=sys.stderr)
            time.sleep(wait)
    raise AssertionError("unreachable")


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: clients raise ``LocalEntryNotFoundError`` and chain the real error to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def http_status(error: BaseException) -> int | None:
    """The HTTP status behind an error, if there was a response."""
    for cause in causes(error):
        code = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(code, int):
            return code
    return None


def retry_after(error: BaseException) -> float | None:
    """The wait in seconds that the Hub requested with ``Retry-After``."""
    for cause in causes(error):
        value = getattr(getattr(cause, "response", None), "headers", {}).get("Retry-After", "")
        if value.isascii() and value.isdigit():
            return float(value)
    return None


def is_transient(error: BaseException) -> bool:
    """Whether another attempt makes sense: not for wrong names, refusals and programming errors."""
    names = {type(cause).__name__ for cause in causes(error)}
    if names & PERMANENT_ERRORS.keys():
        return False
    if (code := http_status(error)) is not None:
        return code in (408, 425, 429) or code >= 500
    # OSError covers sockets, requests' errors and "Consistency check failed"; httpx has its own classes.
    return any(
        isinstance(cause, (OSError, DamagedError)) or type(cause).__module__.startswith(("httpx", "httpcore"))
        for cause in causes(error)
    )


def explain(error: BaseException) -> str:
    """One line for people: the reason of a permanent error, the HTTP status, or the deepest cause."""
    chain = list(causes(error))
    for cause in chain:
        if reason := PERMANENT_ERRORS.get(type(cause).__name__):
            return reason
    if (code := http_status(error)) is not None:
        return f"the Hub answered {code}"
    deepest = chain[-1]
    return f"{type(deepest).__name__}: {' '.join(str(deepest).split()) or 'no message'}"
