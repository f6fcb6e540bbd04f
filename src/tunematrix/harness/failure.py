"""Exceptions as facts: which, where, and what caused it."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Final

import tunematrix
from tunematrix.pipeline.errors import PipelineError

# Frames of these packages say where an upgrade broke; torch's own are below what users pin against.
STACK: Final = ("transformers", "peft", "trl", "accelerate", "datasets", "huggingface_hub", "tokenizers")
ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")  # torch prints some messages in bold
OWN: Final = Path(tunematrix.__file__).parent


def describe(error: BaseException) -> dict[str, str]:
    """``type``, ``message``, ``where`` (package/file.py:line) and ``traceback`` of the deepest cause."""
    cause = deepest(error)
    return {
        "type": type(cause).__name__,
        "message": ANSI.sub("", str(cause)).strip() or "no message",
        "where": place(cause) or place(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def deepest(error: BaseException) -> BaseException:
    """The end of the ``__cause__`` chain; an error of the pipeline's own already says it best."""
    while error.__cause__ is not None and not isinstance(error, PipelineError):
        error = error.__cause__
    return error


def place(error: BaseException) -> str:
    """The innermost frame in the stack, else in the pipeline, else at all."""
    frames = traceback.extract_tb(error.__traceback__)
    shown = [(short_path(Path(frame.filename)), frame.lineno) for frame in frames]
    for packages in (STACK, ("tunematrix",)):
        for name, line in reversed(shown):
            if name.split("/")[0] in packages:
                return f"{name}:{line}"
    return f"{shown[-1][0]}:{shown[-1][1]}" if shown else ""


def short_path(path: Path) -> str:
    """The path from its package on: ``transformers/trainer.py``."""
    parts = path.parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return path.relative_to(OWN.parent).as_posix() if path.is_relative_to(OWN) else path.name
