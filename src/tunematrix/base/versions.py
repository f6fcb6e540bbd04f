"""Versions as records and locks have them."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.version import Version


def parse_version(text: str | None) -> Version | None:
    """The version; None without one, and for a text such as ``weird``, which no release can be compared with.

    A lock may pin one with ``===``.
    """
    try:
        return Version(text) if text is not None else None
    except ValueError:  # InvalidVersion, or what int() raises for too many digits
        return None


def parse_requirement(text: str) -> Requirement:
    """The requirement; raises ``ValueError`` also for a version that would fail only when it is compared."""
    requirement = Requirement(text)
    for clause in requirement.specifier:
        Version(clause.version.removesuffix(".*"))
    return requirement
