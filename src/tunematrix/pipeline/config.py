"""Configurations: what each command reads from its YAML file, a dataclass a section, a field a key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Device = Literal["cpu", "cuda", "mps", "auto"]
Dtype = Literal["float32", "bfloat16", "float16"]
Format = Literal["json", "jsonl", "csv", "parquet"]
Method = Literal["lora", "dora", "rslora", "full"]
Reference = Literal["stack", "base", "start"]


def number(default: Any, *, least: float) -> Any:
    """A field with a lower bound; ``least`` 0 with an exclusive bound is written as a tiny number."""
    return field(default=default, metadata={"least": least})


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A repository to download; ``files`` are names or glob patterns, all files without it."""

    repo: str
    output_dir: Path
    revision: str = "main"
    files: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    models: tuple[Wanted, ...]
    huggingface: Login = Login()
    retries: int = number(5, least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model folder or, for ``align`` and ``generate``, also a LoRA adapter's."""

    path: Path
    dtype: Dtype = "float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A prompt to answer greedily after training; written to ``sample.json`` in ``output_dir``."""

    prompt: str
    max_new_tokens: int = number(16, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    rank: int = number(8, least=1)
    alpha: int = number(16, least=1)
    dropout: float = number(0.0, least=0)
    targets: str | tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The training options that fine-tuning and alignment share."""

    output_dir: Path
    max_steps: int = number(-1, least=-1)
    epochs: float = number(1.0, least=1e-9)
    batch_size: int = number(1, least=1)
    gradient_accumulation_steps: int = number(1, least=1)
    gradient_checkpointing: bool = False
    learning_rate: float = number(2e-4, least=0)
    scheduler: str = "linear"
    warmup_steps: int = number(0, least=0)
    weight_decay: float = number(0.0, least=0)
    max_grad_norm: float = number(1.0, least=0)
    optimizer: str = "adamw_torch"
    seed: int = number(42, least=0)
    save_steps: int = number(1, least=1)
    logging_steps: int = number(1, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Training(Schedule):
    method: Method = "lora"
    max_seq_length: int = number(1024, least=1)
    packing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment(Schedule):
    method: Literal["dpo"] = "dpo"
    learning_rate: float = number(5e-6, least=0)
    beta: float = number(0.1, least=0)
    loss_type: str = "sigmoid"
    reference: Reference = "stack"
    max_length: int = number(1024, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """Training data of one of three kinds, by the field that is named."""

    path: Path
    format: Format = "json"
    text_field: str | None = None
    messages_field: str | None = None
    prompt_field: str | None = None
    completion_field: str | None = None
    eval_split: float = number(0.0, least=0)

    def columns(self) -> dict[str, str]:
        """The file's column for each standard column name of trl."""
        pairs = {
            "text": self.text_field,
            "messages": self.messages_field,
            "prompt": self.prompt_field,
            "completion": self.completion_field,
        }
        return {standard: name for standard, name in pairs.items() if name}


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """Preference pairs: a prompt, the better and the worse answer."""

    path: Path
    format: Format = "json"
    prompt_field: str = "prompt"
    chosen_field: str = "chosen"
    rejected_field: str = "rejected"
    eval_split: float = number(0.0, least=0)

    def columns(self) -> dict[str, str]:
        return {"prompt": self.prompt_field, "chosen": self.chosen_field, "rejected": self.rejected_field}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finetune:
    model: Model
    dataset: Texts
    training: Training
    lora: Lora = Lora()
    sample: Sample | None = None
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Align:
    model: Model
    dataset: Preferences
    alignment: Alignment
    lora: Lora = Lora()
    sample: Sample | None = None
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Generate:
    model: Model
    sample: Sample
    output_dir: Path
    device: Device = "auto"
