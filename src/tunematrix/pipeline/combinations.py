"""The rules of a configuration that involve several keys, the file system or the names of the Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tunematrix.pipeline.config import AlignConfig, DownloadConfig, FinetuneConfig
from tunematrix.pipeline.errors import ConfigError
from tunematrix.shared.repos import RULE, is_repo_id


def check_combinations(config: Any, file: str) -> None:
    """Raise ``ConfigError``, which names ``file``, unless all rules hold."""
    if isinstance(config, DownloadConfig):
        _check_download(config, file)
        return
    if isinstance(config, FinetuneConfig):
        _check_training(config, config.training.output_dir, "training", file)
        forms = {frozenset({"text"}), frozenset({"messages"}), frozenset({"prompt", "completion"})}
        if frozenset(config.dataset.columns()) not in forms:
            raise ConfigError(
                f"{file}: dataset: set text_field, or messages_field, or prompt_field and completion_field"
            )
    elif isinstance(config, AlignConfig):
        _check_training(config, config.alignment.output_dir, "alignment", file)
    else:
        _check_output(config.output_dir, f"{file}: output_dir")
    # os.path, because methods of Path raise for a path that the file system refuses.
    if not os.path.isdir(config.model.path):  # noqa: PTH112
        raise ConfigError(
            f"{file}: model.path: no such folder: {config.model.path}; "
            "get the model with 'python -m tunematrix.pipeline download' first"
        )


def _check_download(config: DownloadConfig, file: str) -> None:
    for index, entry in enumerate(config.models):
        key = f"{file}: models[{index}]"
        if not is_repo_id(entry.repo):
            raise ConfigError(f"{key}.repo: {entry.repo[:100]!r} is not a repository id of the Hub: {RULE}")
        if not entry.revision.strip():
            raise ConfigError(f"{key}.revision: empty; name a branch, a tag or a commit")
        _check_output(entry.output_dir, f"{key}.output_dir")


def _check_training(config: FinetuneConfig | AlignConfig, output: Path, section: str, file: str) -> None:
    if config.dataset.eval_split >= 1:
        raise ConfigError(f"{file}: dataset.eval_split: a share of the data, at least 0 and less than 1")
    if config.lora.dropout >= 1:
        raise ConfigError(f"{file}: lora.dropout: a probability, at least 0 and less than 1")
    if not os.path.isfile(config.dataset.path):  # noqa: PTH113
        raise ConfigError(f"{file}: dataset.path: no such file: {config.dataset.path}")
    _check_output(output, f"{file}: {section}.output_dir")


def _check_output(folder: Path, key: str) -> None:
    if os.path.lexists(folder) and not os.path.isdir(folder):  # noqa: PTH112
        raise ConfigError(f"{key}: {folder} is not a folder")
