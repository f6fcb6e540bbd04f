"""What a user of the pipeline can get wrong or run into, each with its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PipelineError(Exception):
    """A message for people, and the exit code of the command that raised it."""

    exit_code = 1


class ConfigError(PipelineError):
    """The configuration, or what it names, is wrong."""

    exit_code = 2


class HubError(PipelineError):
    """The Hub could not give what was asked for: unreachable, refused, missing, or damaged."""

    exit_code = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean ...`` or, where nothing is near, ``; valid: ...``."""
    names = list(known)
    if close := difflib.get_close_matches(word, names, n=1):
        return f"; did you mean '{close[0]}'?"
    return f"; valid: {', '.join(names)}" if names else ""
