"""Fuzzing of what a package index and uv say: only the documented errors, and an end."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from tests.tool import indexes

from tunematrix.base.errors import InfrastructureError, UninstallableError, UsageError
from tunematrix.locks import index, releases, uv
from tunematrix.locks.index import Answer
from tunematrix.run import environment

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
VERSIONS = st.from_regex(r"[0-9]{1,3}(\.[0-9a-z!+-]{1,4}){0,4}", fullmatch=True)
NAMES = VERSIONS.map(lambda version: f"alpha-{version}.tar.gz") | st.text(max_size=30)
TIMES = st.datetimes().map(lambda time: time.isoformat()) | st.just("0001-01-01T00:00:00+23:59")
GOOD = {"filename": NAMES, "upload-time": TIMES, "yanked": st.booleans() | st.text(max_size=3)}
PAGE = st.fixed_dictionaries(
    {"meta": st.fixed_dictionaries({"api-version": st.sampled_from(["1.0", "1.4"])})},
    optional={"files": st.lists(st.fixed_dictionaries({}, optional=GOOD), max_size=4)},
)
TYPES = st.sampled_from([index.JSON, *index.HTML, "", "application/json"]) | st.text(max_size=10)
WORDS = st.sampled_from(
    [
        *(
            "error:",
            "  cause: ",
            "\n",
            " ",
            "[stderr]",
            "No solution found",
            "Failed to build",
            "trl",
            "peft[x]",
        ),
        *(
            "was not found in",
            "there is no version of",
            "(os error 28)",
            "hint:",
            "\N{BOX DRAWINGS LIGHT UP AND RIGHT}",
        ),
    ]
)


def mutated(content: Any, draw: st.DrawFn) -> Any:
    """``content`` with one value anywhere replaced, removed or kept."""
    if isinstance(content, dict) and content and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(content)))
        rest = {name: value for name, value in content.items() if name != key}
        return rest if draw(st.integers(0, 5)) == 0 else {**rest, key: mutated(content[key], draw)}
    if isinstance(content, list) and content and draw(st.booleans()):
        return [mutated(content[0], draw), *content[1:]]
    return draw(VALUES) if draw(st.booleans()) else content


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A page of the index, mutated as JSON and as bytes."""
    body = json.dumps(mutated(draw(PAGE), draw)).encode()
    if draw(st.integers(0, 3)):
        return body
    at = draw(st.integers(0, len(body)))
    return body[:at] + draw(st.binary(max_size=8)) + body[at + draw(st.integers(0, 8)) :]


@given(status=st.sampled_from([200, 200, 200, 404, 500]), content_type=TYPES, body=bodies() | st.binary())
@example(status=200, content_type=index.JSON, body=b"[" * 100_000)
@example(status=200, content_type=index.JSON, body=b'{"meta": ' + b"9" * 5000 + b"}")
def test_answers_of_an_index(status: int, content_type: str, body: bytes) -> None:
    answer = Answer(status=status, content_type=content_type, body=body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_answer", lambda method, url: answer)
        patch.setattr(uv, "index_url", lambda: None)
        releases.releases.cache_clear()
        with contextlib.suppress(InfrastructureError, UsageError):
            assert releases.releases("alpha") == tuple(sorted(releases.releases("alpha")))


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[tuple[str, list[bytes]]]:
    """An index and the raw bytes of its next answer."""
    answer = [b""]
    with indexes.serving(lambda _: answer[0]) as url:
        yield f"{url}/simple", answer


HEADERS = st.sampled_from(
    [
        *("Content-Length: 5", "Content-Length: -1", "Content-Length: 9" * 9, "Content-Length: abc"),
        *(
            "Transfer-Encoding: chunked",
            "Content-Encoding: gzip",
            "Content-Encoding: deflate",
            "Location: //[",
        ),
        *("Location: http://127.0.0.1:99999999/", "Location: \xff\xfe", "Location: ", "Set-Cookie: \x00=;"),
        *(
            "Location: http://127.0.0.1:9/",
            "Location: file:///etc/passwd",
            "Content-Encoding: br, zstd, gzip",
        ),
        *(
            f"Content-Type: {index.JSON}",
            "Content-Type: text/html",
            "Content-Type: \x01",
            "x" * 70_000,
            ":",
            "",
        ),
    ]
)
STARTS = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.1 302 X", "HTTP/1.0 401 X", "HTTP/9 200", "HTTP/1.1 9999"]
)


@st.composite
def raw_answers(draw: st.DrawFn) -> bytes:
    head = [draw(STARTS), *draw(st.lists(HEADERS, max_size=4)), "", ""]
    raw = "\r\n".join(head).encode("latin-1") + draw(bodies())
    at = draw(st.integers(0, len(raw)))
    return raw if draw(st.booleans()) else raw[:at] + draw(st.binary(max_size=8)) + raw[at + 3 :]


@given(raw=raw_answers() | st.binary(max_size=100))
def test_raw_bytes_of_a_server(server: tuple[str, list[bytes]], raw: bytes) -> None:
    url, answer = server
    answer[0] = raw
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(InfrastructureError):
        patch.setattr(index, "READ_SECONDS", 5)
        index.files(url, "alpha")


@given(package=st.text(max_size=30), url=st.none() | st.text(max_size=30) | st.just("http://["))
def test_names_and_addresses(package: str, url: str | None) -> None:
    def answer(method: str, url: str) -> Answer:
        requests.Request(method, url).prepare()
        return Answer(status=404, content_type="")

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(InfrastructureError, UsageError):
        patch.setattr(index, "_answer", answer)
        index.files(url, package)


@given(message=st.lists(WORDS | st.text(max_size=20), max_size=20).map("".join), code=st.integers(-15, 2))
@example(message="No solution found" + "a." * 100_000, code=1)
@example(message="No solution found" + "\n" * 100_000, code=1)
@example(message="No solution found" + " [" * 100_000, code=1)
def test_messages_of_uv(message: str, code: int) -> None:
    completed = subprocess.CompletedProcess(["uv"], code, "", message)
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(InfrastructureError, UninstallableError):
        patch.setattr(index, "_answer", lambda method, url: Answer(status=404, content_type=""))
        patch.setattr(uv, "index_url", lambda: None)
        uv.checked(completed, UninstallableError)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("venv")


@given(content=st.binary(max_size=200) | st.text(max_size=50).map(lambda text: f"version={text}".encode()))
def test_files_of_an_environment(folder: Path, content: bytes) -> None:
    (folder / "pyvenv.cfg").write_bytes(content)
    (folder / environment.MARKER).write_bytes(content)

    environment.python_version(folder)
    assert environment._marker(folder) != environment._state(folder, folder / "pyvenv.cfg")
