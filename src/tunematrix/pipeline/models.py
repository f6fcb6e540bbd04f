"""Loading models, adapters and tokenizers."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tunematrix.pipeline import compat
from tunematrix.pipeline.config import Device, Lora, Model
from tunematrix.pipeline.errors import ConfigError
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.reading import UnreadableError, parse_json, read_text


def is_adapter(path: Path) -> bool:
    return (path / "adapter_config.json").is_file()


def base_path(adapter: Path) -> Path:
    """The folder of the base model that the configuration of ``adapter`` names; raises ``ConfigError``."""
    file = adapter / "adapter_config.json"
    try:
        config = parse_json(read_text(file), file, allow_nan=True)
    except UnreadableError as error:
        raise ConfigError(str(error)) from None
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str) or not os.path.isdir(base):  # noqa: PTH112  # Path raises for odd names
        raise ConfigError(f"{adapter}: no base model in {base}; download it to that folder first")
    return Path(base)


def resolve_device(device: Device) -> str:
    """The device to use; ``auto`` selects the fastest available one."""
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, present in available.items() if present)
    if not available[device]:
        raise ConfigError(f"device: this machine has no {device}; write 'device: auto' or 'device: cpu'")
    return device


def load_base(path: Path, model: Model, trace: Trace) -> Any:
    import torch

    return compat.load_model(str(path), getattr(torch, model.dtype), trace)


def load(model: Model, trace: Trace, *, trainable: bool = False) -> Any:
    """Load the model at ``model.path``; for an adapter, its base model with the adapter attached."""
    if not is_adapter(model.path):
        return load_base(model.path, model, trace)
    from peft import PeftModel

    base = load_base(base_path(model.path), model, trace)
    return PeftModel.from_pretrained(base, str(model.path), is_trainable=trainable)


def load_tokenizer(path: Path) -> Any:
    """Load the tokenizer at ``path``, or its base model's if it has none.

    A tokenizer without a padding token pads with its end token, as GPT-2 needs.
    """
    from transformers import AutoTokenizer

    has_tokenizer = (path / "tokenizer_config.json").is_file()
    tokenizer = AutoTokenizer.from_pretrained(str(path if has_tokenizer else base_path(path)))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def lora_config(lora: Lora, method: str) -> Any:
    """peft's configuration for ``lora``, ``dora`` or ``rslora``; None for ``full``.

    Arguments that old releases do not have are passed only to ask for what they do. Raises ``ConfigError`` if
    the release does not have what is asked for.
    """
    if method == "full":
        return None
    from peft import LoraConfig

    variant = {"dora": "use_dora", "rslora": "use_rslora"}.get(method)
    if variant and variant not in compat.accepted_arguments(LoraConfig):
        raise ConfigError(
            f"training.method: peft {version('peft')} has no {method}; use 'lora', or a newer peft"
        )
    targets = list(lora.targets) if isinstance(lora.targets, tuple) else lora.targets
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        **({variant: True} if variant else {}),
    )
