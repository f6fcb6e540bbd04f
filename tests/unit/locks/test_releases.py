"""Release lists: the days and yanks that an index reports, and its failures."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import requests
from packaging.version import Version
from pypi_simple import NoSuchProjectError

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.locks import releases, uv
from tunematrix.locks.releases import Release


def file(version: str, day: int | None, *, yanked: bool = False) -> SimpleNamespace:
    time = datetime.datetime(2026, 1, day, 23, 30, tzinfo=datetime.UTC) if day else None
    return SimpleNamespace(version=version, upload_time=time, is_yanked=yanked)


@pytest.fixture(name="index")
def _index(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The index's answer for any package: files, or an error to raise."""
    answer: list[object] = []

    def page(_: str) -> SimpleNamespace:
        if isinstance(answer[0], Exception):
            raise answer[0]
        return SimpleNamespace(packages=answer)

    @contextlib.contextmanager
    def client(_: str) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(get_project_page=page)

    monkeypatch.setattr(releases, "_client", client)
    monkeypatch.setattr(uv, "index_url", lambda: "http://index.example/simple")
    releases.releases.cache_clear()
    return answer


def test_releases_are_sorted_and_dated_by_their_first_file(index: list[object]) -> None:
    index += [file("1.10.0", 9), file("1.9.0", 5), file("1.9.0", 3), file("not a version", 1)]

    assert releases.releases("trl") == (
        Release(Version("1.9.0"), datetime.date(2026, 1, 3)),
        Release(Version("1.10.0"), datetime.date(2026, 1, 9)),
    )
    assert releases.day_of("trl", "1.10.0") == datetime.date(2026, 1, 9)
    assert releases.day_of("trl", "7") is None


def test_a_release_is_yanked_if_all_its_files_are(index: list[object]) -> None:
    index += [file("1", 1, yanked=True), file("2", 2, yanked=True), file("2", 2)]

    assert [release.yanked for release in releases.releases("trl")] == [True, False]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (NoSuchProjectError("trll", "url"), UsageError, "no package 'trll'"),
        (
            requests.ConnectionError("refused"),
            InfrastructureError,
            "cannot list trll on the package index: refused",
        ),
        (file("1", None), InfrastructureError, "PEP 700"),
    ],
)
def test_a_failed_index_request_raises(
    index: list[object], answer: object, error: type[Exception], message: str
) -> None:
    index.append(answer)

    with pytest.raises(error, match=message):
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
