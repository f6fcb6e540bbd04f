"""The user's configurations of a ``--workload DIR``, which override those of the workflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from tunematrix.pipeline.errors import ConfigError
from tunematrix.shared.reading import UnreadableError, parse_yaml, read_text

TOKEN_VARIABLE: Final = "TUNEMATRIX_WORKLOAD_TOKEN"  # noqa: S105  # the name of a variable


def apply_workload(command: str, config: dict[str, Any]) -> dict[str, Any]:
    """``config`` updated section by section from ``COMMAND.yaml`` in the user's ``--workload DIR``.

    ``dataset.path`` is relative to that folder; with it, the section replaces the workflow's ``dataset``. A
    literal token stays in the environment of this process, so that no file of the run has it. Raises
    ``ConfigError``.
    """
    folder = Path(os.environ.get("TUNEMATRIX_WORKLOAD", ""))
    source = folder / f"{command}.yaml"
    if not os.environ.get("TUNEMATRIX_WORKLOAD") or not source.is_file():
        return config
    workload = read_workload(source)
    dataset = workload.get("dataset")
    if isinstance(dataset, dict) and isinstance(dataset.get("path"), str):
        config = {**config, "dataset": {}}
        workload["dataset"] = {**dataset, "path": str(folder / dataset["path"])}
    login = workload.get("huggingface")
    if isinstance(login, dict) and isinstance(token := login.get("token"), str) and "${" not in token:
        os.environ[TOKEN_VARIABLE] = token
        workload["huggingface"] = {**login, "token": f"${{{TOKEN_VARIABLE}}}"}
    return config | {key: _updated(config.get(key), value) for key, value in workload.items()}


def _updated(section: Any, update: Any) -> Any:
    return {**section, **update} if isinstance(section, dict) and isinstance(update, dict) else update


def read_workload(source: Path) -> dict[str, Any]:
    """The sections in a configuration of the user's; raises ``ConfigError``."""
    try:
        content = parse_yaml(read_text(source), source, allow_nan=True)
    except UnreadableError as error:
        raise ConfigError(str(error)) from None
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{source}: must be a mapping of sections")
    return content or {}
