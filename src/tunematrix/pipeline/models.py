"""Loading and saving models and tokenizers, adapters among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunematrix.pipeline import compat
from tunematrix.pipeline.config import Device, Lora, Model
from tunematrix.pipeline.errors import ConfigError
from tunematrix.pipeline.trace import Trace


def is_adapter(path: Path) -> bool:
    return (path / "adapter_config.json").is_file()


def base_of(path: Path) -> Path:
    """The base model's folder that an adapter's configuration names."""
    config = json.loads((path / "adapter_config.json").read_text())
    base = Path(config["base_model_name_or_path"])
    if not base.is_dir():
        raise ConfigError(f"{path}: its base model {base} is not there; download it to that folder first")
    return base


def place(device: Device) -> str:
    """The device to use: what was asked for or, for ``auto``, the best there is."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, present in there.items() if present)
    if not there[device]:
        raise ConfigError(f"device: this machine has no {device}; write 'device: auto' or 'device: cpu'")
    return device


def load_base(path: Path, model: Model, traced: Trace) -> Any:
    import torch

    return compat.load_model(str(path), getattr(torch, model.dtype), traced)


def load(model: Model, traced: Trace, *, trainable: bool = False) -> Any:
    """The model at ``model.path``; for an adapter, its base model with the adapter on it."""
    if not is_adapter(model.path):
        return load_base(model.path, model, traced)
    from peft import PeftModel

    base = load_base(base_of(model.path), model, traced)
    return PeftModel.from_pretrained(base, str(model.path), is_trainable=trainable)


def load_tokenizer(path: Path) -> Any:
    """The tokenizer at ``path``, else of its base; padding falls back to the end token, as GPT-2 needs."""
    from transformers import AutoTokenizer

    own = (path / "tokenizer_config.json").is_file()
    tokenizer = AutoTokenizer.from_pretrained(str(path if own else base_of(path)))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def lora_config(lora: Lora, method: str) -> Any:
    """peft's configuration for ``lora``, ``dora`` or ``rslora``; None for ``full``."""
    if method == "full":
        return None
    from peft import LoraConfig

    targets = list(lora.targets) if isinstance(lora.targets, tuple) else lora.targets
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        use_dora=method == "dora",
        use_rslora=method == "rslora",
    )
