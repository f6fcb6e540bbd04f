"""Exceptions as facts: type, message, place in the code, and the cause of all."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Final

import tunematrix
from tunematrix.pipeline.errors import PipelineError
from tunematrix.shared.secrets import mask

# Frames of these packages show where an upgrade broke something; torch's frames lie too deep to help.
STACK: Final = ("transformers", "peft", "trl", "accelerate", "datasets", "huggingface_hub", "tokenizers")
ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")  # torch prints some messages in bold
# What the Hub's clients say of a repository that is not there.
NO_REPOSITORY: Final = re.compile(r"\b40[134] Client Error|Repository Not Found|not a valid model identifier")
ONE_MODEL: Final = (
    "\nThe Hub of the cells has one tiny model and no datasets: give the script {model} and local data"
)
# The folders of a team's own scripts, whose lines say most; paths in them are shown relative to them.
own_folders: list[Path] = []
PACKAGE: Final = Path(tunematrix.__file__).parent


def describe_error(error: BaseException) -> dict[str, str]:
    """``type``, ``message``, ``where`` (package/file.py:line) and ``traceback`` of the deepest cause."""
    cause = deepest_cause(error)
    raised = getattr(cause, "raised", None)  # by another process, which a script started
    message = ANSI.sub("", str(cause)).strip() or "no message"
    return {
        "type": raised.type if raised else type(cause).__name__,
        "message": mask(message + (ONE_MODEL if own_folders and NO_REPOSITORY.search(message) else "")),
        "where": raised.where if raised and raised.where else _where(cause) or _where(error),
        "traceback": mask(_relative("".join(traceback.format_exception(error)))),
    }


def describe_with_context(failure: Exception) -> dict[str, str]:
    """The error, and the one that was being handled when it came, which people would otherwise not see.

    transformers 4 imports protobuf to handle errors of tokenizers, and says that protobuf is missing.
    """
    error = describe_error(failure)
    hidden: BaseException = failure
    while hidden.__context__ is not None:
        hidden = hidden.__context__
    if hidden is not failure and isinstance(failure, ImportError):
        error["cause"] = f"{type(hidden).__name__}: {hidden}"
    return error


def _where(error: BaseException) -> str:
    """The place of an error; none in our own code for a script that only says that it failed."""
    where = location(error)
    return "" if hasattr(error, "raised") and where.startswith(f"{PACKAGE.name}/") else where


def deepest_cause(error: BaseException) -> BaseException:
    """The end of the ``__cause__`` chain; stops at a ``PipelineError``, whose message is the clearest."""
    while error.__cause__ is not None and not isinstance(error, PipelineError):
        error = error.__cause__
    return error


def location(error: BaseException) -> str:
    """The innermost frame in a team's own code, else in the stack, else in the pipeline, else of all."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any((folder / frame.filename).is_relative_to(folder) for folder in own_folders):
            return f"{_relative(frame.filename)}:{frame.lineno}"
    frames = [
        (short_path(Path(frame.filename)), frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    for packages in (STACK, ("tunematrix",)):
        for path, line in reversed(frames):
            if path.split("/")[0] in packages:
                return f"{path}:{line}"
    return f"{frames[-1][0]}:{frames[-1][1]}" if frames else ""


def _relative(text: str) -> str:
    for folder in own_folders:
        text = text.replace(f"{folder}/", "")
    return text


def short_path(path: Path) -> str:
    """The path from its package on: ``transformers/trainer.py``."""
    parts = path.parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE) else path.name
