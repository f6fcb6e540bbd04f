"""The Hub's protocol as pure functions: parse the URL of a request, build the JSON of its response.

Every rule here was measured with twelve client versions from 0.20 to 2.4; docs/hub.md lists the rules.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tunematrix.hub.store import Blob, Repo
from tunematrix.hub.wire import ErrorResponse, parse_size

EPOCH: Final = "2024-01-01T00:00:00.000Z"  # fixed, so that responses are the same on every machine
ACTIONS: Final = {"revision", "tree", "paths-info", "refs", "commits", "auth-check"}
MAX_FIELDS: Final = 10_000  # of a query or a form


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A parsed request: an ``action`` on a repository, at a revision, for a path.

    ``caller`` is the first segment of ``page``, the path as requested, if that starts with ``@``.
    """

    action: str
    repo: str = ""
    revision: str = "main"
    path: str = ""
    query: dict[str, list[str]]
    caller: str = ""
    page: str

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() == "true"


def parse(method: str, target: str) -> Request:
    """Parse a raw request target; raises ``ErrorResponse`` for anything unknown.

    The revision is one encoded segment (``refs%2Fpr%2F1``) and file paths keep their slashes, so the
    raw path is split before its parts are unquoted.
    """
    page, query = _split(target)
    caller, _, rest = page.lstrip("/").partition("/")
    if not caller.startswith("@"):
        caller, rest = "", page
    parts = [unquote(part) for part in rest.strip("/").split("/")]
    action, repo, revision, path = _route(parts)
    if method not in (allowed := ("POST",) if action == "paths-info" else ("GET", "HEAD")):
        raise ErrorResponse(
            status=405, message=f"use {' or '.join(allowed)}", headers={"Allow": ", ".join(allowed)}
        )
    return Request(
        action=action, repo=repo, revision=revision, path=path, query=query, caller=caller[1:], page=page
    )


def _split(target: str) -> tuple[str, dict[str, list[str]]]:
    """The path, without the host that an absolute URL names, and the query."""
    try:
        if target.startswith("/"):
            target = "/" + target.lstrip("/")  # not the name of a host
        elif not target.lower().startswith(("http://", "https://")):
            raise ValueError(target)
        url = urlsplit(target)
        return url.path, parse_qs(url.query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise ErrorResponse(status=400, message="not a valid address") from None


def _route(parts: list[str]) -> tuple[str, str, str, str]:
    """The action, repository, revision and path that the unquoted parts of an address mean."""
    if parts[:2] == ["api", "models"]:
        return _route_api(parts[2:])
    if parts == ["api", "whoami-v2"]:
        return "whoami", "", "main", ""
    for length in (1, 2):  # of the repository's name: NAME or ORG/NAME
        if len(parts) > length + 2 and parts[length] == "resolve":
            return "resolve", "/".join(parts[:length]), parts[length + 1], "/".join(parts[length + 2 :])
    raise ErrorResponse(status=404, code="NotFound", message=f"no such page: {'/'.join(parts)}")


def _route_api(parts: list[str]) -> tuple[str, str, str, str]:
    if not parts:
        return "list", "", "main", ""
    length = next((size for size in (1, 2) if len(parts) > size and parts[size] in ACTIONS), len(parts))
    if length > 2:
        raise ErrorResponse(status=404, code="NotFound", message="no such page")
    name, rest = "/".join(parts[:length]), parts[length:]
    action = rest[0] if rest else "info"
    revision = rest[1] if len(rest) > 1 else "main"
    return "info" if action == "revision" else action, name, revision, "/".join(rest[2:])


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
        raise _no_entry(repo, f"Entry not found: {path}")
    return blob


def _no_entry(repo: Repo, message: str) -> ErrorResponse:
    """With the commit the client caches that the file does not exist, and requests it only once."""
    headers = {"X-Repo-Commit": repo.commit}
    return ErrorResponse(status=404, code="EntryNotFound", message=message, headers=headers)


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
        raise _no_entry(repo, f"{folder} does not exist")
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
    """The files among ``paths``, each once; those that do not exist are left out, as upstream."""
    return [file_entry(path, repo.files[path]) for path in dict.fromkeys(paths) if path in repo.files]


def requested_paths(body: bytes) -> list[str]:
    """The paths of a ``paths-info`` request: clients up to 1.x send a form, from 2.x on JSON."""
    try:
        text = body.decode()
        if text.lstrip().startswith(("{", "[")):
            paths = json.loads(text)["paths"]
        else:
            paths = parse_qs(text, max_num_fields=MAX_FIELDS)["paths"]
        if isinstance(paths, list) and all(isinstance(path, str) for path in paths):
            return paths
    except (ValueError, LookupError, TypeError, RecursionError):
        pass  # the same error as for other values
    raise ErrorResponse(status=400, message='paths-info needs a list "paths", as JSON or as a form')


def refs(repo: Repo) -> dict[str, Any]:
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commit}
    return {"branches": [main], "tags": [], "converts": []}


def commits(repo: Repo) -> list[dict[str, Any]]:
    commit = {"id": repo.commit, "title": "published", "message": "", "authors": [], "date": EPOCH}
    return [commit]


def whoami(*, token: bool) -> dict[str, Any]:
    if not token:
        message = "Invalid credentials in Authorization header"
        raise ErrorResponse(status=401, message=message)
    return {
        "type": "user",
        "name": "tunematrix",
        "fullname": "tunematrix",
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": {"displayName": "local", "role": "read"}},
    }


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """``(first, last)``, both inclusive, of a ``Range`` header; None for the whole file.

    Raises ``ErrorResponse`` 416 if no byte is in the range; clients need 206 and 416 to resume.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "", re.ASCII)
    first, last = (parse_size(digits) for digits in match.groups()) if match else (None, None)
    if first is None and last is None:
        return None  # RFC 9110 allows a server to ignore a range that it does not support
    if first is None:
        first, last = max(size - (last or 0), 0), size - 1
    stop = size - 1 if last is None else min(last, size - 1)
    if first > stop:
        headers = {"Content-Range": f"bytes */{size}"}
        raise ErrorResponse(status=416, message="Range Not Satisfiable", headers=headers)
    return first, stop
