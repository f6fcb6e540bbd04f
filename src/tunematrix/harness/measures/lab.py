"""What all measures share: a model, options that do not depend on defaults, a place for numbers."""

from __future__ import annotations

import copy
import functools
import importlib.metadata
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.pipeline import compat, models
from tunematrix.pipeline.config import Lora
from tunematrix.pipeline.trace import Trace

Row = Mapping[str, Any]
_loaded: dict[Path, Any] = {}
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
BATCH_KEYS: Final = ("input_ids", "labels", "position_ids", "completion_mask")
LORA: Final = Lora(rank=4, alpha=8, dropout=0.0)


@dataclass(kw_only=True, slots=True)
class Lab:
    """The setting of one measure: a model, a tokenizer, a work folder, and the trace for its numbers."""

    model: Path
    tokenizer: Path
    folder: Path
    trace: Trace
    prefix: str
    name: str

    def add_number(self, name: str, value: Any) -> None:
        """Record ``value`` as ``MODEL.GROUP.MEASURE.NAME``; infinity and NaN as text, JSON has neither."""
        group, _, measure = self.name.partition("_")
        parts = (self.prefix, group, measure, name)
        json_value = str(value) if isinstance(value, float) and not math.isfinite(value) else value
        self.trace.numbers[".".join(part for part in parts if part)] = json_value

    def load(self, path: Path | None = None) -> Any:
        """The model at ``path``; the lab's own, if none is given, is read once in a process and copied."""
        return _load(path, self.trace) if path else copy.deepcopy(load_once(self.model, self.trace))

    def load_tokenizer(self) -> Any:
        return models.load_tokenizer(self.tokenizer)

    @property
    def has_chat_template(self) -> bool:
        return bool(getattr(self.load_tokenizer(), "chat_template", None))

    @property
    def can_train(self) -> bool:
        """Whether the measure is one of a tiny model, which is small enough to train for every measure."""
        return bool(self.prefix)

    def trainer(
        self, algorithm: str, rows: Sequence[Row], *, model: Any = None, lora: Any = LORA, **options: Any
    ) -> Any:
        """Build a trl trainer for ``rows``; ``algorithm`` is ``SFT`` or ``DPO``.

        Among the options, ``eval_rows`` is the held-out data and ``ref_model`` DPO's reference model; the
        others go to the trainer's config.
        """
        import datasets
        from transformers import set_seed

        set_seed(SEED)
        held_out, reference = options.pop("eval_rows", None), options.pop("ref_model", None)
        arguments = {
            "model": model or self.load(),
            "train_dataset": datasets.Dataset.from_list([dict(row) for row in rows]),
            "eval_dataset": datasets.Dataset.from_list([dict(row) for row in held_out]) if held_out else None,
            "processing_class": self.load_tokenizer(),
            "peft_config": models.lora_config(lora, "lora") if isinstance(lora, Lora) else lora,
            **({"ref_model": reference} if reference else {}),
        }
        options = {**OPTIONS, "output_dir": str(self.folder / self.name), **options}
        return compat.build_trainer(algorithm, options, arguments, self.trace)

    def plain_trainer(self, algorithm: str, rows: Sequence[Row], **arguments: Any) -> Any:
        """Build a trl trainer from ``transformers.TrainingArguments``, as scripts for early releases do."""
        import datasets
        import transformers
        import trl

        config = transformers.TrainingArguments
        options = {**OPTIONS, "output_dir": str(self.folder / self.name)}
        args = config(**compat.adapt_arguments(config, "transformers.TrainingArguments", options, self.trace))
        trainer = getattr(trl, f"{algorithm}Trainer")
        arguments = {
            "train_dataset": datasets.Dataset.from_list([dict(row) for row in rows]),
            "processing_class": self.load_tokenizer(),
            **arguments,
        }
        trainer_name = f"trl.{algorithm}Trainer"
        return trainer(args=args, **compat.adapt_arguments(trainer, trainer_name, arguments, self.trace))

    def add_batch(self, trainer: Any) -> None:
        """Record the first batch as the model will see it, and the number of rows of the prepared dataset."""
        batch = next(iter(trainer.get_train_dataloader()))
        self.add_number("rows", len(trainer.train_dataset))
        self.add_number("batch_keys", sorted(batch))
        for key in batch:
            if key in BATCH_KEYS or key.endswith("input_ids"):
                self.add_number(key, batch[key].tolist())

    def train(self, trainer: Any, resume: Path | None = None) -> tuple[float, list[dict[str, Any]]]:
        """Train; returns the loss, unrounded, and the log entries of the training steps."""
        from transformers import set_seed

        set_seed(SEED)
        result = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        return result.training_loss, [entry for entry in trainer.state.log_history if "grad_norm" in entry]

    def add_step(self, trainer: Any) -> dict[str, Any]:
        """Train, and record the loss and the first step's gradient norm; returns that step's log entry."""
        loss, [entry, *_] = self.train(trainer)
        self.add_number("training_loss", loss)
        self.add_number("grad_norm", entry["grad_norm"])
        return entry


def load_once(path: Path, trace: Trace) -> Any:
    """The model at ``path``, the same object for each call in this process; copy it before changing it."""
    if path not in _loaded:
        _loaded[path] = _load(path, trace)
    return _loaded[path]


def _load(path: Path, trace: Trace) -> Any:
    import torch

    return compat.load_model(str(path), torch.float32, trace)


def skip_repeated_work() -> None:
    """Spare this process what takes half of a short run and has no part in its result.

    A dataset's fingerprint is a hash over the pickled tokenizer and the source of each function, and serves
    only to find an earlier result in the cache; here it is a number. accelerate parses the metadata of peft
    each time it looks at a model; here they are read once. A seed for GPUs is kept, with the stack of its
    caller, for the day that there is one.
    """
    import torch
    from datasets.fingerprint import Hasher

    numbers = itertools.count()
    Hasher.hash = classmethod(lambda *_: f"{next(numbers):016x}")
    importlib.metadata.metadata = functools.cache(importlib.metadata.metadata)
    if not torch.cuda.is_available():
        torch.cuda.manual_seed_all = lambda _: None


def lora_weights(model: Any) -> dict[str, Any]:
    """Copies of the LoRA tensors of a model, by name."""
    return clones((name, value) for name, value in model.named_parameters() if "lora_" in name)


def clones(tensors: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Copies of tensors by name, which what happens to the model does not change."""
    return {name: value.detach().clone() for name, value in tensors}


def fill_lora_b(model: Any) -> None:
    """Fill ``lora_B``, which starts at zero, with numbers, so that losing the adapter shows."""
    import torch

    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.copy_(torch.linspace(-0.1, 0.1, value.numel()).reshape(value.shape))


def max_difference(left: Mapping[str, Any], right: Mapping[str, Any]) -> float:
    """The largest absolute difference of two sets of tensors; infinite if their names differ."""
    if left.keys() != right.keys():
        return float("inf")
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def logits(model: Any, tokenizer: Any, text: str = "The color of the sky is") -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(**tokenizer(text, return_tensors="pt")).logits[0].float()
