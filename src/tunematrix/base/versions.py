"""Versions as records and locks have them."""

from __future__ import annotations

import functools

from packaging.requirements import Requirement
from packaging.version import Version


@functools.lru_cache(maxsize=2**13)  # the same few releases are compared with each other again and again
def parse_version(text: str | None) -> Version | None:
    """The version; None without one, and for a text such as ``weird``, which no release can be compared with.

    A lock may pin one with ``===``.
    """
    try:
        return Version(text) if text is not None else None
    except ValueError:  # InvalidVersion, or what int() raises for too many digits
        return None


def exact_version(requirement: Requirement) -> str | None:
    """The version to which a requirement is pinned; None for a range, also for one such as ``==1.*``."""
    exact = (
        clause.version
        for clause in requirement.specifier
        if clause.operator in ("==", "===") and "*" not in clause.version
    )
    return next(exact, None)


def parse_requirement(text: str) -> Requirement:
    """The requirement; raises ``ValueError`` also for a version that would fail only when it is compared."""
    requirement = Requirement(text)
    for clause in requirement.specifier:
        Version(clause.version.removesuffix(".*"))
    return requirement
