"""The configuration of each command: one dataclass per section of its YAML file, one field per key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

Device = Literal["cpu", "cuda", "mps", "auto"]
Dtype = Literal["float32", "bfloat16", "float16"]
Format = Literal["json", "jsonl", "csv", "parquet"]
Method = Literal["lora", "dora", "rslora", "full"]
Reference = Literal["stack", "base", "start"]
MAX_NUMBER: Final = 2**31 - 1  # the stack converts whole numbers to 32 bits, and others to float32
MAX_SEED: Final = 2**32 - 1  # numpy's


def bounded(default: Any, *, minimum: float, maximum: float = MAX_NUMBER) -> Any:
    """A numeric field with inclusive bounds; a tiny ``minimum`` stands for "more than 0"."""
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum})


@dataclass(frozen=True, kw_only=True, slots=True)
class HubLogin:
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadEntry:
    """A repository to download; ``files`` are names or glob patterns, None means all files."""

    repo: str
    output_dir: Path
    revision: str = "main"
    files: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadConfig:
    models: tuple[DownloadEntry, ...]
    huggingface: HubLogin = HubLogin()
    retries: int = bounded(5, minimum=0, maximum=100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The folder of a model or, for ``align`` and ``generate``, also of a LoRA adapter."""

    path: Path
    dtype: Dtype = "float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A prompt to complete greedily after training; the result is ``sample.json`` in ``output_dir``."""

    prompt: str
    max_new_tokens: int = bounded(16, minimum=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    rank: int = bounded(8, minimum=1)
    alpha: int = bounded(16, minimum=1)
    dropout: float = bounded(0.0, minimum=0)
    targets: str | tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The training options that fine-tuning and alignment share."""

    output_dir: Path
    max_steps: int = bounded(-1, minimum=-1)
    epochs: float = bounded(1.0, minimum=1e-9)
    batch_size: int = bounded(1, minimum=1)
    gradient_accumulation_steps: int = bounded(1, minimum=1)
    gradient_checkpointing: bool = False
    learning_rate: float = bounded(2e-4, minimum=0)
    scheduler: str = "linear"
    warmup_steps: int = bounded(0, minimum=0)
    weight_decay: float = bounded(0.0, minimum=0)
    max_grad_norm: float = bounded(1.0, minimum=0)
    optimizer: str = "adamw_torch"
    seed: int = bounded(42, minimum=0, maximum=MAX_SEED)
    save_steps: int = bounded(1, minimum=1)
    logging_steps: int = bounded(1, minimum=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Training(Schedule):
    method: Method = "lora"
    max_seq_length: int = bounded(1024, minimum=1)
    packing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment(Schedule):
    method: Literal["dpo"] = "dpo"
    learning_rate: float = bounded(5e-6, minimum=0)
    beta: float = bounded(0.1, minimum=0)
    loss_type: str = "sigmoid"
    reference: Reference = "stack"
    max_length: int = bounded(1024, minimum=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextDataset:
    """Training data of one of three forms; the fields that are set decide which."""

    path: Path
    format: Format = "json"
    text_field: str | None = None
    messages_field: str | None = None
    prompt_field: str | None = None
    completion_field: str | None = None
    eval_split: float = bounded(0.0, minimum=0)

    def columns(self) -> dict[str, str]:
        """The file's column for each standard column name of trl."""
        columns = {
            "text": self.text_field,
            "messages": self.messages_field,
            "prompt": self.prompt_field,
            "completion": self.completion_field,
        }
        return {standard: name for standard, name in columns.items() if name}


@dataclass(frozen=True, kw_only=True, slots=True)
class PreferenceDataset:
    """Preference pairs: a prompt with its better and its worse answer."""

    path: Path
    format: Format = "json"
    prompt_field: str = "prompt"
    chosen_field: str = "chosen"
    rejected_field: str = "rejected"
    eval_split: float = bounded(0.0, minimum=0)

    def columns(self) -> dict[str, str]:
        return {"prompt": self.prompt_field, "chosen": self.chosen_field, "rejected": self.rejected_field}


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    model: Model
    dataset: TextDataset
    training: Training
    lora: Lora = Lora()
    sample: Sample | None = None
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignConfig:
    model: Model
    dataset: PreferenceDataset
    alignment: Alignment
    lora: Lora = Lora()
    sample: Sample | None = None
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateConfig:
    model: Model
    sample: Sample
    output_dir: Path
    device: Device = "auto"
