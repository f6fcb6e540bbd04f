"""Supervised fine-tuning with trl: LoRA and its variants, or all weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunematrix.pipeline import compat, models, training
from tunematrix.pipeline.config import FinetuneConfig
from tunematrix.pipeline.trace import Trace


def finetune(config: FinetuneConfig, resume: Path | None, trace: Trace) -> None:
    """Fine-tune ``config.model`` and save it, with its checkpoints, in ``training.output_dir``."""
    schedule = config.training
    train, held_out = training.load_dataset(config.dataset)
    options = training.trainer_options(
        schedule, config.device, config.model.dtype, evaluate=held_out is not None
    )
    options |= {"max_length": schedule.max_seq_length, "packing": schedule.packing}
    if config.dataset.text_field:
        options["dataset_text_field"] = "text"

    def build() -> Any:
        arguments = {
            "model": models.load(config.model, trace),
            "train_dataset": train,
            "eval_dataset": held_out,
            "processing_class": models.load_tokenizer(config.model.path),
            "peft_config": models.lora_config(config.lora, schedule.method),
        }
        return compat.build_trainer("SFT", options, arguments, trace)

    trainer = training.train(build, schedule, resume, trace)
    training.write_sample(trainer, config.sample, schedule, trace)
