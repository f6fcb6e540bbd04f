"""Environment markers, for the Python version of a cell on this platform."""

from __future__ import annotations

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName

from tunematrix.base.errors import UsageError


def applies(marker: str, python: str, where: str, groups: list[str]) -> bool:
    """Whether an environment marker holds for a Python version, of which the newest patch is assumed."""
    release = python.split(".")
    full_version = python if len(release) > 2 else f"{python}.99"
    environment: dict[str, str | frozenset[str]] = {
        "python_version": ".".join(release[:2]),
        "python_full_version": full_version,
        "implementation_version": full_version,
        "extra": "",
        "extras": frozenset(),
        "dependency_groups": frozenset(groups),
    }
    try:
        return Marker(marker).evaluate(environment, context="lock_file")
    except (ValueError, UndefinedComparison, UndefinedEnvironmentName):
        raise UsageError(f"{where}: {marker[:200]!r} is not an environment marker") from None
