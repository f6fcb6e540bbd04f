"""Package indexes on this machine: one of toy wheels with faults to plant, and one of raw bytes."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

JSON: Final = "application/vnd.pypi.simple.v1+json"
LOGIN: Final = b"<html><form action='/login'><input name=password></form></html>"


def wheel(name: str, version: str, *, requires: str = "") -> bytes:
    info = f"{name}-{version}.dist-info"
    script = f"{info}/entry_points.txt"
    files = {
        f"{name}.py": f"VERSION = '{version}'\ndef main():\n    print('{name} {version}')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: toys\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        script: f"[console_scripts]\n{name}-script = {name}:main\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD")))
    return buffer.getvalue()


def sdist(name: str, version: str, backend: str) -> bytes:
    """A source distribution whose build backend is the Python code ``backend``."""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in {"pyproject.toml": project, "backend.py": backend}.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


FILES: Final = {
    "alpha-1.0-py3-none-any.whl": wheel("alpha", "1.0"),
    "alpha-2.0-py3-none-any.whl": wheel("alpha", "2.0"),
    "beta-1.0-py3-none-any.whl": wheel("beta", "1.0"),
    "future-1.0-py3-none-any.whl": wheel("future", "1.0", requires="Requires-Python: >=3.99\n"),
    "windows-1.0-cp311-cp311-win_amd64.whl": wheel("windows", "1.0"),
    "needy-1.0-py3-none-any.whl": wheel("needy", "1.0", requires="Requires-Dist: missing>=3\n"),
    "source-1.0.tar.gz": sdist("source", "1.0", "raise SystemExit('no compiler: timed out, os error 2')"),
    "hungry-1.0.tar.gz": sdist("hungry", "1.0", "raise OSError(28, 'No space left on device')"),
}


def response(status: int, body: bytes = b"", content_type: str = "text/plain", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", "Connection: close", *headers]
    if not any(line.startswith("Content-Length") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def simple(name: str, hashes: dict[str, str] | None = None) -> bytes:
    """The page of a toy package."""
    files = [
        {
            "filename": file,
            "url": f"/files/{file}",
            "hashes": hashes or {},
            "upload-time": "2026-01-02T03:04:05Z",
        }
        for file in FILES
        if file.startswith(f"{name}-")
    ]
    page = {"meta": {"api-version": "1.1"}, "name": name, "files": files}
    return response(200, json.dumps(page).encode(), JSON) if files else response(404)


def page(content: Any) -> bytes:
    return response(200, json.dumps(content).encode(), JSON)


# What a broken index, a proxy or a login page answers to every request for the page of a package.
FAULTS: Final[dict[str, bytes | None]] = {
    **{str(status): response(status) for status in (400, 401, 403, 407, 408, 410, 429, 500, 502, 503, 504)},
    "login page": response(200, LOGIN, "text/html"),
    "unknown content type": response(200, b"?", "application/octet-stream"),
    "no content type": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "a list": page([]),
    "no keys": page({}),
    "files of another type": page({"meta": {"api-version": "1.0"}, "name": "alpha", "files": {"a": 1}}),
    "another version": page({"meta": {"api-version": "2.0"}, "name": "alpha", "files": []}),
    "not gzip": response(200, b"garbage", JSON, "Content-Encoding: gzip"),
    "redirects in a loop": response(302, b"", "text/plain", "Location: /simple/alpha/"),
    "redirect to nowhere": response(302, b"", "text/plain", "Location: http://127.0.0.1:9/"),
    "an empty answer": b"",
    "half an answer": response(200, b"{", JSON, "Content-Length: 100"),
    "not HTTP": b"220 mail.example.org ESMTP\r\n",
    "no answer": None,
}


@contextmanager
def serving(answer: Callable[[str], bytes | None]) -> Iterator[str]:
    """A server that answers each request with raw bytes for its path, and closes the connection.

    For None it answers nothing until the client goes away.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, answer), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, answer: Callable[[str], bytes | None]) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection, answer), daemon=True).start()


def _answer(connection: socket.socket, answer: Callable[[str], bytes | None]) -> None:
    with suppress(OSError), connection:
        request = b""
        while b"\r\n\r\n" not in request:
            if not (data := connection.recv(2**16)):
                return
            request += data
        method, path, _ = request.decode("latin-1").split(" ", 2)
        content = answer(path)
        if content is None:
            connection.recv(1)
            return
        connection.sendall(content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else content)


def toy_index(path: str) -> bytes:
    """The answer of a working index of the toy wheels."""
    name = path.strip("/").rpartition("/")[2]
    if path == "/simple/":
        return response(200, b"<html></html>", "text/html")
    if path.startswith("/files/"):
        return response(200, FILES[name], "application/octet-stream") if name in FILES else response(404)
    return simple(name)
