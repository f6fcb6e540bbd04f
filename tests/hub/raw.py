"""Requests as raw bytes, for what no client library sends."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from tunematrix.hub.server import Server

FILE = "/org/model/resolve/main/model.safetensors"
HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[!-9;-~]+: [ -~]*\r\n)*)\r\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A response, with the names of its headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(hub: Server, timeout: float = 5) -> socket.socket:
    return socket.create_connection(("127.0.0.1", hub.server_address[1]), timeout)


def receive(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    received = bytearray()
    while chunk := connection.recv(65536):
        received += chunk
    return bytes(received)


def exchange(hub: Server, request: bytes, *, more: bool = False) -> bytes:
    """What the server sends in response to ``request``; unless ``more`` may come, the client then ends."""
    with connect(hub) as connection:
        connection.sendall(request)
        if not more:
            connection.shutdown(socket.SHUT_WR)
        return receive(connection)


def answers(received: bytes, *methods: str) -> list[Answer]:
    """The responses in ``received``, one after the other; ``methods`` are those of the requests, else GET."""
    found: list[Answer] = []
    while received:
        match = HEAD.match(received)
        assert match, received[:300]
        lines = match[2].decode("ascii").splitlines()
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        assert len(headers) == len(lines), "a header that is sent twice"
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        size = int(headers["content-length"]) if method != "HEAD" and match[1] != b"100" else 0
        body, received = received[match.end() :][:size], received[match.end() + size :]
        assert len(body) == size
        found.append(Answer(status=int(match[1]), headers=headers, body=body))
    return found


def ask(hub: Server, request: bytes, *, more: bool = False) -> Answer:
    """The only response to ``request``."""
    method = request.split(b" ")[0].decode("latin-1")
    (answer,) = answers(exchange(hub, request, more=more), method)
    return answer


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body: bytes, *headers: str) -> bytes:
    """A ``paths-info`` request."""
    target = "/api/models/org/model/paths-info/main"
    framing = headers or (f"Content-Length: {len(body)}",)
    return get(target, *framing, method="POST") + body
