"""Supervised fine-tuning with trl: LoRA and its kin, or all weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunematrix.pipeline import compat, models, training
from tunematrix.pipeline.config import Finetune
from tunematrix.pipeline.trace import Trace


def finetune(config: Finetune, resume: Path | None, traced: Trace) -> None:
    """Fine-tune ``config.model`` and save it, with checkpoints, below ``training.output_dir``."""
    schedule = config.training
    train, held_out = training.load_dataset(config.dataset)
    options = training.options(schedule, config.device, config.model.dtype, evaluates=held_out is not None)
    options |= {"max_length": schedule.max_seq_length, "packing": schedule.packing}
    if config.dataset.text_field:
        options["dataset_text_field"] = "text"

    def build() -> Any:
        parts = {
            "model": models.load(config.model, traced),
            "train_dataset": train,
            "eval_dataset": held_out,
            "processing_class": models.load_tokenizer(config.model.path),
            "peft_config": models.lora_config(config.lora, schedule.method),
        }
        return compat.build_trainer("SFT", options, parts, traced)

    trainer = training.run(build, schedule, resume, traced)
    training.answer(trainer, config.sample, schedule, traced)
