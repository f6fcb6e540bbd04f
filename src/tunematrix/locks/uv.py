"""Runs uv, configures where it gets packages, and classifies its failures."""

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

# Parts of uv's messages about failures of the network or the machine, not of the combination.
INFRASTRUCTURE_MESSAGES: Final = (
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
    """Run uv with ``arguments`` and capture its output; a failure of uv raises nothing."""
    command = [uv.find_uv_bin(), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    if links := find_links():
        environment["UV_FIND_LINKS"] = ",".join(links)
    if url := index_url():
        environment["UV_DEFAULT_INDEX"] = url
    environment["UV_NO_PROGRESS"] = "1"
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env=environment)


def compile(  # noqa: A001  # the name of uv's command
    requirements: Iterable[str], constraints: Iterable[str], options: Iterable[str]
) -> subprocess.CompletedProcess[str]:
    """``uv pip compile`` of ``requirements`` under ``constraints``."""
    with tempfile.TemporaryDirectory() as scratch:
        constraints_file = Path(scratch) / "constraints.txt"
        constraints_file.write_text("".join(f"{line}\n" for line in constraints))
        stdin = "".join(f"{line}\n" for line in requirements)
        return run("pip", "compile", *options, "--constraint", str(constraints_file), "-", stdin=stdin)


def checked(
    completed: subprocess.CompletedProcess[str], error_class: type[UntestableError]
) -> subprocess.CompletedProcess[str]:
    """``completed`` if uv succeeded.

    Otherwise raises ``InfrastructureError`` or ``error_class`` with uv's message.
    """
    if completed.returncode:
        failure = InfrastructureError if is_infrastructure(completed.stderr) else error_class
        raise failure(completed.stderr.strip())
    return completed


def is_infrastructure(message: str) -> bool:
    """Whether uv's message is about the network or the machine."""
    return any(text in message.lower() for text in INFRASTRUCTURE_MESSAGES)


def torch_options() -> list[str]:
    """The options that select where uv gets torch.

    If a find-links folder has a torch wheel, none: uv takes that wheel. Otherwise ``--torch-backend``, with
    ``UV_TORCH_BACKEND`` or ``cpu``, because uv by default takes a CUDA build of several gigabytes.
    """
    folders = (Path(link.removeprefix("file://")) for link in find_links())
    if any(next(folder.glob("torch-*.whl"), None) for folder in folders if folder.is_dir()):
        return []
    return ["--torch-backend", os.environ.get("UV_TORCH_BACKEND", "cpu")]


def find_links() -> tuple[str, ...]:
    """Folders or pages with wheels: ``UV_FIND_LINKS``, otherwise pip's setting, which uv does not read."""
    if links := os.environ.get("UV_FIND_LINKS"):
        return tuple(links.split(","))
    return tuple((_pip_setting("find-links") or "").split())


def index_url() -> str | None:
    """The package index that is configured for uv, otherwise for pip; None for uv's default."""
    url = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    return url or _pip_setting("index-url")


def _pip_setting(name: str) -> str | None:
    """A setting of pip: its environment variable, otherwise its configuration."""
    return os.environ.get(f"PIP_{name.replace('-', '_').upper()}") or _pip_config(name)


@functools.cache
def _pip_config(name: str) -> str | None:
    completed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{name}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return completed.stdout.strip() if completed.returncode == 0 else None
