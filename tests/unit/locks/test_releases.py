"""Release lists: the days and yanks that an index reports, and its failures."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.locks import index, releases, uv
from tunematrix.locks.index import Answer
from tunematrix.locks.releases import Release

NOT_FOUND = Answer(status=404, content_type="text/html")
UNUSABLE = "the package index http://[*]{3}@index.example/simple/ cannot list trll: "


def file(version: str, time: object = "2026-01-05T23:30:00Z", **keys: Any) -> dict[str, Any]:
    name = f"trll-{version}-py3-none-any.whl"
    return {"filename": name, "upload-time": time, "url": "x", "hashes": {}, **keys}


def page(*files: object, version: object = "1.4") -> Answer:
    body = json.dumps({"meta": {"api-version": version}, "name": "trll", "files": files})
    return Answer(status=200, content_type=index.JSON, body=body.encode())


def html(body: bytes) -> Answer:
    return Answer(status=200, content_type="text/html", body=body)


class FakeIndex:
    """Replaces the requests to the index; ``answer`` is that for a package, ``root`` that for the index."""

    def __init__(self) -> None:
        self.answer: Answer | Exception = NOT_FOUND
        self.root = Answer(status=200, content_type="text/html")
        self.requests: list[tuple[str, str]] = []

    def __call__(self, method: str, url: str) -> Answer:
        self.requests.append((method, url))
        answer = self.root if url.endswith("/simple/") else self.answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(name="fake_index")
def _fake_index(monkeypatch: pytest.MonkeyPatch) -> FakeIndex:
    fake_index = FakeIndex()
    monkeypatch.setattr(index, "_answer", fake_index)
    monkeypatch.setattr(uv, "index_url", lambda: "http://user:canary@index.example/simple")
    releases.releases.cache_clear()
    return fake_index


def test_releases_are_sorted_and_dated_by_their_first_file(fake_index: FakeIndex) -> None:
    fake_index.answer = page(
        file("1.10.0", "2026-01-09T23:30:00Z"),
        file("1.9.0", "2026-01-05T23:30:00"),
        file("1.9.0", "2026-01-04T01:00:00+02:00"),
        file("not a version"),
        {**file("1"), "filename": "readme.txt"},
    )

    assert releases.releases("trll") == (
        Release(Version("1.9.0"), datetime.date(2026, 1, 3)),
        Release(Version("1.10.0"), datetime.date(2026, 1, 9)),
    )
    assert releases.day_of("trll", "1.10.0") == datetime.date(2026, 1, 9)
    assert releases.day_of("trll", "7") is None
    assert fake_index.requests == [("GET", "http://user:canary@index.example/simple/trll/")]


def test_a_release_is_yanked_if_all_its_files_are(fake_index: FakeIndex) -> None:
    fake_index.answer = page(
        file("1", yanked=True),
        file("2", yanked=""),
        file("2"),
        file("3", yanked="broken"),
        file("4", yanked=None),
    )

    assert [release.yanked for release in releases.releases("trll")] == [True, False, True, False]


def test_a_package_does_not_exist_if_an_index_that_works_denies_it(fake_index: FakeIndex) -> None:
    with pytest.raises(UsageError, match="the package index has no package 'trll'; check the name"):
        releases.releases("trll")

    fake_index.root = NOT_FOUND
    with pytest.raises(InfrastructureError, match=UNUSABLE + "it answers with HTTP status 404"):
        releases.releases("trll")
    with pytest.raises(UsageError, match="'trl/' is not the name of a package"):
        releases.releases("trl/")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (OSError("refused"), "refused"),
        (TimeoutError(), "TimeoutError"),
        (Answer(status=403, content_type="text/html"), "HTTP status 403"),
        (
            html(b"<html><a href='/login'>Log in</a></html>"),
            "an HTML page without files, such as a login page",
        ),
        (
            Answer(status=200, content_type="application/zip"),
            "an answer of the type 'application/zip', not an",
        ),
        (Answer(status=200, content_type=index.JSON, body=b"{"), "its answer: not JSON"),
        (Answer(status=200, content_type=index.JSON, body=b"\xff"), "its answer is not UTF-8"),
        (Answer(status=200, content_type=index.JSON, body=b"[" * 9999), "nested more than 100 levels deep"),
        (Answer(status=200, content_type=index.JSON, body=b"[]"), "without a valid 'meta'"),
        (Answer(status=200, content_type=index.JSON, body=b"{}"), "without a valid 'meta'"),
        (page(version="2.0"), "version '2.0' of the index protocol, not 1.x"),
        (page(version=1.0), "without a valid 'api-version'"),
        (page({}), "without a valid 'filename'"),
        (page(5), "without a valid 'filename'"),
        (page(file("1", "yesterday")), "an upload-time of 'yesterday'"),
        (page(file("1", 1767571200)), "an upload-time of 1767571200"),
        (page(file("1", "0001-01-01T00:00:00+23:00")), "an upload-time of '0001-01-01"),
    ],
)
def test_an_answer_that_is_no_index_page_proves_nothing(
    fake_index: FakeIndex, answer: Answer | Exception, message: str
) -> None:
    fake_index.answer = answer

    with pytest.raises(InfrastructureError, match=UNUSABLE + f".*{message}") as raised:
        releases.day_of("trll", "1")

    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("answer", [page(file("1", None)), html(b'<a href="trll-1.tar.gz#sha256=0">x</a>')])
def test_an_index_without_upload_times_is_not_enough(fake_index: FakeIndex, answer: Answer) -> None:
    fake_index.answer = answer

    with pytest.raises(InfrastructureError, match="does not report upload times for trll"):
        releases.releases("trll")


def test_the_index_url_comes_from_uvs_settings_or_pips(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(uv, "_pip_config", lambda name: f"configured {name}")

    assert uv.index_url() == "configured index-url"
    monkeypatch.setenv("PIP_INDEX_URL", "pip's")
    assert uv.index_url() == "pip's"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "uv's")
    assert uv.index_url() == "uv's"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_certificates_are_those_that_uv_trusts(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
    with pytest.raises(InfrastructureError, match=r"missing\.pem"):
        index.files("https://localhost:1/simple", "trl")
