"""The Hub answers whatever it gets: raw requests over real sockets, and its parsers alone."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hub.conftest import make_root
from tests.hub.raw import HEAD, ask, exchange, get

from tunematrix.hub import protocol, wire
from tunematrix.hub.faults import Faults
from tunematrix.hub.server import Server, serving
from tunematrix.hub.store import Hashes, hash_file
from tunematrix.hub.wire import ErrorResponse, Head, Limits

LIMITS = Limits(line_bytes=200, headers=8, body_bytes=300)
LATIN = st.characters(min_codepoint=32, max_codepoint=255)
INFO = get("/api/models/org/model")
SENT = {
    *("server", "date", "content-type", "content-length", "connection", "allow", "retry-after"),
    *("etag", "accept-ranges", "content-range"),
    *("x-repo-commit", "x-error-code", "x-error-message"),
}

METHODS = st.sampled_from(["GET", "GET", "HEAD", "POST", "POST", "PUT", "get", "OPTIONS"])
PARTS = st.one_of(
    st.sampled_from(
        [
            *("api", "models", "org", "model", "gpt2", "main", "resolve", "tree"),
            *("revision", "paths-info", "refs", "commits", "auth-check", "whoami-v2"),
            *("config.json", "model.safetensors", "sub", "empty.txt", "@cell", ".."),
            *(".", "%2e%2e", "%2F", "%00", "%0d%0aX:%20y", "%FF", "%E6%97%A5"),
            *("%", "http:", "https:", "[", "]", "?", "#"),
            *("*", "refs%2Fpr%2F1", "?blobs=true", "?recursive=1&expand=%00", "&&&"),
        ]
    ),
    st.text(max_size=5).map(quote),
    st.just(""),
)
TARGETS = st.one_of(
    st.sampled_from(
        [
            "/org/model/resolve/main/model.safetensors",
            "/gpt2/resolve/main/empty.txt",
            "/api/models/org/model",
            "/api/models/gpt2/tree/main?recursive=true",
            "/api/models/gpt2/paths-info/main",
            "/api/models",
            "http://[",
        ]
    ),
    st.lists(PARTS, max_size=8).map(lambda parts: "/" + "/".join(parts)),
)
NUMBERS = st.one_of(
    st.integers(-2, 400).map(str), st.integers().map(str), st.sampled_from(["²", "+1", "", "0x5", "9" * 150])
)
RANGES = st.one_of(
    st.builds("bytes={}-{}".format, NUMBERS, NUMBERS),
    st.lists(st.sampled_from(["bytes", "=", "-", "1", "256000", ",", " ", "²"]), max_size=9).map("".join),
)
HEADERS = st.one_of(
    st.builds("Range: {}".format, RANGES),
    st.builds("Content-Length: {}".format, NUMBERS),
    st.sampled_from(
        [
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Connection: close",
            "Connection: keep-alive",
            "Expect: 100-continue",
            "Authorization: Bearer hf_x",
            "If-Range: x",
            " folded",
        ]
    ),
    st.builds("{}: {}".format, st.text("aB-!", min_size=1, max_size=5), st.text(LATIN, max_size=9)),
    st.integers(150, 250).map(lambda size: "a: " + "b" * size),
)
JSON_TEXTS = st.one_of(
    st.sampled_from(["paths=config.json&paths=x", '{"paths": ["config.json"]}', '{"paths": 5}', "[", "null"]),
    st.lists(st.sampled_from(['{"paths":', "[", "]", "}", '"a"', ",", "9" * 99, "NaN"]), max_size=9).map(
        "".join
    ),
)
BODIES = st.one_of(JSON_TEXTS.map(str.encode), st.binary(max_size=20), st.just(b"x" * 301))


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that may be valid in every part."""
    body = draw(BODIES)
    framing = draw(st.sampled_from(["length", "length", "chunked", "none"]))
    headers = draw(st.lists(HEADERS, max_size=2))
    if framing == "chunked":
        body = chunked([body] if body else [])
        headers.append("Transfer-Encoding: chunked")
    elif framing == "length":
        headers.append(f"Content-Length: {len(body)}")
    version = draw(st.sampled_from(["HTTP/1.1"] * 20 + ["HTTP/1.0", "HTTP/2.0", "http/1.1", ""]))
    end = draw(st.sampled_from(["\r\n", "\r\n", "\n"]))
    lines = [f"{draw(METHODS)} {draw(TARGETS)} {version}", "Host: x", *headers, "", ""]
    return end.join(lines).encode("latin-1") + (body if framing != "none" else b"")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Some requests after one another, with some of their bytes changed, repeated or lost."""
    raw = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        first = draw(st.integers(0, len(raw)))
        last = min(len(raw), first + draw(st.integers(0, 20)))
        new = draw(st.one_of(st.binary(max_size=4), st.just(raw[first:last] * 2), st.just(b"\r\n")))
        raw = raw[:first] + new + raw[last:]
    return raw


@pytest.fixture(name="hub", scope="module")
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(make_root(tmp_path_factory.mktemp("hub")), limits=LIMITS) as server:
        yield server
    assert len(server.connections) == 0


def statuses(received: bytes, first: str | None = None) -> list[int] | None:
    """The statuses of a sequence of complete responses; None if ``received`` is not one.

    Whether a response has a body depends on the method of its request, known of the ``first`` one only.
    """
    if not received:
        return []
    if not (match := HEAD.match(received)):
        return None
    headers = dict(line.lower().split(b": ", 1) for line in match[2].splitlines())
    assert {name.decode() for name in headers} <= SENT
    size = int(headers.get(b"content-length", b"0"))
    sizes = {0} if first == "HEAD" else {size} if first else {0, size}
    for size in sizes:
        body, rest = received[match.end() :][:size], received[match.end() + size :]
        if len(body) == size and (following := statuses(rest)) is not None:
            return [int(match[1]), *following]
    return None


@given(raw=st.one_of(requests(), mutated(), st.binary(max_size=50)))
def test_every_request_has_an_answer(hub: Server, raw: bytes) -> None:
    line, _, following = raw.partition(b"\n")
    if not line.removesuffix(b"\r"):  # one empty line is allowed
        line = following.partition(b"\n")[0]
    method = line.split(b" ")[0].strip().decode("latin-1")

    received = statuses(exchange(hub, raw), method or "GET")

    assert received is not None
    assert bool(received) == bool(raw)
    assert all(status == 100 or 200 <= status < 500 or status in (501, 505) for status in received)
    assert ask(hub, INFO).status == 200
    assert len(hub.connections) <= LIMITS.connections
    assert threading.active_count() < LIMITS.connections + 10


def outcome(function: Callable[..., Any], *arguments: object) -> tuple[Any, ErrorResponse | None]:
    """What ``function`` returns, or with which response it refuses."""
    try:
        return function(*arguments), None
    except ErrorResponse as error:
        return None, error


@given(method=METHODS, target=st.one_of(TARGETS, st.text()))
def test_every_address_is_parsed_or_refused(method: str, target: str) -> None:
    _, error = outcome(protocol.parse, method, target)

    assert error is None or error.status in (400, 404, 405)


@given(line=st.one_of(HEADERS, st.text()))
def test_every_line_is_parsed_or_refused(line: str) -> None:
    for parse in (wire.parse_header, wire.parse_request_line):
        _, error = outcome(parse, line)

        assert error is None or error.status in (400, 505)


@given(length=st.none() | NUMBERS | st.text(), encoding=st.none() | st.text(), minor=st.integers(0, 9))
def test_every_length_is_parsed_or_refused(length: str | None, encoding: str | None, minor: int) -> None:
    found = {"content-length": length, "transfer-encoding": encoding}
    headers = {name: value for name, value in found.items() if value is not None}

    size, error = outcome(
        wire.body_length, Head(method="GET", target="/", minor=minor, headers=headers), LIMITS
    )

    assert size is None or 0 <= size <= LIMITS.body_bytes
    assert error is None or error.status in (400, 413, 501)


@given(header=st.one_of(RANGES, st.text()), size=st.integers(0, 300))
def test_every_range_is_inside_of_the_file(header: str, size: int) -> None:
    byte_range, error = outcome(protocol.byte_range, header, size)

    assert byte_range is None or 0 <= byte_range[0] <= byte_range[1] < size
    assert error is None or (error.status, error.headers) == (416, {"Content-Range": f"bytes */{size}"})


@given(body=st.one_of(BODIES, JSON_TEXTS.map(str.encode), st.binary()))
def test_every_body_is_a_list_of_paths_or_refused(body: bytes) -> None:
    paths, error = outcome(protocol.requested_paths, body)

    assert error is None or error.status == 400
    assert error or all(isinstance(path, str) for path in paths)


@given(text=st.text())
def test_every_text_is_a_value_of_a_header(text: str) -> None:
    assert wire.HEADER_VALUE.fullmatch(wire.header_value(text))
    assert wire.header_value(text).isascii()


@given(text=st.lists(st.sampled_from(["503", " ", "x", "2", "GET:*", "hang", "٣", "9" * 20])).map("".join))
def test_every_fault_is_parsed_or_refused(text: str) -> None:
    faults = Faults()
    with contextlib.suppress(ValueError):
        faults.add(text)

    assert faults.next_for("GET", "/x") in {None, "hang", "503"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("0" * 41),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=3), children, max_size=3)
    ),
)


@pytest.fixture(name="cache", scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "a"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder.parent / ".hashes.json"


@given(value=VALUES, raw=st.none() | st.binary(max_size=9))
def test_every_cache_of_ids_is_used_or_ignored(cache: Path, value: object, raw: bytes | None) -> None:
    config = cache.with_name("a") / "config.json"
    status = config.stat()
    entries = {f"{config}|{status.st_size}|{status.st_mtime_ns}": value}
    cache.write_bytes(json.dumps(entries).encode() if raw is None else raw)

    assert Hashes(cache).blob(config) == hash_file(config)
