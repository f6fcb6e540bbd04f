"""Releases of a package and their days, from the configured package index."""

from __future__ import annotations

import contextlib
import datetime
import functools
from dataclasses import dataclass

from packaging.version import Version

from tunematrix.base.errors import InfrastructureError, UsageError
from tunematrix.locks import index, uv


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
    """All releases of ``package`` by ascending version.

    Raises ``UsageError`` for a package that the index does not have, ``InfrastructureError`` if the index
    cannot be reached, does not answer as one, or does not report upload times (PEP 700).
    """
    from pypi_simple import UnparsableFilenameError, parse_filename  # slow, seldom needed

    files = index.files(uv.index_url(), package)
    if files is None:
        raise UsageError(f"the package index has no package '{package}'; check the name")
    uploads: dict[Version, list[tuple[datetime.datetime, bool]]] = {}
    for file in files:
        if file.uploaded is None:
            raise InfrastructureError(
                f"the package index does not report upload times for {package} (PEP 700); "
                "point UV_DEFAULT_INDEX to one that does"
            )
        with contextlib.suppress(UnparsableFilenameError, ValueError):
            version = Version(parse_filename(file.name, package)[1])
            uploads.setdefault(version, []).append((file.uploaded, file.yanked))
    return tuple(
        sorted(
            Release(version, min(times).date(), all(yanked))
            for version, entries in uploads.items()
            for times, yanked in [zip(*entries, strict=True)]
        )
    )


def day_of(package: str, version: str) -> datetime.date | None:
    """The day of one release; None if the index does not have it."""
    parsed = Version(version)
    return next((release.day for release in releases(package) if release.version == parsed), None)
