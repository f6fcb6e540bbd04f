"""The client of the package index against a real server: it ends soon, and never blames a package."""

from __future__ import annotations

import datetime
import gzip
import os
import time
from collections.abc import Iterator

import pytest

from tests.tool import indexes
from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.locks import index, releases

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
DAY = datetime.date(2026, 1, 2)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(index, "READ_SECONDS", 1)
    releases.releases.cache_clear()


@pytest.fixture(name="fault")
def _fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes | None]]:
    """Paths and the raw answers to them; other paths are answered by the working index."""
    faults: dict[str, bytes | None] = {}
    with indexes.serving(lambda path: faults.get(path, indexes.toy_index(path))) as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{url.replace('//', '//user:canary_secret@')}/simple")
        yield faults


def test_a_working_index_lists_releases_and_denies_packages(fault: dict[str, bytes | None]) -> None:
    assert [(str(release.version), release.day) for release in releases.releases("alpha")] == [
        ("1.0", DAY),
        ("2.0", DAY),
    ]
    assert releases.day_of("alpha", "3") is None
    with pytest.raises(UsageError, match="the package index has no package 'gamma'"):
        releases.releases("gamma")
    with pytest.raises(UsageError, match=r"'\.\./alpha' is not the name of a package"):
        releases.releases("../alpha")


@pytest.mark.parametrize("name", indexes.FAULTS)
def test_a_fault_of_the_index_names_the_index_and_no_secret(
    fault: dict[str, bytes | None], name: str
) -> None:
    fault["/simple/alpha/"] = indexes.FAULTS[name]

    with pytest.raises(
        InfrastructureError, match=r"the package index http://\S+/simple/ cannot list alpha: "
    ) as e:
        releases.day_of("alpha", "1.0")

    assert "canary" not in str(e.value)
    assert "\n" not in str(e.value)


def test_a_404_of_a_server_that_is_no_index_proves_nothing(fault: dict[str, bytes | None]) -> None:
    fault["/simple/"] = indexes.response(404)

    with pytest.raises(InfrastructureError, match="cannot list gamma: it answers with HTTP status 404"):
        releases.releases("gamma")


def test_a_huge_answer_is_refused_before_it_fills_the_memory(
    fault: dict[str, bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MAX_BYTES", 2**20)
    bomb = gzip.compress(b" " * 2**26)
    fault["/simple/alpha/"] = indexes.response(200, bomb, indexes.JSON, "Content-Encoding: gzip")

    with pytest.raises(InfrastructureError, match="an answer of more than 1 MB"):
        releases.releases("alpha")


def test_an_index_that_drips_is_given_up_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "TOTAL_SECONDS", 1)

    def drip(_: str) -> bytes:
        time.sleep(0.1)
        return indexes.response(302, b"", "text/plain", f"Location: /{time.monotonic_ns()}/")

    with indexes.serving(drip) as url:
        start = time.monotonic()
        with pytest.raises(InfrastructureError, match="no complete answer in 1 s"):
            index.files(f"{url}/simple", "alpha")

    assert time.monotonic() - start < 10


def test_an_index_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (
        "http://127.0.0.1:9/simple",
        "http://no.such.host.invalid/simple",
        "file:///nope",
        "http://[",
    ):
        with pytest.raises(InfrastructureError, match="cannot list alpha"):
            index.files(url, "alpha")
