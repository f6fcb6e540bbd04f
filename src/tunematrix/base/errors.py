"""The error tree, with an exit code per class; ``tunematrix.cli.main.main`` exits with it."""

from __future__ import annotations

from typing import ClassVar


class TunematrixError(Exception):
    """The message states what went wrong, why, and what to type."""

    exit_code: ClassVar[int] = 1


class RegressionError(TunematrixError):
    """A result differs from what is expected: a regression, an unexpected pass, an expired ledger entry."""

    exit_code = 1


class UsageError(TunematrixError):
    """Bad input: a file, a key, a name or an option."""

    exit_code = 2


class UntestableError(TunematrixError):
    """A combination could not be tested; ``outcome`` is the outcome of its record."""

    exit_code = 3
    outcome: ClassVar[str] = "crashed"


class UnresolvableError(UntestableError):
    """The resolver refuses the pins; the message is the resolver's explanation."""

    outcome = "unresolvable"


class UninstallableError(UntestableError):
    """The lock cannot be installed on this machine."""

    outcome = "uninstallable"


class InfrastructureError(UntestableError):
    """The network, disk, memory or a timeout failed, which proves nothing about the combination."""
