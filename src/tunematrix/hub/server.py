"""The Hub as a server: one ``ThreadingHTTPServer`` on any port, with an optional path prefix per caller."""

from __future__ import annotations

import json
import socket
import struct
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from tunematrix.hub import protocol
from tunematrix.hub.faults import Faults
from tunematrix.hub.protocol import ErrorResponse, Request
from tunematrix.hub.store import Blob, Repo, index_root


class Server(ThreadingHTTPServer):
    """Serves ``repos``; ``requests`` counts the requests by ``CALLER/METHOD ACTION``."""

    daemon_threads = True
    request_queue_size = 128  # a client opens 8 or 9 connections at once; the default is 5

    def __init__(self, repos: dict[str, Repo], *, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.repos = repos
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors, since a client that closes its connection is not an error of the server."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    verbose: ClassVar[bool] = False

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            caller, request = self._parse()
            self.server.requests[f"{caller}/{self.command} {request.action}"] += 1
            fault = self.server.faults.next_for(self.command, urllib.parse.urlsplit(self.path).path)
            if fault and self._inject(fault):
                return
            self._respond(request, body, fault)
        except ErrorResponse as error:
            self._send_error_response(error)

    def _parse(self) -> tuple[str, Request]:
        """The caller, named by a first path segment that starts with ``@``, and the request."""
        first = self.path.lstrip("/").partition("/")[0]
        prefix = f"/{first}" if first.startswith("@") else ""
        return first.removeprefix("@") if prefix else "", protocol.parse(self.path, prefix)

    def _respond(self, request: Request, body: bytes, fault: str | None) -> None:
        token = bool(self.headers.get("Authorization"))
        if request.action == "whoami":
            self._send_json(protocol.whoami(token=token))
        elif request.action == "list":
            repos = sorted(self.server.repos.items())
            self._send_json([protocol.info(repo, blobs=False) for _, repo in repos])
        elif repo := protocol.find_repo(self.server.repos, request, token=token):
            if request.action == "resolve":
                self._send_file(repo, request, fault)
            else:
                self._send_json(_repo_json(repo, request, body))

    def _send_file(self, repo: Repo, request: Request, fault: str | None) -> None:
        blob = protocol.find_blob(repo, request.path)
        if fault == "redirect" and "moved" not in request.query:
            self._redirect(repo, blob)
            return
        byte_range = protocol.byte_range(self.headers.get("Range"), blob.size)
        first, last = byte_range or (0, blob.size - 1)
        self.send_response(206 if byte_range else 200)
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("ETag", f'"{blob.etag}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(last - first + 1))
        if byte_range:
            self.send_header("Content-Range", f"bytes {first}-{last}/{blob.size}")
        self.end_headers()
        if self.command == "GET":
            self._send_bytes(blob, first, last - first + 1, fault)

    def _redirect(self, repo: Repo, blob: Blob) -> None:
        self.send_response(302)
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("X-Linked-ETag", f'"{blob.etag}"')
        self.send_header("X-Linked-Size", str(blob.size))
        self.send_header("Location", f"{self.server.url}{self.path}?moved=1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_bytes(self, blob: Blob, first: int, count: int, fault: str | None) -> None:
        with blob.path.open("rb") as stream:
            if fault == "truncate":
                self.connection.sendfile(stream, first, count // 2)
                self.close_connection = True
            elif fault == "flip":
                stream.seek(first)
                content = bytearray(stream.read(count))
                content[len(content) // 2] ^= 1
                self.wfile.write(content)
            elif count:
                self.connection.sendfile(stream, first, count)

    def _inject(self, fault: str) -> bool:
        """Inject a fault that needs no file; returns whether the request is thereby handled."""
        if fault.isdigit():
            raise ErrorResponse(status=int(fault), code="", message="injected fault")
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)  # makes close() send RST instead of FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif fault == "hang":
            self.server.stopping.wait()
        elif fault == "portal":
            self._send(200, b"<html>log in</html>", "text/html", {})
            return True
        else:
            return False
        self.close_connection = True
        self.connection.close()
        return True

    def _send_error_response(self, error: ErrorResponse) -> None:
        headers = {"X-Error-Code": error.code, "X-Error-Message": error.message}
        if error.status == 429:
            headers["Retry-After"] = "1"
        if error.code == "EntryNotFound":
            # With the commit the client caches that the file does not exist, and requests it only once.
            _, request = self._parse()
            headers["X-Repo-Commit"] = self.server.repos[request.repo].commit
        body = json.dumps({"error": error.message}).encode()
        self._send(error.status, body, "application/json", {k: v for k, v in headers.items() if v})

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), "application/json; charset=utf-8", {})

    def _send(self, status: int, body: bytes, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Log one line per request if verbose; headers, and so tokens, are never logged."""
        if self.verbose:
            super().log_message(format, *args)


def _repo_json(repo: Repo, request: Request, body: bytes) -> object:
    """The response to an action on ``repo`` that is answered in JSON."""

    def flag(name: str) -> bool:
        return request.query.get(name, [""])[0].lower() == "true"

    if request.action == "info":
        return protocol.info(repo, blobs=flag("blobs"))
    if request.action == "tree":
        return protocol.tree(repo, request.path, recursive=flag("recursive"))
    if request.action == "paths-info":
        return protocol.paths_info(repo, _requested_paths(body))
    if request.action == "refs":
        return protocol.refs(repo)
    if request.action == "commits":
        return protocol.commits(repo)
    return {}  # auth-check


def _requested_paths(body: bytes) -> list[str]:
    """The paths of a ``paths-info`` request: clients up to 1.x send a form, from 2.x on JSON."""
    text = body.decode()
    if text.startswith("{"):
        return list(json.loads(text).get("paths", []))
    return urllib.parse.parse_qs(text).get("paths", [])


@contextmanager
def serving(root: Path, *, port: int = 0) -> Iterator[Server]:
    """Serve the repositories below ``root`` until the block ends."""
    server = Server(index_root(root), port=port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
