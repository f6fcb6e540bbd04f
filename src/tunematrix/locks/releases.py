"""Releases of a package and their days, from the configured package index."""

from __future__ import annotations

import contextlib
import datetime
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import cachecontrol
import platformdirs
import requests
from cachecontrol.caches import FileCache
from packaging.version import InvalidVersion, Version
from pypi_simple import PYPI_SIMPLE_ENDPOINT, NoSuchProjectError, PyPISimple, UnexpectedRepoVersionWarning

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.locks import uv


@dataclass(frozen=True, order=True, slots=True)
class Release:
    """A version and the upload day (UTC) of its first file; ``yanked`` if all its files are yanked."""

    version: Version
    day: datetime.date
    yanked: bool = False

    @property
    def final(self) -> bool:
        """Neither a prerelease nor yanked."""
        return not (self.version.is_prerelease or self.yanked)


@functools.cache
def releases(package: str) -> tuple[Release, ...]:
    """All releases of ``package`` by ascending version; answers of the index are cached as HTTP allows.

    Raises ``UsageError`` for a package that the index does not have, ``InfrastructureError`` if the index
    cannot be reached or does not report upload times (PEP 700).
    """
    url = uv.index_url() or PYPI_SIMPLE_ENDPOINT
    with _client(url) as client:
        try:
            page = client.get_project_page(package)
        except NoSuchProjectError:
            raise UsageError(f"the package index has no package '{package}'; check the name") from None
        except (requests.RequestException, UnexpectedRepoVersionWarning) as error:
            raise InfrastructureError(f"cannot list {package} on the package index: {error}") from None
    uploads: dict[Version, list[tuple[datetime.datetime, bool]]] = {}
    for file in page.packages:
        if file.upload_time is None:
            raise InfrastructureError(
                f"the package index does not report upload times for {package} (PEP 700); "
                "point UV_DEFAULT_INDEX to one that does"
            )
        with contextlib.suppress(InvalidVersion):
            uploads.setdefault(Version(file.version or ""), []).append((file.upload_time, file.is_yanked))
    return tuple(
        sorted(
            Release(version, min(times).astimezone(datetime.UTC).date(), all(yanked))
            for version, files in uploads.items()
            for times, yanked in [zip(*files, strict=True)]
        )
    )


@contextlib.contextmanager
def _client(url: str) -> Iterator[PyPISimple]:
    cache = FileCache(platformdirs.user_cache_path("tunematrix") / "index")
    with PyPISimple(url, session=cachecontrol.CacheControl(requests.Session(), cache=cache)) as client:
        yield client


def day_of(package: str, version: str) -> datetime.date | None:
    """The day of one release; None if the index does not have it."""
    parsed = Version(version)
    return next((release.day for release in releases(package) if release.version == parsed), None)
