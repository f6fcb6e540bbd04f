"""HTTP/1.1 as clients send it: requests are read off a connection within limits of size and time.

The standard library's parser holds large heads, passes on malformed ones and has no time limit for a
whole request, so the server has its own.
"""

from __future__ import annotations

import io
import re
import socket
import time
from dataclasses import dataclass, field
from typing import Final, NoReturn
from urllib.parse import quote

PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F)))
NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE: Final = re.compile(rf"({NAME}) ([!-~]+) HTTP/([0-9])\.([0-9])")
HEADER_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
MAX_DIGITS: Final = 20  # of a number of bytes; also keeps int() from refusing text that is too long


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one client can cost the server, in bytes and seconds; real clients stay far below."""

    connections: int = 64  # a client opens 8 or 9; further ones wait until others end
    line_bytes: int = 8 * 1024  # the request line and each header
    headers: int = 100
    body_bytes: int = 1024 * 1024
    idle_seconds: float = 5  # between two requests; no client version minds a server that waits only 2
    stall_seconds: float = 15  # without receiving a byte, or without sending a whole chunk
    request_seconds: float = 30  # for a whole request to arrive
    linger_seconds: float = 2  # for what a client still sends after it was refused


@dataclass(kw_only=True, eq=False)
class ErrorResponse(Exception):
    """An error to send as response. The clients look at ``code``, not at the status (docs/hub.md).

    With ``close`` the connection cannot be used again, since the end of the request is not known.
    """

    status: int
    message: str
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The request line and the headers, their names in lower case, of a request."""

    method: str
    target: str
    minor: int  # of the version, HTTP/1.x
    headers: dict[str, str]

    @property
    def keep_alive(self) -> bool:
        options = [option.strip().lower() for option in self.headers.get("connection", "").split(",")]
        return self.minor > 0 and "close" not in options

    @property
    def expects_continue(self) -> bool:
        return self.minor > 0 and self.headers.get("expect", "").lower() == "100-continue"


class Incoming(io.RawIOBase):
    """What a client sends; a read that takes too long raises ``TimeoutError``."""

    def __init__(self, connection: socket.socket, stall_seconds: float) -> None:
        self.connection = connection
        self.stall_seconds = stall_seconds
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader passes
        seconds = min(self.stall_seconds, self.deadline - time.monotonic())
        if seconds <= 0:
            raise TimeoutError
        self.connection.settimeout(seconds)
        return self.connection.recv_into(buffer)


class Reader:
    """Reads the requests of a connection one after the other.

    Raises ``ErrorResponse`` for a request that is malformed or exceeds a limit, ``TimeoutError`` for one
    that does not arrive in time.
    """

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        self._limits = limits
        self._incoming = Incoming(connection, limits.stall_seconds)
        self._stream = io.BufferedReader(self._incoming)
        self.method = ""  # as soon as it is known, also of a request line that is refused

    def wait(self) -> bool:
        """Wait for the next request; returns False if the client closes the connection or sends none."""
        self._incoming.deadline = time.monotonic() + self._limits.idle_seconds
        try:
            return bool(self._stream.peek(1))
        except TimeoutError:
            return False
        finally:
            self._incoming.deadline = time.monotonic() + self._limits.request_seconds

    def request_line(self) -> str:
        self.method = ""
        line = self._line(414, "the request line")
        return line or self._line(414, "the request line")  # RFC 9112: ignore one empty line before it

    def headers(self) -> dict[str, str]:
        """The headers up to the empty line; those of the same name are joined."""
        headers: dict[str, str] = {}
        left = self._limits.headers
        while line := self._line(431, "a header"):
            if not left:
                refuse(431, f"more than {self._limits.headers} headers")
            left -= 1
            name, value = parse_header(line)
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    def body(self, length: int | None) -> bytes:
        """The body of ``length`` bytes, or one in chunks if it is None."""
        if length is not None:
            return self._exactly(length)
        body = bytearray()
        while size := self._chunk_size():
            check_size(len(body) + size, self._limits)
            body += self._exactly(size)
            if self._line(400, "the end of a chunk"):
                refuse(400, "a chunk is longer than its size")
        self.headers()  # the trailer
        return bytes(body)

    def _chunk_size(self) -> int:
        digits = self._line(400, "the size of a chunk").partition(";")[0].strip()
        if not re.fullmatch(r"[0-9A-Fa-f]+", digits):
            refuse(400, "the size of a chunk is not a number")
        return int(digits, 16)

    def _line(self, status: int, what: str) -> str:
        """The next line without its end; refused with ``status`` if it is too long."""
        line = self._stream.readline(self._limits.line_bytes + 1)
        self.method = self.method or line.split(b" ")[0].strip().decode("latin-1")
        if not line.endswith(b"\n"):
            if len(line) > self._limits.line_bytes:
                refuse(status, f"{what} is longer than {self._limits.line_bytes} bytes")
            refuse(400, "the request ends early")
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("latin-1")

    def _exactly(self, count: int) -> bytes:
        content = self._stream.read(count)
        if len(content) < count:
            refuse(400, "the request ends early")
        return content


def refuse(status: int, message: str) -> NoReturn:
    """Raise an ``ErrorResponse`` after which the connection is closed."""
    raise ErrorResponse(status=status, message=message, close=True)


def parse_request_line(line: str) -> tuple[str, str, int]:
    """The method, the target and the minor version; raises ``ErrorResponse``."""
    if not (match := REQUEST_LINE.fullmatch(line)):
        refuse(400, "the request line is not 'METHOD TARGET HTTP/1.1'")
    method, target, major, minor = match.groups()
    if major != "1":
        refuse(505, f"HTTP/{major}.{minor} is not supported; use HTTP/1.1")
    return method, target, int(minor)


def parse_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(NAME, name) or not HEADER_VALUE.fullmatch(value):
        refuse(400, "a header is not 'NAME: VALUE'")
    return name.lower(), value.strip(" \t")


def body_length(head: Head, limits: Limits) -> int | None:
    """The size of the body in bytes, None for one in chunks; raises ``ErrorResponse``."""
    length = head.headers.get("content-length")
    if (encoding := head.headers.get("transfer-encoding")) is not None:
        if length is not None or head.minor == 0:
            refuse(400, "Transfer-Encoding needs HTTP/1.1 and no Content-Length")
        if encoding.lower() != "chunked":
            refuse(501, "the only Transfer-Encoding that is supported is chunked")
        return None
    if (size := parse_size(length or "0")) is None:
        refuse(400, "Content-Length is not a number")
    check_size(size, limits)
    return size


def check_size(size: int, limits: Limits) -> None:
    if size > limits.body_bytes:
        refuse(413, f"the body is larger than {limits.body_bytes} bytes")


def parse_size(digits: str) -> int | None:
    """A number of bytes, None if it is not one. With more than 20 digits it is larger than any size."""
    if not re.fullmatch(r"[0-9]+", digits):
        return None
    return int(digits.lstrip("0")[:MAX_DIGITS] or "0")


def header_value(text: str) -> str:
    """``text`` with everything but printable ASCII percent-encoded, so that it cannot end the header."""
    return quote(text.encode("utf-8", "backslashreplace"), safe=PRINTABLE)
