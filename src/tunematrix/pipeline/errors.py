"""The errors that a user of the pipeline can cause or meet, each with its exit code."""

from __future__ import annotations


class PipelineError(Exception):
    """A message for people, and the exit code of the command that raised it."""

    exit_code = 1


class ConfigError(PipelineError):
    """The configuration, or a file or folder that it names, is wrong."""

    exit_code = 2


class HubError(PipelineError):
    """The Hub did not deliver: unreachable, refused, missing, or damaged."""

    exit_code = 3
