"""Whatever a client does with its connection, the Hub answers, in bounded time and memory."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.conftest import FILES
from tests.hub.raw import FILE, answers, ask, connect, exchange, get, post, receive
from tunematrix.hub import answers as answers_module
from tunematrix.hub import server as server_module
from tunematrix.hub.server import Server, serving
from tunematrix.hub.wire import Limits

WEIGHTS = FILES["model.safetensors"]
INFO = get("/api/models/org/model")
SMALL = Limits(line_bytes=300, headers=10, body_bytes=1000)
SHORT = Limits(connections=3, idle_seconds=0.5, stall_seconds=0.3, request_seconds=0.4, linger_seconds=0.1)


@pytest.fixture(name="small")
def _small(root: Path) -> Iterator[Server]:
    with serving(root, limits=SMALL) as server:
        yield server


@pytest.fixture(name="short")
def _short(root: Path) -> Iterator[Server]:
    """A Hub of few connections and little patience, so that no test waits for long."""
    with serving(root, limits=SHORT) as server:
        yield server


def hub_threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


# Connections


@pytest.mark.parametrize(
    "first",
    [
        get("/org/model/resolve/main/missing"),
        get("/org/model/resolve/v2/config.json"),
        get(FILE, "Range: bytes=999999-"),
        get(FILE, method="HEAD"),
        get("/no/page", method="HEAD"),
        get("/api/models", method="PUT"),
        get("http://["),
        post(b"nonsense"),
        get(FILE, "Content-Length: 4") + b"body",
        get("/api/models", "Content-Length: 4", method="PATCH") + b"body",
        get("/api/models", "Transfer-Encoding: chunked") + b"4\r\nbody\r\n0\r\n\r\n",
        b"\r\n" + INFO,
    ],
)
def test_a_connection_can_be_used_after_an_error(hub: Server, first: bytes) -> None:
    method = first.split(b" ")[0].decode()

    received = answers(exchange(hub, first + INFO), method)

    assert len(received) == 2
    assert json.loads(received[1].body)["id"] == "org/model"


def test_a_refused_head_has_no_body(hub: Server) -> None:
    for part in (
        b"HEAD",
        b"HEAD /",
        b"HEAD / x\r\n",
        b"\nHEAD / HTTP/1.1\r\nno colon\r\n",
        get("*", method="HEAD"),
    ):
        (answer,) = answers(exchange(hub, part), "HEAD")
        assert answer.status == 400


@pytest.mark.parametrize(
    "first",
    [
        b"bad line\r\n",
        post(b"", "Content-Length: x"),
        get("/", "bad header"),
        get("/", "Connection: a, Close"),
    ],
)
def test_a_connection_is_closed_where_the_next_request_cannot_be_found(hub: Server, first: bytes) -> None:
    answer = ask(hub, first + INFO)

    assert answer.headers["connection"] == "close"


def test_a_refused_client_still_gets_its_answer(hub: Server) -> None:
    """Closing while the body arrives would reset the connection, and the answer would be lost."""
    with connect(hub) as connection:
        connection.sendall(post(b"", "Content-Length: 99999999") + b"x" * 3_000_000)
        (answer,) = answers(receive(connection))

    assert answer.status == 413


@pytest.mark.parametrize(("size", "status"), [(17, 100), (9_999_999, 413)])
def test_a_client_that_waits_for_100_gets_it_or_an_error(hub: Server, size: int, status: int) -> None:
    body = b"paths=config.json"
    request = post(body, f"Content-Length: {size}", "Expect: 100-continue", "Connection: close")
    with connect(hub) as connection:
        connection.sendall(request.removesuffix(body))
        first = connection.recv(65536)
        connection.sendall(body if status == 100 else b"")
        received = answers(first + receive(connection))

    assert received[0].status == status
    assert received[-1].status == (200 if status == 100 else 413)


def test_an_error_of_the_server_has_an_answer(
    hub: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answers_module, "respond", lambda *_: 1 / 0)

    assert ask(hub, INFO).status == 500
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.parametrize("change", ["longer", "gone"])
def test_a_file_that_has_changed_since_the_start_is_a_500(tmp_path: Path, change: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/config.json").write_text("{}")
    with serving(tmp_path) as hub:
        (tmp_path / "a/config.json").unlink()
        if change == "longer":
            (tmp_path / "a/config.json").write_text("longer")
        answer = ask(hub, get("/a/resolve/main/config.json"))

        assert answer.status == 500
        assert ask(hub, get("/api/models/a")).status == 200


# Limits


def test_long_lines_and_many_headers_are_refused(small: Server) -> None:
    assert ask(small, get("/" + "a" * 300)).status == 414
    assert ask(small, get("/", "a: " + "b" * 300)).status == 431
    assert ask(small, get("/", *["a: b"] * 10)).status == 431
    assert ask(small, get("/", *["a: b"] * 9)).status == 404
    assert ask(small, get("/" + "a" * 300, method="HEAD")).status == 414
    assert ask(small, b"a" * 1_000_000).status == 414
    assert ask(small, post(b"paths=" + b"a" * 995)).status == 413
    assert ask(small, post(b"paths=" + b"a" * 994)).status == 200


@pytest.mark.parametrize(
    "part", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", post(b"a", "Content-Length: 9")]
)
def test_half_a_request_is_a_408(short: Server, part: bytes) -> None:
    answer = ask(short, part, more=True)

    assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_a_client_that_stalls_has_less_time_than_a_whole_request(root: Path) -> None:
    with serving(root, limits=Limits(stall_seconds=0.2)) as hub:
        assert ask(hub, b"GET / HTTP/1.1\r\n", more=True).status == 408


def test_a_request_that_drips_is_a_408(short: Server) -> None:
    """Each byte arrives in time, all of them do not."""
    received = b""
    with connect(short, timeout=0.05) as connection:
        while not received:
            connection.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                received = connection.recv(65536)
        received += receive(connection)

    assert answers(received)[0].status == 408


def test_an_idle_connection_is_closed_without_an_answer(short: Server) -> None:
    assert exchange(short, b"", more=True) == b""
    assert len(answers(exchange(short, INFO, more=True))) == 1


def test_a_client_that_does_not_read_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/config.json").write_bytes(b" " * 50_000_000)
    with serving(tmp_path, limits=SHORT) as hub, connect(hub) as connection:
        connection.sendall(get("/a/resolve/main/config.json"))

        assert wait_until(lambda: len(hub.connections) == 1)
        assert wait_until(lambda: len(hub.connections) == 0)


def test_further_connections_wait_for_their_turn(short: Server) -> None:
    busy = [connect(short) for _ in range(6)]
    for connection in busy:
        connection.sendall(b"GET / HTTP/1.1\r\n")
    peak = 0
    with connect(short) as connection:
        connection.sendall(INFO)
        connection.settimeout(0.01)
        received = b""
        while not received:
            peak = max(peak, len(short.connections))
            with contextlib.suppress(TimeoutError):
                received = connection.recv(65536)
        connection.settimeout(5)
        received += receive(connection)
    for connection in busy:
        connection.close()

    assert answers(received)[0].status == 200
    assert peak == SHORT.connections


def test_a_connection_is_not_kept_while_others_wait(short: Server) -> None:
    """Otherwise the clients that came first could hold all connections for ever."""
    connections = [connect(short) for _ in range(4)]
    assert wait_until(lambda: short.connections.waiting)
    connections[0].sendall(INFO)
    (answer,) = answers(receive(connections[0]))
    for connection in connections:
        connection.close()

    assert answer.headers["connection"] == "close"


def test_callers_are_counted_within_a_limit(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_COUNTERS", 3)
    for caller in "abcde":
        ask(hub, get(f"/@{caller}/api/models"))
    ask(hub, get("/@a/api/models"))

    assert dict(hub.requests) == {"a/GET list": 2, "b/GET list": 1, "c/GET list": 1}


def test_a_file_is_sent_in_chunks(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CHUNK", 1000)
    tracemalloc.start()
    try:
        with connect(hub) as connection:
            connection.sendall(get(FILE, "Connection: close"))
            received = sum(len(chunk) for chunk in iter(lambda: connection.recv(1000), b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert received > len(WEIGHTS)
    assert peak < len(WEIGHTS) / 2


def test_nothing_is_left_behind(root: Path) -> None:
    """Also not by a client whose request hangs on purpose, half a request, and an idle connection."""
    assert wait_until(lambda: hub_threads() == 0)
    with serving(root) as hub:
        hub.faults.add("hang *:*/config.json")
        connections = [connect(hub) for _ in range(3)]
        connections[0].sendall(get("/gpt2/resolve/main/config.json"))
        connections[1].sendall(b"GET / HT")
        connections[2].sendall(INFO)
        connections[2].recv(10)
        assert wait_until(lambda: hub_threads() == 3)

    assert wait_until(lambda: hub_threads() == 0)
    assert len(hub.connections) == 0
    for connection in connections:
        connection.close()


def test_a_request_that_hangs_ends_with_its_client(hub: Server) -> None:
    hub.faults.add("hang GET:*")
    assert wait_until(lambda: len(hub.connections) == 0)
    with connect(hub) as connection:
        connection.sendall(INFO + INFO)
        assert wait_until(lambda: len(hub.connections) == 1)

    assert wait_until(lambda: len(hub.connections) == 0)
