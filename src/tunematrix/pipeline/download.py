"""Download model repositories, whole or in part, and verify every byte.

The clients of all releases store a damaged file under the right name and never notice (only the size
is compared). So each file's size and content hash are checked here against what the Hub announces.
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

from tunematrix.pipeline import trace
from tunematrix.pipeline.config import Download, Wanted
from tunematrix.pipeline.errors import ConfigError, HubError, nearest

STAGING: Final = ".incoming"
CHUNK: Final = 1024 * 1024
API_TIMEOUT: Final = 30.0  # seconds; no client bounds this call by itself
LONGEST_WAIT: Final = 30.0  # seconds between two tries
WRONG_NAME: Final = {
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
class Remote:
    """A file as the Hub announces it: ``sha256`` for LFS files, else git's blob id in ``oid``."""

    name: str
    size: int
    oid: str
    sha256: str | None

    def problem(self, path: Path) -> str | None:
        """What is wrong with the file at ``path``, or None."""
        if not path.is_file():
            return "missing"
        if (size := path.stat().st_size) != self.size:
            return f"{size:,} bytes in place of {self.size:,}"
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


def download(config: Download, traced: trace.Trace) -> None:
    """Bring every repository of ``config`` up to date; raises ``HubError`` and ``ConfigError``."""
    token: Token = config.huggingface.token or False  # False: the client looks in no file of the user's
    total = 0
    for wanted in config.models:
        total += _download_repo(wanted, token, config.retries, traced)
    traced.number("fetched", total)


def _download_repo(wanted: Wanted, token: Token, retries: int, traced: trace.Trace) -> int:
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()

    def ask() -> Any:
        return HfApi().model_info(
            wanted.repo, revision=wanted.revision, files_metadata=True, timeout=API_TIMEOUT, token=token
        )

    info = _retrying(ask, f"{wanted.repo}@{wanted.revision}", retries)
    missing = [
        remote
        for remote in select(list(_announced(info)), wanted)
        if remote.problem(wanted.output_dir / remote.name)
    ]
    for remote in missing:
        fetch = partial(_fetch, remote, wanted, str(info.sha), token)
        _retrying(fetch, f"{wanted.repo}/{remote.name}", retries)
    shutil.rmtree(wanted.output_dir / STAGING, ignore_errors=True)
    traced.number("revision", str(info.sha))
    print(
        f"{wanted.repo}@{info.sha[:12]}: {len(missing)} files fetched, all verified, in {wanted.output_dir}"
    )
    return len(missing)


def _fetch(remote: Remote, wanted: Wanted, commit: str, token: Token) -> None:
    """Fetch one file beside its place, verify it, and only then move it there."""
    from huggingface_hub import hf_hub_download

    staging = wanted.output_dir / STAGING
    arrived = Path(hf_hub_download(wanted.repo, remote.name, revision=commit, local_dir=staging, token=token))
    if problem := remote.problem(arrived):
        # The client resumes a part by its length alone and believes its own notes: forget everything.
        shutil.rmtree(staging)
        raise DamagedError(f"{remote.name} arrived damaged: {problem}; deleted")
    target = wanted.output_dir / remote.name
    target.parent.mkdir(parents=True, exist_ok=True)
    verified = staging / "verified"
    shutil.move(arrived.resolve(), verified)  # clients before 0.23 leave a link into their cache here
    verified.replace(target)


def _announced(info: Any) -> Iterator[Remote]:
    for sibling in info.siblings:
        lfs = sibling.lfs
        sha256 = lfs["sha256"] if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
        path = PurePosixPath(sibling.rfilename)
        if path.is_absolute() or ".." in path.parts or "\\" in sibling.rfilename:
            raise HubError(
                f"the Hub announces a file outside of the repository: {sibling.rfilename!r}; refused"
            )
        yield Remote(name=sibling.rfilename, size=sibling.size, oid=sibling.blob_id, sha256=sha256)


def select(files: list[Remote], wanted: Wanted) -> list[Remote]:
    """The files that ``wanted`` names, sorted.

    Raises ``ConfigError`` for a name that is not there, and when nothing at all is left; a pattern that
    matches nothing is only told.
    """
    names = sorted(remote.name for remote in files)
    chosen = set(names)
    if wanted.files is not None:
        chosen = set()
        for pattern in wanted.files:
            matched = fnmatch.filter(names, pattern)
            if not matched and not any(sign in pattern for sign in "*?["):
                raise ConfigError(f"{wanted.repo} has no file '{pattern}'{nearest(pattern, names)}")
            if not matched:
                print(f"{wanted.repo}: no file matches '{pattern}'", file=sys.stderr)
            chosen.update(matched)
        if not chosen:
            raise ConfigError(
                f"{wanted.repo}: no file matches {', '.join(wanted.files)}; it has {', '.join(names)}"
            )
    return sorted((remote for remote in files if remote.name in chosen), key=lambda remote: remote.name)


class DamagedError(Exception):
    """What arrived is not what the Hub announced; worth another try."""


def _retrying(action: Callable[[], Result], what: str, retries: int) -> Result:
    """Call ``action`` up to ``retries`` more times while its fault may pass; raises ``HubError``."""
    for attempt in range(retries + 1):
        try:
            return action()
        except Exception as error:
            reason = explain(error)
            if attempt == retries or not may_pass(error):
                raise HubError(f"{what}: {reason}") from error
            wait = min(retry_after(error) or 2.0**attempt / 2, LONGEST_WAIT)
            print(f"{what}: {reason}; again in {wait:.1f} s", file=sys.stderr)
            time.sleep(wait)
    raise AssertionError("unreachable")


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: clients show ``LocalEntryNotFoundError`` and hide the fault behind it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def status(error: BaseException) -> int | None:
    """The HTTP status behind an error, if there was an answer."""
    for cause in chain(error):
        code = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(code, int):
            return code
    return None


def retry_after(error: BaseException) -> float | None:
    """The wait in seconds that the Hub asked for."""
    for cause in chain(error):
        value = getattr(getattr(cause, "response", None), "headers", {}).get("Retry-After", "")
        if value.isdigit():
            return float(value)
    return None


def may_pass(error: BaseException) -> bool:
    """Whether trying again makes sense: not for wrong names, refusals and mistakes in code."""
    names = {type(cause).__name__ for cause in chain(error)}
    if names & WRONG_NAME.keys():
        return False
    if (code := status(error)) is not None:
        return code in (408, 425, 429) or code >= 500
    # OSError covers sockets, requests' errors and "Consistency check failed"; httpx's are told by module.
    return any(
        isinstance(cause, (OSError, DamagedError)) or type(cause).__module__.startswith(("httpx", "httpcore"))
        for cause in chain(error)
    )


def explain(error: BaseException) -> str:
    """One line for people: the known reason, or the deepest cause."""
    causes = list(chain(error))
    for cause in causes:
        if reason := WRONG_NAME.get(type(cause).__name__):
            return reason
    if (code := status(error)) is not None:
        return f"the Hub answered {code}"
    deepest = causes[-1]
    return f"{type(deepest).__name__}: {' '.join(str(deepest).split()) or 'no message'}"
