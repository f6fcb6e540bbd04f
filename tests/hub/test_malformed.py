"""A malformed request has an answer that says what is wrong, and nothing of it gets into a header."""

from __future__ import annotations

import json

import pytest

from tests.hub.conftest import FILES
from tests.hub.raw import FILE, ask, get, post
from tunematrix.hub.server import Server

WEIGHTS = FILES["model.safetensors"]


# Malformed requests


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET", 400),
        ("GET /", 400),  # HTTP/0.9
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET / HTTP/x", 400),
        ("GET /é HTTP/1.1", 400),
        ("GET /\x00 HTTP/1.1", 400),
        ("GET http://[ HTTP/1.1", 400),
        ("GET http://[::1/ HTTP/1.1", 400),
        ("GET ftp://x/ HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("CONNECT x:443 HTTP/1.1", 400),
        ("GET /?" + "a=1&" * 10_001 + " HTTP/1.1", 414),
        ("GET / HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("DELETE /api/models HTTP/1.1", 405),
        (f"POST {FILE} HTTP/1.1", 405),
        ("GET /api/models/org/model/paths-info/main HTTP/1.1", 405),
        ("GET http://example.org/api/models HTTP/1.1", 200),
        ("GET HTTP://example.org HTTP/1.1", 404),
        ("GET //api//models HTTP/1.1", 404),
        ("GET //api/models HTTP/1.1", 200),
        ("GET /@cell/api/models HTTP/1.1", 200),
        ("GET /@cell HTTP/1.1", 404),
    ],
)
def test_a_request_line_has_an_answer(hub: Server, request_line: str, status: int) -> None:
    assert ask(hub, f"{request_line}\r\nHost: x\r\n\r\n".encode("latin-1")).status == status


@pytest.mark.parametrize(
    "header",
    [
        "no colon",
        ": no name",
        "a b: c",
        " folded: line",
        "a: \x00",
        "a: b\rc: d",
        "Transfer-Encoding : chunked",
    ],
)
def test_a_malformed_header_is_a_400(hub: Server, header: str) -> None:
    answer = ask(hub, get("/api/models", header))

    assert answer.status == 400
    assert json.loads(answer.body) == {"error": "a header is not 'NAME: VALUE'"}


@pytest.mark.parametrize(
    ("framing", "status"),
    [
        ("Content-Length: abc", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: +1", 400),
        ("Content-Length: ²", 400),
        ("Content-Length: 1 2", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 1000000000000", 413),
        ("Content-Length: " + "9" * 5000, 413),
        ("Content-Length: 100", 400),  # more than is sent
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: identity", 501),
        ("Content-Length: " + "0" * 5000 + "17", 200),
    ],
)
def test_the_size_of_a_body_is_checked(hub: Server, framing: str, status: int) -> None:
    answer = ask(hub, post(b"paths=config.json", *framing.split("\r\n")))

    assert answer.status == status


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        (b"5\r\npaths\r\nc;x=y\r\n=config.json\r\n0\r\n\r\n", 200),
        (b"0005\r\npaths\r\nC\r\n=config.json\r\n000\r\nTrailer: x\r\n\r\n", 200),
        (b"5\npaths\nc\n=config.json\n0\n\n", 200),
        (b"5\r\npathsX\r\n0\r\n\r\n", 400),
        (b"x\r\n", 400),
        (b"-5\r\n", 400),
        (b"\r\n", 400),
        (b"5\r\npat", 400),
        (b"0\r\nno trailer\r\n\r\n", 400),
        (b"fffff\r\n" + b"a" * 0xFFFFF + b"\r\nfffff\r\n", 413),
        (b"f" * 5000 + b"\r\n", 413),
        (b"1" * 10_000 + b"\r\n", 400),
    ],
)
def test_a_body_in_chunks_is_read_within_the_same_limits(hub: Server, chunks: bytes, status: int) -> None:
    answer = ask(hub, post(chunks, "Transfer-Encoding: Chunked"))

    assert answer.status == status
    assert status != 200 or [entry["path"] for entry in json.loads(answer.body)] == ["config.json"]


def test_chunks_need_http_1_1(hub: Server) -> None:
    request = post(b"0\r\n\r\n", "Transfer-Encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0")

    assert ask(hub, request).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"config.json",
        b"path=config.json",
        b"{",
        b"[]",
        b'["config.json"]',
        b"{}",
        b'{"paths": 5}',
        b'{"paths": "config.json"}',
        b'{"paths": [["config.json"]]}',
        b'{"paths": [' + b"9" * 5000 + b"]}",
        b"[" * 100_000,
        b'{"paths":' * 50_000,
        b"\xff\xfe",
        b"paths=a&" * 10_001,
    ],
)
def test_paths_info_without_a_list_of_paths_is_a_400(hub: Server, body: bytes) -> None:
    answer = ask(hub, post(body))

    assert answer.status == 400
    assert json.loads(answer.body) == {"error": 'paths-info needs a list "paths", as JSON or as a form'}


def test_a_path_requested_often_is_listed_once(hub: Server) -> None:
    assert len(json.loads(ask(hub, post(b"paths=config.json&" * 9000)).body)) == 1


@pytest.mark.parametrize(
    "byte_range",
    [f"bytes={'9' * 5000}-", "bytes=256000-", "bytes=5-2", "bytes=-0", f"bytes={'9' * 30}-{'9' * 5000}"],
)
def test_a_range_without_bytes_is_a_416_with_the_size(hub: Server, byte_range: str) -> None:
    answer = ask(hub, get(FILE, f"Range: {byte_range}"))

    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */256000")


@pytest.mark.parametrize(
    ("byte_range", "size"),
    [
        ("bytes=²-³", None),
        ("bytes=-", None),
        ("bytes=1-2,4-5", None),
        ("bytes= 1-2", None),
        ("lines=1-2", None),
        ("bytes=--5", None),
        (f"bytes=0-{'9' * 5000}", 256_000),
        (f"bytes=-{'9' * 5000}", 256_000),
        (f"bytes={'0' * 5000}1-{'0' * 50}2", 2),
    ],
)
def test_a_range_is_served_or_ignored(hub: Server, byte_range: str, size: int | None) -> None:
    answer = ask(hub, get(FILE, f"Range: {byte_range}"))

    assert (answer.status, len(answer.body)) == (206 if size else 200, size or len(WEIGHTS))


# What goes into headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/org/model/resolve/main/%E6%97%A5%E6%9C%AC.json", 404),
        ("/org/model/resolve/%E6%97%A5%E6%9C%AC/config.json", 404),
        ("/%E6%97%A5/%F0%9F%98%80/resolve/main/config.json", 401),
        ("/org/model/resolve/main/%FF%80.json", 404),
        ("/api/models/org/model/tree/main/%E6%97%A5", 404),
        ("/%E6%97%A5", 404),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_missing_name_of_any_script_has_an_answer(hub: Server, path: str, status: int, method: str) -> None:
    answer = ask(hub, get(path, method=method))

    assert answer.status == status
    assert answer.headers["x-error-message"].isascii()


INJECTION = "%0d%0aX-Injected:%20yes%0d%0a%0d%0a<script>"


@pytest.mark.parametrize(
    "path",
    [
        f"/org/model/resolve/main/{INJECTION}",
        f"/org/model/resolve/{INJECTION}/config.json",
        f"/{INJECTION}/resolve/main/config.json",
        f"/@{INJECTION}/api/models/org/{INJECTION}",
        f"/api/models/org/model/tree/main/{INJECTION}",
        f"/{INJECTION}",
    ],
)
def test_a_path_adds_no_header(hub: Server, path: str) -> None:
    answer = ask(hub, get(path))

    assert answer.status in (401, 404)
    assert "x-injected" not in answer.headers
    assert json.loads(answer.body)["error"]


def test_a_redirect_adds_no_header(hub: Server) -> None:
    hub.faults.add("redirect GET:*")

    answer = ask(hub, get(f"/@{INJECTION}{FILE}?x={INJECTION}"))

    assert answer.status == 302
    assert answer.headers["location"] == f"{hub.url}/@{INJECTION}{FILE}?moved=1"
