"""The Hub's protocol as pure functions: parse the URL of a request, build the JSON of its response.

Every rule here was measured with twelve client versions from 0.20 to 2.4; docs/hub.md lists the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tunematrix.hub.store import Blob, Repo

EPOCH: Final = "2024-01-01T00:00:00.000Z"  # fixed, so that responses are the same on every machine
ACTIONS: Final = {"revision", "tree", "paths-info", "refs", "commits", "auth-check"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A parsed request: an ``action`` on a repository, at a revision, for a path."""

    action: str
    repo: str = ""
    revision: str = "main"
    path: str = ""
    query: dict[str, list[str]]


@dataclass(kw_only=True, eq=False)
class ErrorResponse(Exception):
    """An error to send as response. The clients look at ``code``, not at the status (docs/hub.md)."""

    status: int
    code: str
    message: str


def parse(target: str, prefix: str = "") -> Request:
    """Parse a raw request target.

    The revision is one encoded segment (``refs%2Fpr%2F1``) and file paths keep their slashes, so the
    raw path is split before its parts are unquoted. Raises ``ErrorResponse`` for anything unknown.
    """
    url = urlsplit(target)
    raw = url.path.removeprefix(prefix).strip("/")
    query = parse_qs(url.query, keep_blank_values=True)
    parts = [unquote(part) for part in raw.split("/")]
    if parts[:2] == ["api", "models"]:
        return _parse_api(parts[2:], query)
    if parts == ["api", "whoami-v2"]:
        return Request(action="whoami", query=query)
    for length in (1, 2):  # of the repository's name: NAME or ORG/NAME
        if len(parts) > length + 2 and parts[length] == "resolve":
            return Request(
                action="resolve",
                repo="/".join(parts[:length]),
                revision=parts[length + 1],
                path="/".join(parts[length + 2 :]),
                query=query,
            )
    raise ErrorResponse(status=404, code="NotFound", message=f"no such page: {url.path}")


def _parse_api(parts: list[str], query: dict[str, list[str]]) -> Request:
    if not parts or parts == [""]:
        return Request(action="list", query=query)
    length = next((size for size in (1, 2) if len(parts) > size and parts[size] in ACTIONS), len(parts))
    if length > 2:
        raise ErrorResponse(status=404, code="NotFound", message="no such page")
    name, rest = "/".join(parts[:length]), parts[length:]
    action = rest[0] if rest else "info"
    revision = rest[1] if len(rest) > 1 else "main"
    action = "info" if action == "revision" else action
    return Request(action=action, repo=name, revision=revision, path="/".join(rest[2:]), query=query)


def find_repo(repos: dict[str, Repo], request: Request, *, token: bool) -> Repo:
    """The requested repository; raises ``ErrorResponse`` if it or the revision does not exist.

    Without a token upstream answers 401 for a repository that does not exist, since it may be private.
    """
    if not (repo := repos.get(request.repo)):
        if token:
            raise ErrorResponse(status=404, code="RepoNotFound", message="Repository not found")
        raise ErrorResponse(status=401, code="RepoNotFound", message="Invalid username or password.")
    if not repo.has_revision(request.revision):
        raise ErrorResponse(
            status=404, code="RevisionNotFound", message=f"Invalid rev id: {request.revision}"
        )
    return repo


def find_blob(repo: Repo, path: str) -> Blob:
    if not (blob := repo.files.get(path)):
        raise ErrorResponse(status=404, code="EntryNotFound", message=f"Entry not found: {path}")
    return blob


def info(repo: Repo, *, blobs: bool) -> dict[str, Any]:
    """The response to ``model_info``; with ``blobs``, also the sizes and ids of the files."""
    siblings = [
        {"rfilename": name, **(_sibling(blob) if blobs else {})} for name, blob in sorted(repo.files.items())
    ]
    return {
        "_id": repo.commit[:24],
        "id": repo.name,
        "modelId": repo.name,
        "author": repo.name.split("/")[0] if "/" in repo.name else None,
        "sha": repo.commit,
        "lastModified": EPOCH,
        "createdAt": EPOCH,
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": ["transformers", "safetensors"],
        "pipeline_tag": "text-generation",
        "library_name": "transformers",
        "siblings": siblings,
    }


def _sibling(blob: Blob) -> dict[str, Any]:
    lfs = {"sha256": blob.sha256, "size": blob.size, "pointerSize": blob.pointer_size}
    return {"size": blob.size, "blobId": blob.oid, **({"lfs": lfs} if blob.sha256 else {})}


def file_entry(name: str, blob: Blob) -> dict[str, Any]:
    """One file in the response to ``tree`` and ``paths-info``."""
    lfs = {"oid": blob.sha256, "size": blob.size, "pointerSize": blob.pointer_size}
    return {
        "type": "file",
        "path": name,
        "size": blob.size,
        "oid": blob.oid,
        **({"lfs": lfs} if blob.sha256 else {}),
    }


def tree(repo: Repo, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """The files below ``folder``; for an unknown folder the error is ``EntryNotFound``, as upstream."""
    prefix = f"{folder}/" if folder else ""
    files = {name: blob for name, blob in sorted(repo.files.items()) if name.startswith(prefix)}
    if not files:
        raise ErrorResponse(status=404, code="EntryNotFound", message=f"{folder} does not exist")
    folders = sorted(
        {
            prefix + "/".join(parents[:depth])
            for name in files
            if (parents := name.removeprefix(prefix).split("/")[:-1])
            for depth in range(1, len(parents) + 1)
        }
    )
    entries: list[dict[str, Any]] = [
        {"type": "directory", "path": name, "size": 0, "oid": repo.commit} for name in folders
    ]
    entries += [file_entry(name, blob) for name, blob in files.items()]
    if recursive:
        return entries
    return [entry for entry in entries if "/" not in entry["path"].removeprefix(prefix)]


def paths_info(repo: Repo, paths: list[str]) -> list[dict[str, Any]]:
    return [file_entry(path, repo.files[path]) for path in paths if path in repo.files]


def refs(repo: Repo) -> dict[str, Any]:
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commit}
    return {"branches": [main], "tags": [], "converts": []}


def commits(repo: Repo) -> list[dict[str, Any]]:
    commit = {"id": repo.commit, "title": "published", "message": "", "authors": [], "date": EPOCH}
    return [commit]


def whoami(*, token: bool) -> dict[str, Any]:
    if not token:
        message = "Invalid credentials in Authorization header"
        raise ErrorResponse(status=401, code="", message=message)
    return {
        "type": "user",
        "name": "tunematrix",
        "fullname": "tunematrix",
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": {"displayName": "local", "role": "read"}},
    }


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """``(first, last)``, both inclusive, of a ``Range`` header; None for the whole file.

    Raises ``ErrorResponse`` 416 if the range starts beyond the end; clients need 206 and 416 to resume.
    """
    unit, _, value = (header or "").partition("=")
    first, dash, last = value.partition("-")
    if unit != "bytes" or not dash or "," in value or not (first + last).isdigit():
        return None  # RFC 9110 allows a server to ignore a range that it does not support
    start, stop = (int(first), int(last or size - 1)) if first else (max(size - int(last), 0), size - 1)
    if start >= size or start > stop:
        raise ErrorResponse(status=416, code="", message="Range Not Satisfiable")
    return start, min(stop, size - 1)
