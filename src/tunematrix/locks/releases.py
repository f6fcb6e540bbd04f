"""Releases and their days, as the configured package index tells them."""

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
    """A version and the day (UTC) of its first file; ``yanked`` where all its files are."""

    version: Version
    day: datetime.date
    yanked: bool = False

    @property
    def final(self) -> bool:
        """Neither a prerelease nor yanked."""
        return not (self.version.is_prerelease or self.yanked)


@functools.cache
def releases(package: str) -> tuple[Release, ...]:
    """All releases of ``package`` in the order of their versions, asked once and kept as HTTP allows.

    Raises ``UsageError`` for a package that the index lacks, ``InfrastructureError`` where the index cannot
    be asked or does not tell upload times (PEP 700).
    """
    url = uv.index() or PYPI_SIMPLE_ENDPOINT
    with _asking(url) as client:
        try:
            page = client.get_project_page(package)
        except NoSuchProjectError:
            raise UsageError(f"the index has no package '{package}'; check its name") from None
        except (requests.RequestException, UnexpectedRepoVersionWarning) as error:
            raise InfrastructureError(f"the package index cannot be asked for {package}: {error}") from None
    files: dict[Version, list[tuple[datetime.datetime, bool]]] = {}
    for file in page.packages:
        if file.upload_time is None:
            raise InfrastructureError(
                f"the package index does not tell when {package} was uploaded (PEP 700); "
                "point UV_DEFAULT_INDEX to one that does"
            )
        with contextlib.suppress(InvalidVersion):
            files.setdefault(Version(file.version or ""), []).append((file.upload_time, file.is_yanked))
    return tuple(
        sorted(
            Release(version, min(times).astimezone(datetime.UTC).date(), all(gone))
            for version, uploads in files.items()
            for times, gone in [zip(*uploads, strict=True)]
        )
    )


@contextlib.contextmanager
def _asking(url: str) -> Iterator[PyPISimple]:
    cache = FileCache(platformdirs.user_cache_path("tunematrix") / "index")
    with PyPISimple(url, session=cachecontrol.CacheControl(requests.Session(), cache=cache)) as client:
        yield client


def day_of(package: str, version: str) -> datetime.date | None:
    """The day of one release; None where the index does not have it."""
    wanted = Version(version)
    return next((one.day for one in releases(package) if one.version == wanted), None)
