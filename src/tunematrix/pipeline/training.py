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


def run(build: Callable[[], Any], schedule: Schedule, resume: Path | None, traced: Trace) -> Any:
    """Train with the trainer that ``build`` makes and save the model; returns the trainer.

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
    trainer.save_model(str(schedule.output_dir))
    tokenizer_of(trainer).save_pretrained(str(schedule.output_dir))
    traced.number("batches", batches)
    _keep_numbers(trainer.state, result.training_loss, traced)
    return trainer


def answer(trainer: Any, sample: Sample | None, schedule: Schedule, traced: Trace) -> None:
    """Answer ``sample`` with the model just trained, beside what was saved of it."""
    if sample:
        # Newer trl leaves the model in train mode with gradient checkpointing on.
        model = trainer.model.eval()
        generate.write(model, tokenizer_of(trainer), sample, schedule.output_dir, traced)


def tokenizer_of(trainer: Any) -> Any:
    """The trainer's tokenizer; transformers before 4.46 has no ``processing_class``."""
    return getattr(trainer, "processing_class", None) or trainer.tokenizer


def _keep_numbers(state: Any, training_loss: float, traced: Trace) -> None:
    for name in ("loss", "grad_norm", "learning_rate", "eval_loss"):
        if values := [row[name] for row in state.log_history if name in row]:
            # transformers before 5.0 rounds the logged loss to 4 decimals; of one step it is this number.
            traced.number(name, [training_loss] if name == "loss" and len(values) == 1 else values)
    traced.number("training_loss", training_loss)
    traced.number("step", state.global_step)
