"""The download's own judgement: which files, whether they are whole, and what is worth another try."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tunematrix.pipeline import download
from tunematrix.pipeline.config import Wanted
from tunematrix.pipeline.errors import ConfigError, HubError


def remote(name: str = "a.txt", content: bytes = b"hello", *, lfs: bool = False) -> download.Remote:
    git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    sha256 = hashlib.sha256(content).hexdigest() if lfs else None
    return download.Remote(name=name, size=len(content), oid=git, sha256=sha256)


@pytest.mark.parametrize("lfs", [False, True])
@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"hello", None), (b"hellO", "its content hash differs"), (b"hell", "4 bytes in place of 5")],
)
def test_a_file_is_judged_by_size_and_content(
    tmp_path: Path, lfs: bool, content: bytes, expected: str | None
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)

    assert remote(lfs=lfs).problem(path) == expected


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert remote().problem(tmp_path / "a.txt") == "missing"


def names(*patterns: str) -> list[str]:
    files = [remote(name) for name in ("config.json", "model.safetensors", "onnx/model.onnx", "vocab.json")]
    wanted = Wanted(repo="a/b", output_dir=Path("x"), files=patterns or None)
    return [file.name for file in download.select(files, wanted)]


def test_files_are_chosen_by_name_or_pattern() -> None:
    assert names() == ["config.json", "model.safetensors", "onnx/model.onnx", "vocab.json"]
    assert names("*.json", "model.safetensors") == ["config.json", "model.safetensors", "vocab.json"]


def test_a_name_that_matches_nothing_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"a/b has no file 'confg\.json'; did you mean 'config\.json'\?"):
        names("confg.json")


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "a/../../b", "..\\b"])
def test_a_file_that_would_land_elsewhere_is_refused(name: str) -> None:
    sibling = SimpleNamespace(rfilename=name, size=1, blob_id="x", lfs=None)

    with pytest.raises(HubError, match="outside of the repository"):
        list(download._announced(SimpleNamespace(siblings=[sibling])))


def test_a_pattern_that_matches_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert names("*.txt", "config.json") == ["config.json"]
    assert capsys.readouterr().err == "a/b: no file matches '*.txt'\n"
    with pytest.raises(ConfigError, match=r"no file matches \*\.txt; it has config\.json"):
        names("*.txt")


class RepositoryNotFoundError(OSError):
    pass


class AnsweredError(Exception):
    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"{status}")
        self.response = SimpleNamespace(status_code=status, headers=headers)


def hidden(cause: Exception) -> Exception:
    """As clients do: the visible error says nothing, the cause is behind it."""
    error = OSError("cannot find the file in the local cache")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "passes", "told"),
    [
        (hidden(RepositoryNotFoundError()), False, "no such repository"),
        (hidden(AnsweredError(503)), True, "the Hub answered 503"),
        (hidden(AnsweredError(429)), True, "the Hub answered 429"),
        (hidden(AnsweredError(403)), False, "the Hub answered 403"),
        (ConnectionResetError("reset by peer"), True, "ConnectionResetError: reset by peer"),
        (download.DamagedError("a.txt arrived damaged"), True, "a.txt arrived damaged"),
        (TypeError("unexpected argument"), False, "TypeError: unexpected argument"),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, passes: bool, told: str) -> None:
    assert download.may_pass(error) == passes
    assert told in download.explain(error)


@pytest.fixture(name="waits")
def _waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("time.sleep", found.append)
    return found


def test_tries_wait_longer_each_time_and_end(waits: list[float]) -> None:
    def fail() -> None:
        raise ConnectionResetError("reset")

    with pytest.raises(HubError, match="a/b: ConnectionResetError: reset"):
        download._retrying(fail, "a/b", retries=3)

    assert waits == [0.5, 1.0, 2.0]


def test_the_hubs_own_wish_for_a_wait_is_followed(waits: list[float]) -> None:
    answers = [hidden(AnsweredError(429, **{"Retry-After": "7"})), None]

    def once() -> str:
        if error := answers.pop(0):
            raise error
        return "done"

    assert download._retrying(once, "a/b", retries=1) == "done"
    assert waits == [7.0]


def test_a_wrong_name_is_not_tried_twice(waits: list[float]) -> None:
    def fail() -> None:
        raise hidden(RepositoryNotFoundError())

    with pytest.raises(HubError, match="no such repository"):
        download._retrying(fail, "a/b", retries=3)

    assert waits == []
