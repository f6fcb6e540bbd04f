"""Direct preference optimisation with trl, from a LoRA adapter or a full model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunematrix.pipeline import compat, models, training
from tunematrix.pipeline.config import AlignConfig
from tunematrix.pipeline.trace import Trace


def align(config: AlignConfig, resume: Path | None, trace: Trace) -> None:
    """Align ``config.model`` and save it, with its checkpoints, in ``alignment.output_dir``."""
    schedule = config.alignment
    train, held_out = training.load_dataset(config.dataset)
    options = training.trainer_options(
        schedule, config.device, config.model.dtype, evaluate=held_out is not None
    )
    options |= {"beta": schedule.beta, "loss_type": schedule.loss_type, "max_length": schedule.max_length}

    def build() -> Any:
        arguments = {
            "model": models.load(config.model, trace, trainable=True),
            "train_dataset": train,
            "eval_dataset": held_out,
            "processing_class": models.load_tokenizer(config.model.path),
        }
        if (reference := load_reference(config, trace)) is not None:
            arguments["ref_model"] = reference
        return compat.build_trainer("DPO", options, arguments, trace)

    trainer = training.train(build, schedule, resume, trace)
    training.write_sample(trainer, config.sample, schedule, trace)


def load_reference(config: AlignConfig, trace: Trace) -> Any:
    """Load the reference model that DPO compares the policy with; None leaves the choice to the stack.

    With an adapter, trl's own choice has changed: the base model up to 0.28, a frozen copy of the adapter
    that training starts from since 0.29.
    """
    if config.alignment.reference == "stack":
        return None
    if config.alignment.reference == "base" and models.is_adapter(config.model.path):
        return models.load_base(models.base_path(config.model.path), config.model, trace)
    start = models.load(config.model, trace)
    return start.merge_and_unload() if models.is_adapter(config.model.path) else start
