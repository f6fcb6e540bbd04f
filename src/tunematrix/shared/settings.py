"""Environment variables and commands of the stack: how a record names them, and how sources read them."""

from __future__ import annotations

import re
from typing import Final

PACKAGES: Final = ("transformers", "peft", "trl", "accelerate", "datasets", "huggingface_hub")
# Of the keys ``PACKAGE:environment`` and ``PACKAGE:commands`` of a record's ``symbols``.
ENVIRONMENT: Final = "environment"
COMMANDS: Final = "commands"
SETTING: Final = re.compile(rf"\w+:(?:{ENVIRONMENT}|{COMMANDS})(?:\.|$)")
NAME: Final = r"""["']([A-Z][A-Z0-9]*_[A-Z0-9_]+)["']"""
# As an argument or a key of what reads the environment; one that is set, and not read, is followed by "=".
READ: Final = re.compile(
    rf"(?:environ(?:\.get|\.pop)?|getenv|_env\w*)\s*[\[(]\s*\[?\s*{NAME}(?!\s*\]\s*=[^=])"
)
ASKED: Final = re.compile(rf"{NAME}\s+(?:not\s+)?in\s+os\.environ")


def read_variables(source: str) -> set[str]:
    """The names of environment variables that Python code reads, as far as they stand there."""
    if "env" not in source:  # most do not
        return set()
    return {name for pattern in (READ, ASKED) for name in pattern.findall(source)}


def is_setting(name: str) -> bool:
    """Whether a key of ``symbols``, or a name below it, is of environment variables or commands."""
    return bool(SETTING.match(name))


def split_setting(name: str) -> tuple[str, str, str]:
    """Package, kind and name of ``PACKAGE:KIND.NAME``."""
    package, _, rest = name.partition(":")
    kind, _, setting = rest.partition(".")
    return package, kind, setting
