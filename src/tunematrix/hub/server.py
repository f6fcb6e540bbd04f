"""The Hub as a server: one ``ThreadingHTTPServer`` on any port, with an optional path prefix per caller."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Final

from tunematrix.hub import answers, protocol, wire
from tunematrix.hub.answers import Response
from tunematrix.hub.connections import Connections
from tunematrix.hub.faults import Faults
from tunematrix.hub.protocol import Request
from tunematrix.hub.store import Repo, index_root
from tunematrix.hub.wire import ErrorResponse, Head, Limits, Reader

CHUNK: Final = 256 * 1024  # of a file; held in memory once per connection
DRIP_SECONDS: Final = 0.1  # between two bytes
MAX_COUNTERS: Final = 1000  # clients choose the names of callers


class Server(ThreadingHTTPServer):
    """Serves ``repos``; ``requests`` counts the requests by ``CALLER/METHOD ACTION``."""

    daemon_threads = True
    request_queue_size = 128  # a client opens 8 or 9 connections at once; the default is 5

    def __init__(
        self, repos: dict[str, Repo], *, port: int = 0, limits: Limits | None = None, verbose: bool = False
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.repos = repos
        self.limits = limits or Limits()
        self.verbose = verbose
        self.faults = Faults()
        self.requests: Counter[str] = Counter()
        self.connections = Connections(self.limits.connections)
        self._counting = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, name: str) -> None:
        with self._counting:
            if name in self.requests or len(self.requests) < MAX_COUNTERS:
                self.requests[name] += 1

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection once there is room; until then further ones wait in the listen queue."""
        if self.connections.add(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.connections.remove(request)

    def shutdown(self) -> None:
        self.connections.close()
        super().shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback, unless a client has closed its connection, which is no error of the server."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection: requests are read with ``wire``, answered by ``answers``, and damaged by faults."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    reader: Reader
    answered = False

    def setup(self) -> None:
        super().setup()
        self.reader = Reader(self.connection, self.server.limits)

    def handle(self) -> None:
        """Handle requests until one end closes the connection, for which a client needs no reason."""
        with contextlib.suppress(OSError):
            super().handle()

    def finish(self) -> None:
        if self.answered:
            self._linger()
        with contextlib.suppress(OSError):
            super().finish()

    def handle_one_request(self) -> None:
        self.close_connection, self.answered = True, False
        self.command, self.requestline, self.request_version = "", "", "HTTP/1.1"
        try:
            if self.reader.wait():
                self._handle_request()
        except ErrorResponse as error:
            self._send_error_response(error)
        except TimeoutError:
            if not self.answered:
                message = "the request did not arrive in time"
                self._send_error_response(ErrorResponse(status=408, message=message, close=True))
        except OSError:
            raise  # a client that leaves is no error, see handle
        except Exception:
            self.server.handle_error(self.request, self.client_address)
            self.close_connection = True
            if not self.answered:
                self._send_error_response(ErrorResponse(status=500, message="internal error", close=True))

    def _handle_request(self) -> None:
        head = self._read_head()
        length = wire.body_length(head, self.server.limits)
        if head.expects_continue:
            self.send_response_only(100)
            self.end_headers()
        body = self.reader.body(length)
        self.close_connection = not head.keep_alive
        request = protocol.parse(head.method, head.target)
        self.server.count(f"{request.caller}/{head.method} {request.action}")
        fault = self.server.faults.next_for(head.method, request.page)
        if fault == "reset":
            self._reset()
        elif fault == "hang":
            self._hang()
        else:
            self._send(self._response(head, request, body, fault), fault)

    def _read_head(self) -> Head:
        try:
            self.requestline = self.reader.request_line()
        finally:
            self.command = self.reader.method  # so that an error in response to HEAD has no body
        method, target, minor = wire.parse_request_line(self.requestline)
        return Head(method=method, target=target, minor=minor, headers=self.reader.headers())

    def _response(self, head: Head, request: Request, body: bytes, fault: str | None) -> Response:
        if fault and fault.isdigit():
            raise ErrorResponse(status=int(fault), message="injected fault")
        if fault == "portal":
            return Response(headers={"Content-Type": "text/html"}, body=b"<html>log in</html>")
        response = answers.respond(self.server.repos, request, head.headers, body)
        if fault == "shrink" and response.blob:
            return dataclasses.replace(response, count=max(0, response.count - 1))
        if fault == "redirect" and "moved" not in request.query:
            return answers.redirect(response, f"{self.server.url}{request.page}?moved=1")
        return response

    def _send_error_response(self, error: ErrorResponse) -> None:
        self.close_connection = self.close_connection or error.close
        self._send(answers.error_response(error), None)

    def _send(self, response: Response, fault: str | None) -> None:
        with response.open() as stream:
            self.answered = True
            self.connection.settimeout(self.server.limits.stall_seconds)
            if self.server.connections.waiting:
                self.close_connection = True
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(response.size))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self._send_body(stream, response.size, fault)

    def send_header(self, keyword: str, value: str) -> None:
        super().send_header(keyword, wire.header_value(value))

    def _send_body(self, stream: BinaryIO, size: int, fault: str | None) -> None:
        """Send the body of ``size`` bytes in chunks; less of it if the file has become shorter."""
        left = size // 2 if fault == "truncate" else size
        flip = size // 2 if fault == "flip" else -1
        most = 1 if fault == "drip" else CHUNK
        sent = 0
        while sent < left and (chunk := stream.read(min(most, left - sent))):
            if sent <= flip < sent + len(chunk):
                at = flip - sent
                chunk = chunk[:at] + bytes([chunk[at] ^ 1]) + chunk[at + 1 :]
            self.wfile.write(chunk)  # raises TimeoutError if the client does not take it in time
            sent += len(chunk)
            time.sleep(DRIP_SECONDS if fault == "drip" else 0)
        if sent < size:
            self.close_connection = True

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)  # makes close() send RST instead of FIN
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def _hang(self) -> None:
        """Answer nothing until the client or the server closes the connection."""
        self.close_connection = True
        self.connection.settimeout(None)
        while self.connection.recv(4096):
            pass

    def _linger(self) -> None:
        """Read what the client still sends: closing before would reset the connection, and it would lose
        the response.
        """
        end = time.monotonic() + self.server.limits.linger_seconds
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while (seconds := end - time.monotonic()) > 0:
                self.connection.settimeout(seconds)
                if not self.connection.recv(CHUNK):
                    return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Log one line per request if verbose; headers, and so tokens, are never logged."""
        if self.server.verbose:
            super().log_message(format, *args)


@contextmanager
def serving(
    root: Path, *, port: int = 0, limits: Limits | None = None, verbose: bool = False
) -> Iterator[Server]:
    """Serve the repositories below ``root`` until the block ends."""
    server = Server(index_root(root), port=port, limits=limits, verbose=verbose)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
