"""The Hub's language, as pure functions: what a URL asks for and what the JSON answers look like.

Every rule here was measured against twelve client versions from 0.20 to 2.4; docs/hub.md tells which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tunematrix.hub.store import Blob, Repo

EPOCH: Final = "2024-01-01T00:00:00.000Z"  # fixed, so that answers are the same on every machine
VERBS: Final = {"revision", "tree", "paths-info", "refs", "commits", "auth-check"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One request, taken apart: ``verb`` of a repository, at a revision, for a path."""

    verb: str
    repo: str = ""
    revision: str = "main"
    path: str = ""
    query: dict[str, list[str]]


@dataclass(kw_only=True, eq=False)
class Refusal(Exception):
    """An error answer. The clients decide by ``code``, not by the status (docs/hub.md)."""

    status: int
    code: str
    message: str


def parse(target: str, prefix: str = "") -> Ask:
    """Take a raw request target apart.

    The revision is one encoded segment (``refs%2Fpr%2F1``) and file paths keep their slashes, so the
    RAW path is split first and the parts unquoted after. Raises ``Refusal`` for anything unknown.
    """
    url = urlsplit(target)
    raw = url.path.removeprefix(prefix).strip("/")
    query = parse_qs(url.query, keep_blank_values=True)
    parts = [unquote(part) for part in raw.split("/")]
    if parts[:2] == ["api", "models"]:
        return _api(parts[2:], query)
    if parts == ["api", "whoami-v2"]:
        return Ask(verb="whoami", query=query)
    for cut in (1, 2):
        if len(parts) > cut + 2 and parts[cut] == "resolve":
            return Ask(
                verb="resolve",
                repo="/".join(parts[:cut]),
                revision=parts[cut + 1],
                path="/".join(parts[cut + 2 :]),
                query=query,
            )
    raise Refusal(status=404, code="NotFound", message=f"no such page: {url.path}")


def _api(parts: list[str], query: dict[str, list[str]]) -> Ask:
    if not parts or parts == [""]:
        return Ask(verb="list", query=query)
    cut = next((at for at in (1, 2) if len(parts) > at and parts[at] in VERBS), len(parts))
    if cut > 2:
        raise Refusal(status=404, code="NotFound", message="no such page")
    name, rest = "/".join(parts[:cut]), parts[cut:]
    verb = rest[0] if rest else "info"
    revision = rest[1] if len(rest) > 1 else "main"
    verb = "info" if verb == "revision" else verb
    return Ask(verb=verb, repo=name, revision=revision, path="/".join(rest[2:]), query=query)


def find_repo(repos: dict[str, Repo], ask: Ask, *, token: bool) -> Repo:
    """The repository at the revision asked for, or the refusal that the client's errors need.

    Without a token upstream answers 401 for a repository that does not exist: it may be private.
    """
    if not (repo := repos.get(ask.repo)):
        if token:
            raise Refusal(status=404, code="RepoNotFound", message="Repository not found")
        raise Refusal(status=401, code="RepoNotFound", message="Invalid username or password.")
    if not repo.has(ask.revision):
        raise Refusal(status=404, code="RevisionNotFound", message=f"Invalid rev id: {ask.revision}")
    return repo


def find_blob(repo: Repo, path: str) -> Blob:
    if not (blob := repo.files.get(path)):
        raise Refusal(status=404, code="EntryNotFound", message=f"Entry not found: {path}")
    return blob


def info(repo: Repo, *, blobs: bool) -> dict[str, Any]:
    """The answer of ``model_info``; with ``blobs``, also sizes and ids of the files."""
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


def entry(name: str, blob: Blob) -> dict[str, Any]:
    """One file as ``tree`` and ``paths-info`` show it."""
    lfs = {"oid": blob.sha256, "size": blob.size, "pointerSize": blob.pointer_size}
    return {
        "type": "file",
        "path": name,
        "size": blob.size,
        "oid": blob.oid,
        **({"lfs": lfs} if blob.sha256 else {}),
    }


def tree(repo: Repo, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
    """The files below ``folder``; a folder that does not exist is a missing entry, as upstream."""
    start = f"{folder}/" if folder else ""
    below = {name: blob for name, blob in sorted(repo.files.items()) if name.startswith(start)}
    if not below:
        raise Refusal(status=404, code="EntryNotFound", message=f"{folder} does not exist")
    folders = sorted(
        {
            start + "/".join(parents[:depth])
            for name in below
            if (parents := name.removeprefix(start).split("/")[:-1])
            for depth in range(1, len(parents) + 1)
        }
    )
    shown: list[dict[str, Any]] = [
        {"type": "directory", "path": name, "size": 0, "oid": repo.commit} for name in folders
    ]
    shown += [entry(name, blob) for name, blob in below.items()]
    if recursive:
        return shown
    return [row for row in shown if "/" not in row["path"].removeprefix(start)]


def paths_info(repo: Repo, paths: list[str]) -> list[dict[str, Any]]:
    return [entry(path, repo.files[path]) for path in paths if path in repo.files]


def refs(repo: Repo) -> dict[str, Any]:
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commit}
    return {"branches": [main], "tags": [], "converts": []}


def commits(repo: Repo) -> list[dict[str, Any]]:
    only = {"id": repo.commit, "title": "published", "message": "", "authors": [], "date": EPOCH}
    return [only]


def whoami(*, token: bool) -> dict[str, Any]:
    if not token:
        message = "Invalid credentials in Authorization header"
        raise Refusal(status=401, code="", message=message)
    return {
        "type": "user",
        "name": "tunematrix",
        "fullname": "tunematrix",
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": {"displayName": "local", "role": "read"}},
    }


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """``(first, last)``, both inclusive, of a ``Range`` header; None for the whole file.

    Raises ``Refusal`` 416 when it starts beyond the end: 206 and 416 are what a resume needs.
    """
    unit, _, span = (header or "").partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or "," in span or not (first + last).isdigit():
        return None  # what is not understood is ignored, as the RFC asks
    start, stop = (int(first), int(last or size - 1)) if first else (max(size - int(last), 0), size - 1)
    if start >= size or start > stop:
        raise Refusal(status=416, code="", message="Range Not Satisfiable")
    return start, min(stop, size - 1)
