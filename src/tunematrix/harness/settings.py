"""What the stack takes from outside of Python: environment variables that it reads, and commands.

One that it no longer reads is ignored without a word, so a cache lands elsewhere, or a speed-up is off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from tunematrix.harness.names import package_folder
from tunematrix.shared.settings import COMMANDS, ENVIRONMENT, PACKAGES, read_variables

# Thousands of files that read none of their own, and helpers of the packages' tests.
SKIPPED: Final = ("models", "packaged_modules", "test_utils", "testing_utils.py")


def settings() -> dict[str, list[str]]:
    """Names by ``PACKAGE:environment`` and ``PACKAGE:commands``, of the packages that are installed."""
    found = {}
    for package in PACKAGES:
        if (folder := package_folder(package)) is None:
            continue
        variables: set[str] = set()
        for file in _sources(folder):
            variables |= read_variables(file.read_text(encoding="utf-8", errors="replace"))
        found[f"{package}:{ENVIRONMENT}"] = sorted(variables)
        found[f"{package}:{COMMANDS}"] = sorted(_commands(package))
    return found


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in SKIPPED:
            continue
        if path.is_dir():
            yield from sorted(path.rglob("*.py"))
        elif path.suffix == ".py":
            yield path


def _commands(package: str) -> Iterator[str]:
    with contextlib.suppress(metadata.PackageNotFoundError):
        entries = metadata.distribution(package.replace("_", "-")).entry_points
        yield from (entry.name for entry in entries if entry.group == "console_scripts")
