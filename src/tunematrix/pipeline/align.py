"""Direct preference optimisation with trl, from a LoRA adapter or a full model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunematrix.pipeline import compat, models, training
from tunematrix.pipeline.config import Align
from tunematrix.pipeline.trace import Trace


def align(config: Align, resume: Path | None, traced: Trace) -> None:
    """Align ``config.model`` and save it, with checkpoints, below ``alignment.output_dir``."""
    schedule = config.alignment
    train, held_out = training.load_dataset(config.dataset)
    options = training.options(schedule, config.device, config.model.dtype, evaluates=held_out is not None)
    options |= {"beta": schedule.beta, "loss_type": schedule.loss_type, "max_length": schedule.max_length}

    def build() -> Any:
        parts = {
            "model": models.load(config.model, traced, trainable=True),
            "train_dataset": train,
            "eval_dataset": held_out,
            "processing_class": models.load_tokenizer(config.model.path),
        }
        if (reference := reference_model(config, traced)) is not None:
            parts["ref_model"] = reference
        return compat.build_trainer("DPO", options, parts, traced)

    trainer = training.run(build, schedule, resume, traced)
    training.answer(trainer, config.sample, schedule, traced)


def reference_model(config: Align, traced: Trace) -> Any:
    """The model whose log-probabilities the policy is held against; None leaves it to the stack.

    What the stack does by itself with an adapter has changed: the base model up to trl 0.28, a frozen
    copy of the adapter that training starts from since 0.29.
    """
    if config.alignment.reference == "stack":
        return None
    if config.alignment.reference == "base" and models.is_adapter(config.model.path):
        return models.load_base(models.base_of(config.model.path), config.model, traced)
    start = models.load(config.model, traced)
    return start.merge_and_unload() if models.is_adapter(config.model.path) else start
