"""What the Hub answers: a request becomes a response, and an error becomes one too."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from tunematrix.hub import protocol
from tunematrix.hub.protocol import Request
from tunematrix.hub.store import Blob, Repo
from tunematrix.hub.wire import ErrorResponse

JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """A response whose body is ``body``, or ``count`` bytes of the file ``blob`` from ``first`` on."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    blob: Blob | None = None
    first: int = 0
    count: int = 0

    @property
    def size(self) -> int:
        return self.count if self.blob else len(self.body)

    def open(self) -> BinaryIO:
        """The body, to be read in chunks; raises ``ErrorResponse`` if the file is not what was indexed."""
        if self.blob is None:
            return io.BytesIO(self.body)
        try:
            stream = self.blob.path.open("rb")
        except OSError as error:
            raise ErrorResponse(status=500, message=f"the file is not readable: {error.strerror}") from None
        if os.fstat(stream.fileno()).st_size != self.blob.size:
            stream.close()
            raise ErrorResponse(status=500, message="the file has changed; start the server again")
        stream.seek(self.first)
        return stream


def respond(repos: dict[str, Repo], request: Request, headers: Mapping[str, str], body: bytes) -> Response:
    """The response to ``request``; raises ``ErrorResponse``."""
    token = bool(headers.get("authorization"))
    if request.action == "whoami":
        return json_response(protocol.whoami(token=token))
    if request.action == "list":
        return json_response([protocol.info(repo, blobs=False) for _, repo in sorted(repos.items())])
    repo = protocol.find_repo(repos, request, token=token)
    if request.action == "resolve":
        return _file_response(repo, protocol.find_blob(repo, request.path), headers.get("range"))
    return json_response(_repo_json(repo, request, body))


def _repo_json(repo: Repo, request: Request, body: bytes) -> object:
    """The response to an action on ``repo`` that is answered in JSON."""
    if request.action == "info":
        return protocol.info(repo, blobs=request.flag("blobs"))
    if request.action == "tree":
        return protocol.tree(repo, request.path, recursive=request.flag("recursive"))
    if request.action == "paths-info":
        return protocol.paths_info(repo, protocol.requested_paths(body))
    if request.action == "refs":
        return protocol.refs(repo)
    if request.action == "commits":
        return protocol.commits(repo)
    return {}  # auth-check


def _file_response(repo: Repo, blob: Blob, requested_range: str | None) -> Response:
    byte_range = protocol.byte_range(requested_range, blob.size)
    first, last = byte_range or (0, blob.size - 1)
    headers = {
        "X-Repo-Commit": repo.commit,
        "ETag": f'"{blob.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    if byte_range:
        headers["Content-Range"] = f"bytes {first}-{last}/{blob.size}"
    status = 206 if byte_range else 200
    return Response(status=status, headers=headers, blob=blob, first=first, count=last - first + 1)


def redirect(response: Response, location: str) -> Response:
    """A 302 to the file of ``response``, as from a content delivery network; other responses stay."""
    if response.blob is None:
        return response
    headers = {
        "X-Repo-Commit": response.headers["X-Repo-Commit"],
        "X-Linked-ETag": response.headers["ETag"],
        "X-Linked-Size": str(response.blob.size),
        "Location": location,
    }
    return Response(status=302, headers=headers)


def json_response(value: object) -> Response:
    return Response(headers={"Content-Type": JSON_TYPE}, body=json.dumps(value).encode())


def error_response(error: ErrorResponse) -> Response:
    headers = {"Content-Type": JSON_TYPE, "X-Error-Message": error.message, **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    if error.status == 429:
        headers["Retry-After"] = "1"
    body = json.dumps({"error": error.message}).encode()
    return Response(status=error.status, headers=headers, body=body)
