"""What the measures of relations share: short runs, what the model saw, when two results are equal."""

from __future__ import annotations

import copy
import functools
import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.harness.measures.lab import OPTIONS, SEED, Lab, Row, clones
from tunematrix.pipeline import compat, models
from tunematrix.pipeline.trace import Trace

# In two stacks, results that should be equal differed by up to 4e-6 of their size, for another order of sums;
# results that were not equal, by 1e-3 and more.
NOISE: Final = 3e-5
# Nothing that a default could decide: plain gradient descent, no clipping, no schedule.
PLAIN: Final[Mapping[str, Any]] = {
    **OPTIONS,
    "optim": "sgd",
    "lr_scheduler_type": "constant",
    "max_grad_norm": 1e9,
    "weight_decay": 0.0,
    "per_device_eval_batch_size": 1,
    "eval_strategy": "no",
    "label_smoothing_factor": 0.0,
    "dataloader_drop_last": False,
    "dataloader_num_workers": 0,
    "remove_unused_columns": False,
}
SFT: Final[Mapping[str, Any]] = {
    **{name: value for name, value in PLAIN.items() if name != "remove_unused_columns"},
    "dataset_text_field": "text",
    "max_length": 64,
    "packing": False,
}
LENGTHS: Final = (4, 23, 7, 14, 5, 10)
IGNORED: Final = -100
PAD: Final = 2
FORWARD_KEYS: Final = ("input_ids", "attention_mask", "position_ids")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A training run: its loss, its log, the batches that the model got, and the weights at its end."""

    loss: float
    log: list[dict[str, Any]]
    batches: list[dict[str, Any]]
    weights: dict[str, Any]
    steps: int

    @property
    def grad_norms(self) -> list[float]:
        return [float(entry["grad_norm"]) for entry in self.log if "grad_norm" in entry]

    @property
    def order(self) -> list[Any]:
        """The token ids of every batch, in the order that the model got them."""
        return [batch["input_ids"].tolist() for batch in self.batches]


@dataclass(kw_only=True, slots=True)
class Seen:
    """The arguments of the model's forward calls, those of training apart from those of evaluation."""

    training: list[dict[str, Any]] = field(default_factory=list)
    evaluation: list[dict[str, Any]] = field(default_factory=list)


def token_rows(count: int = len(LENGTHS)) -> list[dict[str, list[int]]]:
    """Rows of different lengths; the first third of every other row's labels is ignored."""
    rows = []
    for index, length in enumerate(LENGTHS[:count]):
        ids = [(37 * place + 101 * index) % 500 + 3 for place in range(length)]
        ignored = length // 3 if index % 2 else 0
        rows.append({"input_ids": ids, "labels": [IGNORED] * ignored + ids[ignored:]})
    return rows


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """The batch of ``rows``, padded on the right."""
    import torch

    length = max(len(row["input_ids"]) for row in rows)
    fills = {"input_ids": PAD, "labels": IGNORED, "attention_mask": 0}
    batch = {}
    for key, fill in fills.items():
        values = [list(row.get(key, [1] * len(row["input_ids"]))) for row in rows]
        batch[key] = torch.tensor([value + [fill] * (length - len(value)) for value in values])
    return batch


def sharp_model(lab: Lab) -> Any:
    """The tiny model with larger matrices: as it is, it answers almost the same whatever it attends to."""
    import torch

    model = lab.load()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim > 1:
                value.mul_(6)
    return model


def make_trainer(lab: Lab, model: Any, rows: Sequence[Row], **options: Any) -> Any:
    """A ``transformers.Trainer`` that trains a copy of ``model``.

    Among the options may be ``eval_rows``, ``collator``, ``compute_metrics`` and ``callbacks``, which are the
    trainer's, and ``folder``, the name of the output folder; the others are ``TrainingArguments``.
    """
    import transformers

    arguments = {
        "model": copy.deepcopy(model),
        "train_dataset": list(rows),
        "eval_dataset": options.pop("eval_rows", None),
        "data_collator": options.pop("collator", collate),
        "compute_metrics": options.pop("compute_metrics", None),
        "callbacks": options.pop("callbacks", None),
    }
    folder = lab.folder / lab.name / options.pop("folder", "trained")
    config = transformers.TrainingArguments
    options = {**PLAIN, "output_dir": str(folder), **options}
    adapted = compat.adapt_arguments(config, "transformers.TrainingArguments", options, Trace())
    return transformers.Trainer(args=config(**adapted), **arguments)


def make_sft(lab: Lab, model: Any, rows: Sequence[Row], *, seed: int | None = SEED, **options: Any) -> Any:
    """A trl ``SFTTrainer`` that trains a copy of ``model``, all of it if no ``lora`` is among the options.

    ``seed`` is the state of the global generators, which the initial LoRA weights are drawn from.
    """
    import datasets
    import transformers

    folder = lab.folder / lab.name / options.pop("folder", "sft")
    lora, held_out = options.pop("lora", None), options.pop("eval_rows", None)
    arguments = {
        "model": copy.deepcopy(model),
        "train_dataset": datasets.Dataset.from_list([dict(row) for row in rows]),
        "eval_dataset": datasets.Dataset.from_list([dict(row) for row in held_out]) if held_out else None,
        "processing_class": lab.load_tokenizer(),
        "peft_config": models.lora_config(lora, "lora") if lora else None,
    }
    options = {**SFT, "output_dir": str(folder), **options}
    if seed is not None:
        transformers.set_seed(seed)
    return compat.build_trainer("SFT", options, arguments, Trace())


@contextmanager
def watched(model: Any) -> Iterator[Seen]:
    """What the model gets inside the block."""
    import torch

    seen = Seen()

    def hook(module: Any, _: Any, arguments: dict[str, Any]) -> None:
        batch = clones((name, value) for name, value in arguments.items() if torch.is_tensor(value))
        (seen.training if module.training else seen.evaluation).append(batch)

    handle = model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def run(trainer: Any, resume: Any = None) -> Run:
    """Train, without setting a seed: the trainer has one."""
    with watched(trainer.model) as seen:
        result = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    _freeze_once()
    return Run(
        loss=float(result.training_loss),
        log=[dict(entry) for entry in trainer.state.log_history],
        batches=seen.training,
        weights=trained_weights(trainer.model),
        steps=trainer.state.global_step,
    )


@functools.cache
def _freeze_once() -> None:
    """The first run imports much of torch, and each run collects garbage, which would walk all of that."""
    gc.freeze()


def trained_weights(model: Any) -> dict[str, Any]:
    """Copies of the trainable parameters, by name."""
    return clones((name, value) for name, value in model.named_parameters() if value.requires_grad)


def all_weights(model: Any) -> dict[str, Any]:
    return clones(model.state_dict().items())


def forward(model: Any, batch: Mapping[str, Any]) -> Any:
    """The logits of a batch in evaluation mode."""
    import torch

    with torch.no_grad():
        inputs = {key: batch[key] for key in FORWARD_KEYS if key in batch}
        # Without a cache, as in training: with one, rows that are joined are not told apart.
        return model.eval()(**inputs, use_cache=False).logits.float()


def loss_sum(logits: Any, labels: Any) -> tuple[Any, int]:
    """The sum of the losses of a batch's tokens, written out, and the number of those tokens."""
    import torch

    targets = labels[:, 1:].flatten()
    each = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets, ignore_index=IGNORED, reduction="sum"
    )
    return each, int((targets != IGNORED).sum())


def true_step(model: Any, window: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The loss of an optimizer step, the mean over the tokens of its batches, and its gradient norm."""
    model = copy.deepcopy(model).train()
    total, tokens = 0.0, 0
    for batch in window:
        inputs = {key: batch[key] for key in FORWARD_KEYS if key in batch}
        logits = model(**inputs, use_cache=False).logits
        batch_sum, count = loss_sum(logits, batch["labels"])
        total, tokens = total + batch_sum, tokens + count
    loss = total / tokens
    loss.backward()  # type: ignore[attr-defined]  # a tensor after the first batch
    squares = sum(float(value.grad.square().sum()) for value in model.parameters() if value.grad is not None)
    return float(loss), math.sqrt(squares)


def difference(left: Any, right: Any) -> float:
    """The largest difference of two numbers, lists, tensors or dicts of them, relative to the largest value.

    0.0 below ``NOISE``, infinite for other names or shapes; two digits, so that rounding does not show.
    """
    import torch

    if isinstance(left, Mapping):
        if left.keys() != right.keys():
            return float("inf")
        return max((difference(left[name], right[name]) for name in left), default=0.0)
    left, right = torch.as_tensor(left).double(), torch.as_tensor(right).double()
    if left.shape != right.shape:
        return float("inf")
    if not left.numel():
        return 0.0
    size = max(float(left.abs().max()), float(right.abs().max()), 1e-12)
    found = float((left - right).abs().max()) / size
    if not math.isfinite(found):
        return float("inf")
    return 0.0 if found < NOISE else float(f"{found:.1e}")


def equal(left: Any, right: Any) -> bool:
    """Whether two results differ by nothing but rounding; NaN equals nothing."""
    return difference(left, right) == 0.0
