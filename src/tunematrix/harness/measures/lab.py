"""What all measures share: a model, options that leave nothing to a default, a place for numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.pipeline import compat, models
from tunematrix.pipeline.config import Lora
from tunematrix.pipeline.trace import Trace

Row = Mapping[str, Any]
SEED: Final = 42
OPTIONS: Final[Mapping[str, Any]] = {
    "max_steps": 1,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0.01,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "optim": "adamw_torch",
    "logging_steps": 1,
    "save_strategy": "no",
    "seed": SEED,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "bf16": False,
    "fp16": False,
    "dataloader_pin_memory": False,
}
BATCH: Final = ("input_ids", "labels", "position_ids", "completion_mask")
LORA: Final = Lora(rank=4, alpha=8, dropout=0.0)


@dataclass(kw_only=True, slots=True)
class Lab:
    """One measure of one model, with the tokenizer in the folder ``words``."""

    model: Path
    words: Path
    folder: Path
    trace: Trace
    prefix: str
    name: str

    def number(self, name: str, value: Any) -> None:
        """Keep a value as ``MODEL.MEASURE.NAME``; JSON has no infinity, so that one is kept as text."""
        group, _, what = self.name.partition("_")
        parts = (self.prefix, group, what, name)
        plain = str(value) if isinstance(value, float) and not math.isfinite(value) else value
        self.trace.numbers[".".join(part for part in parts if part)] = plain

    def load(self, path: Path | None = None) -> Any:
        return compat.load_model(str(path or self.model), _float32(), self.trace)

    def tokenizer(self) -> Any:
        return models.load_tokenizer(self.words)

    @property
    def chats(self) -> bool:
        return bool(getattr(self.tokenizer(), "chat_template", None))

    @property
    def trains(self) -> bool:
        """Whether the model is small enough to be trained for every measure."""
        return bool(self.prefix)

    def trainer(
        self, kind: str, rows: Sequence[Row], *, model: Any = None, lora: Any = LORA, **options: Any
    ) -> Any:
        """A trl trainer, ``kind`` being ``SFT`` or ``DPO``, on ``rows``; ``eval_rows`` is no option of it."""
        import datasets
        from transformers import set_seed

        set_seed(SEED)
        held_out = options.pop("eval_rows", None)
        parts = {
            "model": model or self.load(),
            "train_dataset": datasets.Dataset.from_list([dict(row) for row in rows]),
            "eval_dataset": datasets.Dataset.from_list([dict(row) for row in held_out]) if held_out else None,
            "processing_class": self.tokenizer(),
            "peft_config": models.lora_config(lora, "lora") if isinstance(lora, Lora) else lora,
        }
        asked = {**OPTIONS, "output_dir": str(self.folder / self.name), **options}
        return compat.build_trainer(kind, asked, parts, self.trace)

    def plain_trainer(self, kind: str, rows: Sequence[Row], **parts: Any) -> Any:
        """A trl trainer given ``transformers.TrainingArguments``, as scripts of its first releases do."""
        import datasets
        import transformers
        import trl

        asked = {**OPTIONS, "output_dir": str(self.folder / self.name)}
        arguments = transformers.TrainingArguments
        args = arguments(**compat.fit(arguments, "transformers.TrainingArguments", asked, self.trace))
        trainer = getattr(trl, f"{kind}Trainer")
        wanted = {
            "train_dataset": datasets.Dataset.from_list([dict(row) for row in rows]),
            "processing_class": self.tokenizer(),
            **parts,
        }
        return trainer(args=args, **compat.fit(trainer, f"trl.{kind}Trainer", wanted, self.trace))

    def tell_batch(self, trainer: Any) -> None:
        """The first batch as the model will see it, and how many rows the data set has become."""
        batch = next(iter(trainer.get_train_dataloader()))
        self.number("rows", len(trainer.train_dataset))
        self.number("batch_keys", sorted(batch))
        for key in batch:
            if key in BATCH or key.endswith("input_ids"):
                self.number(key, batch[key].tolist())

    def train(self, trainer: Any, resume: Path | None = None) -> tuple[float, list[dict[str, Any]]]:
        """Train; the loss as ``train`` returns it, unrounded, and the log's rows of training steps."""
        from transformers import set_seed

        set_seed(SEED)
        result = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        return result.training_loss, [row for row in trainer.state.log_history if "grad_norm" in row]

    def tell_step(self, trainer: Any) -> dict[str, Any]:
        """Train, keep the loss and the first step's gradient norm; returns that step's row of the log."""
        loss, [row, *_] = self.train(trainer)
        self.number("training_loss", loss)
        self.number("grad_norm", row["grad_norm"])
        return row


def lora_weights(model: Any) -> dict[str, Any]:
    """The LoRA tensors of a model's first adapter, copied."""
    return {name: value.detach().clone() for name, value in model.named_parameters() if "lora_" in name}


def fill(model: Any) -> None:
    """Give ``lora_B``, which starts at zero, other numbers: or nothing could get lost."""
    import torch

    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.copy_(torch.linspace(-0.1, 0.1, value.numel()).reshape(value.shape))


def distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The largest absolute difference of two sets of tensors; infinite where their names differ."""
    if one.keys() != other.keys():
        return float("inf")
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def logits(model: Any, tokenizer: Any, text: str = "The color of the sky is") -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(**tokenizer(text, return_tensors="pt")).logits[0].float()


def _float32() -> Any:
    import torch

    return torch.float32
