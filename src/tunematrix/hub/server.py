"""The Hub as a server: one ``ThreadingHTTPServer``, any port, a path prefix per caller."""

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
from tunematrix.hub.protocol import Ask, Refusal
from tunematrix.hub.store import Blob, Repo, index_root


class Server(ThreadingHTTPServer):
    """Serves ``repos``; ``requests`` counts what was asked, per ``prefix/method verb``."""

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
        """A client that goes away is no error of ours."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    verbose: ClassVar[bool] = False

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            prefix, ask = self._ask()
            self.server.requests[f"{prefix}/{self.command} {ask.verb}"] += 1
            fault = self.server.faults.take(self.command, urllib.parse.urlsplit(self.path).path)
            if fault and self._fail(fault):
                return
            self._serve(ask, body, fault)
        except Refusal as refusal:
            self._refuse(refusal)

    def _ask(self) -> tuple[str, Ask]:
        """Callers are told apart by a first path segment that starts with ``@``."""
        first = self.path.lstrip("/").partition("/")[0]
        prefix = f"/{first}" if first.startswith("@") else ""
        return first.removeprefix("@") if prefix else "", protocol.parse(self.path, prefix)

    def _serve(self, ask: Ask, body: bytes, fault: str | None) -> None:
        token = bool(self.headers.get("Authorization"))
        if ask.verb == "whoami":
            self._json(protocol.whoami(token=token))
        elif ask.verb == "list":
            repos = sorted(self.server.repos.items())
            self._json([protocol.info(repo, blobs=False) for _, repo in repos])
        elif repo := protocol.find_repo(self.server.repos, ask, token=token):
            if ask.verb == "resolve":
                self._file(repo, ask, fault)
            else:
                self._json(_describe(repo, ask, body))

    def _file(self, repo: Repo, ask: Ask, fault: str | None) -> None:
        blob = protocol.find_blob(repo, ask.path)
        if fault == "redirect" and "moved" not in ask.query:
            self._redirect(repo, blob)
            return
        span = protocol.byte_range(self.headers.get("Range"), blob.size)
        first, last = span or (0, blob.size - 1)
        self.send_response(206 if span else 200)
        self.send_header("X-Repo-Commit", repo.commit)
        self.send_header("ETag", f'"{blob.etag}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(last - first + 1))
        if span:
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

    def _fail(self, fault: str) -> bool:
        """Act out a fault that needs no file; False lets the request go on."""
        if fault.isdigit():
            raise Refusal(status=int(fault), code="", message="planted fault")
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)  # with it, close() sends RST in place of FIN
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

    def _refuse(self, refusal: Refusal) -> None:
        headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
        if refusal.status == 429:
            headers["Retry-After"] = "1"
        if refusal.code == "EntryNotFound":
            # With the commit the client remembers the absence, and asks once only.
            ask = self._ask()[1]
            headers["X-Repo-Commit"] = self.server.repos[ask.repo].commit
        body = json.dumps({"error": refusal.message}).encode()
        self._send(refusal.status, body, "application/json", {k: v for k, v in headers.items() if v})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), "application/json; charset=utf-8", {})

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """One line a request when asked for; headers, and so tokens, are never logged."""
        if self.verbose:
            super().log_message(format, *args)


def _describe(repo: Repo, ask: Ask, body: bytes) -> object:
    def asked(name: str) -> bool:
        return ask.query.get(name, [""])[0].lower() == "true"

    if ask.verb == "info":
        return protocol.info(repo, blobs=asked("blobs"))
    if ask.verb == "tree":
        return protocol.tree(repo, ask.path, recursive=asked("recursive"))
    if ask.verb == "paths-info":
        return protocol.paths_info(repo, _paths(body))
    if ask.verb == "refs":
        return protocol.refs(repo)
    if ask.verb == "commits":
        return protocol.commits(repo)
    return {}  # auth-check


def _paths(body: bytes) -> list[str]:
    """The paths of a ``paths-info`` request: a form up to 1.x, JSON from 2.x on; both are read."""
    text = body.decode()
    if text.startswith("{"):
        return list(json.loads(text).get("paths", []))
    return urllib.parse.parse_qs(text).get("paths", [])


@contextmanager
def serving(root: Path, *, port: int = 0) -> Iterator[Server]:
    """A server for the repositories below ``root``, answering until the block ends."""
    server = Server(index_root(root), port=port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
