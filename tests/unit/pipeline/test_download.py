"""The download step: which files it selects, how it verifies them, and which errors it retries."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tunematrix.pipeline import download
from tunematrix.pipeline.config import DownloadEntry
from tunematrix.pipeline.errors import ConfigError, HubError


def remote_file(name: str = "a.txt", content: bytes = b"hello", *, lfs: bool = False) -> download.RemoteFile:
    blob_id = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    sha256 = hashlib.sha256(content).hexdigest() if lfs else None
    return download.RemoteFile(name=name, size=len(content), oid=blob_id, sha256=sha256)


@pytest.mark.parametrize("lfs", [False, True])
@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"hello", None), (b"hellO", "its content hash differs"), (b"hell", "4 bytes instead of 5")],
)
def test_a_file_is_verified_by_size_and_content(
    tmp_path: Path, lfs: bool, content: bytes, expected: str | None
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)

    assert remote_file(lfs=lfs).problem(path) == expected


def test_an_absent_file_is_missing(tmp_path: Path) -> None:
    assert remote_file().problem(tmp_path / "a.txt") == "missing"


def selected_names(*patterns: str) -> list[str]:
    files = [
        remote_file(name) for name in ("config.json", "model.safetensors", "onnx/model.onnx", "vocab.json")
    ]
    entry = DownloadEntry(repo="a/b", output_dir=Path("x"), files=patterns or None)
    return [file.name for file in download.select_files(files, entry)]


def test_files_are_selected_by_name_or_pattern() -> None:
    assert selected_names() == ["config.json", "model.safetensors", "onnx/model.onnx", "vocab.json"]
    assert selected_names("*.json", "model.safetensors") == ["config.json", "model.safetensors", "vocab.json"]


def test_the_error_for_an_unknown_file_names_the_closest_one() -> None:
    with pytest.raises(ConfigError, match=r"a/b has no file 'confg\.json'; did you mean 'config\.json'\?"):
        selected_names("confg.json")


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "a/../../b", "..\\b"])
def test_a_file_outside_of_the_repository_is_refused(name: str) -> None:
    sibling = SimpleNamespace(rfilename=name, size=1, blob_id="x", lfs=None)

    with pytest.raises(HubError, match="outside of the repository"):
        list(download._list_files(SimpleNamespace(siblings=[sibling])))


def test_a_pattern_that_matches_nothing_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert selected_names("*.txt", "config.json") == ["config.json"]
    assert capsys.readouterr().err == "a/b: no file matches '*.txt'\n"
    with pytest.raises(ConfigError, match=r"no file matches \*\.txt; it has config\.json"):
        selected_names("*.txt")


class RepositoryNotFoundError(OSError):
    pass


class ResponseError(Exception):
    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"{status}")
        self.response = SimpleNamespace(status_code=status, headers=headers)


def wrapped(cause: Exception) -> Exception:
    """An error as the clients raise it: its message does not help, the real error is its cause."""
    error = OSError("cannot find the file in the local cache")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "transient", "message"),
    [
        (wrapped(RepositoryNotFoundError()), False, "no such repository"),
        (wrapped(ResponseError(503)), True, "the Hub answered 503"),
        (wrapped(ResponseError(429)), True, "the Hub answered 429"),
        (wrapped(ResponseError(403)), False, "the Hub answered 403"),
        (ConnectionResetError("reset by peer"), True, "ConnectionResetError: reset by peer"),
        (download.DamagedError("a.txt arrived damaged"), True, "a.txt arrived damaged"),
        (TypeError("unexpected argument"), False, "TypeError: unexpected argument"),
    ],
)
def test_only_transient_errors_are_retried(error: Exception, transient: bool, message: str) -> None:
    assert download.is_transient(error) == transient
    assert message in download.explain(error)


@pytest.fixture(name="waits")
def _waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def test_waits_double_until_the_retries_are_used_up(waits: list[float]) -> None:
    def fail() -> None:
        raise ConnectionResetError("reset")

    with pytest.raises(HubError, match="a/b: ConnectionResetError: reset"):
        download._with_retries(fail, "a/b", retries=3)

    assert waits == [0.5, 1.0, 2.0]


def test_a_retry_waits_as_long_as_the_hub_requests(waits: list[float]) -> None:
    outcomes = [wrapped(ResponseError(429, **{"Retry-After": "7"})), None]

    def fail_once() -> str:
        if error := outcomes.pop(0):
            raise error
        return "done"

    assert download._with_retries(fail_once, "a/b", retries=1) == "done"
    assert waits == [7.0]


def test_a_wrong_repository_name_is_not_retried(waits: list[float]) -> None:
    def fail() -> None:
        raise wrapped(RepositoryNotFoundError())

    with pytest.raises(HubError, match="no such repository"):
        download._with_retries(fail, "a/b", retries=3)

    assert waits == []
