"""One tree of errors, one exit code per kind; ``tunematrix.cli.main.main`` turns them into exits."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class TunematrixError(Exception):
    """What went wrong, why, and what to type."""

    exit_code: ClassVar[int] = 1


class RegressionError(TunematrixError):
    """Something is not as expected: a regression, an unexpected pass, an expired ledger entry."""

    exit_code = 1


class UsageError(TunematrixError):
    """Bad input: a file, a key, a name or an option."""

    exit_code = 2


class UntestableError(TunematrixError):
    """A combination could not be tested; ``outcome`` is what its record says."""

    exit_code = 3
    outcome: ClassVar[str] = "crashed"


class UnresolvableError(UntestableError):
    """The resolver refuses the pins; the message is its own explanation."""

    outcome = "unresolvable"


class UninstallableError(UntestableError):
    """The lock cannot be installed here."""

    outcome = "uninstallable"


class InfrastructureError(UntestableError):
    """Network, disk, memory or time; nothing about the combination."""


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...`` or, where nothing is near, ``; there is ...``."""
    names = list(known)
    if close := difflib.get_close_matches(word, names, n=1):
        return f"; did you mean '{close[0]}'?"
    return f"; there is {', '.join(names)}" if names else ""
