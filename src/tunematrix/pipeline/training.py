"""What fine-tuning and alignment share: options, data, the run itself, what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunematrix.pipeline import generate
from tunematrix.pipeline.config import Device, Preferences, Sample, Schedule, Texts
from tunematrix.pipeline.errors import ConfigError, nearest
from tunematrix.pipeline.models import place
from tunematrix.pipeline.trace import Trace, watch_batches


def options(schedule: Schedule, device: Device, dtype: str, *, evaluates: bool) -> dict[str, Any]:
    """The arguments of both trl configs, in the spelling of the newest release.

    Precision and tracking are always said: trl turned bf16 on by default, also on CPU, and transformers
    reported to every installed tracker before 5.
    """
    accelerated = place(device) != "cpu"
    return {
        "output_dir": str(schedule.output_dir),
        "max_steps": schedule.max_steps,
        "num_train_epochs": schedule.epochs,
        "per_device_train_batch_size": schedule.batch_size,
        "per_device_eval_batch_size": schedule.batch_size,
        "gradient_accumulation_steps": schedule.gradient_accumulation_steps,
        "gradient_checkpointing": schedule.gradient_checkpointing,
        "learning_rate": schedule.learning_rate,
        "lr_scheduler_type": schedule.scheduler,
        "warmup_steps": schedule.warmup_steps,
        "weight_decay": schedule.weight_decay,
        "max_grad_norm": schedule.max_grad_norm,
        "optim": schedule.optimizer,
        "seed": schedule.seed,
        "save_strategy": "steps",
        "save_steps": schedule.save_steps,
        "logging_steps": schedule.logging_steps,
        "eval_strategy": "epoch" if evaluates else "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": accelerated,
        "use_cpu": not accelerated,
        "bf16": accelerated and dtype == "bfloat16",
        "fp16": accelerated and dtype == "float16",
    }


def load_dataset(dataset: Texts | Preferences) -> tuple[Any, Any]:
    """The training data and, with ``eval_split``, a held-out part, with trl's standard column names.

    The split takes the last rows: nothing random decides what is trained on.
    """
    import datasets

    kind = "json" if dataset.format == "jsonl" else dataset.format
    rows = datasets.load_dataset(kind, data_files=str(dataset.path), split="train")
    columns = dataset.columns()
    for name in columns.values():
        if name not in rows.column_names:
            raise ConfigError(f"{dataset.path}: no field '{name}'{nearest(name, rows.column_names)}")
    rows = rows.select_columns(list(columns.values()))
    rows = rows.rename_columns({name: standard for standard, name in columns.items() if name != standard})
    held_out = round(len(rows) * dataset.eval_split)
    if not held_out:
        return rows, None
    if held_out == len(rows):
        raise ConfigError(f"{dataset.path}: eval_split {dataset.eval_split} leaves nothing to train on")
    kept = len(rows) - held_out
    return rows.select(range(kept)), rows.select(range(kept, len(rows)))


def run(
    build: Callable[[], Any],
    schedule: Schedule,
    sample: Sample | None,
    resume: Path | None,
    stage: str,
    traced: Trace,
) -> None:
    """Train with the trainer that ``build`` makes, save the model, and keep the numbers of the run.

    The seed is set before anything is built: LoRA's initial weights come from the global generator.
    """
    from transformers import set_seed

    set_seed(schedule.seed)
    trainer = build()
    batches: list[str] = []
    stop = watch_batches(trainer.model, batches)
    try:
        result = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    finally:
        stop()
    tokenizer = getattr(trainer, "processing_class", None) or trainer.tokenizer
    trainer.save_model(str(schedule.output_dir))
    tokenizer.save_pretrained(str(schedule.output_dir))
    _keep_numbers(trainer, result, batches, stage, traced)
    if sample:
        # Newer trl leaves the model in train mode with gradient checkpointing on.
        trainer.model.eval()
        generate.write(trainer.model, tokenizer, sample, schedule.output_dir, traced, stage)


def _keep_numbers(trainer: Any, result: Any, batches: list[str], stage: str, traced: Trace) -> None:
    history = trainer.state.log_history
    traced.number(f"{stage}.training_loss", result.training_loss)
    for name in ("loss", "grad_norm", "learning_rate", "eval_loss"):
        if values := [row[name] for row in history if name in row]:
            traced.number(f"{stage}.{name}", values)
    traced.number(f"{stage}.batches", batches)
    traced.number(f"{stage}.step", trainer.state.global_step)
