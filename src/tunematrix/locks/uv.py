"""Calling uv: where packages come from, and what its failures mean."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import uv

from tunematrix.base.errors import InfrastructureError, UntestableError

# uv's words for troubles of the network or the machine, not of the combination.
TROUBLE: Final = (
    "error sending request",
    "failed to fetch",
    "connection refused",
    "network connectivity is disabled",
    "no space left",
    "dns error",
    "timed out",
    "could not connect",
)


def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run uv with ``arguments``, quietly; never raises for its exit code."""
    command = [uv.find_uv_bin(), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    if links := find_links():
        environment["UV_FIND_LINKS"] = ",".join(links)
    if url := index():
        environment["UV_DEFAULT_INDEX"] = url
    environment["UV_NO_PROGRESS"] = "1"
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment)


def compile(  # noqa: A001  # uv's own word
    asked: Iterable[str], constraints: Iterable[str], options: Iterable[str]
) -> subprocess.CompletedProcess[str]:
    """``uv pip compile`` of requirements, held to ``constraints``."""
    with tempfile.TemporaryDirectory() as scratch:
        held = Path(scratch) / "constraints.txt"
        held.write_text("".join(f"{line}\n" for line in constraints))
        stdin = "".join(f"{line}\n" for line in asked)
        return run("pip", "compile", *options, "--constraint", str(held), "-", stdin=stdin)


def checked(
    done: subprocess.CompletedProcess[str], refusal: type[UntestableError]
) -> subprocess.CompletedProcess[str]:
    """``done`` if uv succeeded; else raises ``refusal``, or ``InfrastructureError``, with uv's own words."""
    if done.returncode:
        raise (InfrastructureError if is_trouble(done.stderr) else refusal)(done.stderr.strip())
    return done


def is_trouble(text: str) -> bool:
    """Whether uv's message is about the network or the machine."""
    return any(words in text.lower() for words in TROUBLE)


def torch_source() -> list[str]:
    """The options that say where torch comes from.

    A wheel in a find-links folder wins: uv itself does not read pip's settings and would take a CUDA
    build of several gigabytes. Elsewhere uv's own backend choice, ``cpu`` unless ``UV_TORCH_BACKEND`` says
    another.
    """
    local = (Path(link.removeprefix("file://")) for link in find_links())
    if any(next(folder.glob("torch-*.whl"), None) for folder in local if folder.is_dir()):
        return []
    return ["--torch-backend", os.environ.get("UV_TORCH_BACKEND", "cpu")]


def find_links() -> tuple[str, ...]:
    """Folders or pages with wheels: ``UV_FIND_LINKS``, else what pip is told."""
    if own := os.environ.get("UV_FIND_LINKS"):
        return tuple(own.split(","))
    return tuple((_pip("find-links") or "").split())


def index() -> str | None:
    """The package index that is configured for uv, else for pip; None for uv's own."""
    own = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    return own or _pip("index-url")


def _pip(setting: str) -> str | None:
    """A setting of pip: its variable, else its configuration."""
    return os.environ.get(f"PIP_{setting.replace('-', '_').upper()}") or _configured(setting)


@functools.cache
def _configured(setting: str) -> str | None:
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{setting}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() if asked.returncode == 0 else None
