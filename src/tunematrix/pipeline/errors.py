"""The errors that a user of the pipeline can cause or meet, each with its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PipelineError(Exception):
    """A message for people, and the exit code of the command that raised it."""

    exit_code = 1


class ConfigError(PipelineError):
    """The configuration, or a file or folder that it names, is wrong."""

    exit_code = 2


class HubError(PipelineError):
    """The Hub did not deliver: unreachable, refused, missing, or damaged."""

    exit_code = 3


def did_you_mean(name: str, valid_names: Iterable[str]) -> str:
    """A message suffix: ``; did you mean ...`` or, if no valid name is similar, ``; valid: ...``."""
    names = list(valid_names)
    if matches := difflib.get_close_matches(name, names, n=1):
        return f"; did you mean '{matches[0]}'?"
    return f"; valid: {', '.join(names)}" if names else ""
