"""What fine-tuning and alignment share: trainer options, data, the training run, the recorded numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tunematrix.pipeline import generate
from tunematrix.pipeline.config import Device, PreferenceDataset, Sample, Schedule, TextDataset
from tunematrix.pipeline.errors import ConfigError
from tunematrix.pipeline.models import resolve_device
from tunematrix.pipeline.trace import Trace, watch_batches
from tunematrix.shared.suggest import did_you_mean

# Names that only the trainer knows: how its error begins, and the key with the name.
WRONG_NAMES: Final = {"Unknown loss type": "alignment.loss_type", "Target modules": "lora.targets"}


def trainer_options(schedule: Schedule, device: Device, dtype: str, *, evaluate: bool) -> dict[str, Any]:
    """The options common to ``SFTConfig`` and ``DPOConfig``, under the names of the newest release.

    Precision and tracking are always set, because their defaults differ: newer trl turns bf16 on, also on
    CPU, and transformers before 5 reports to every installed tracker.
    """
    check_names(schedule)
    accelerated = resolve_device(device) != "cpu"
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
        "eval_strategy": "epoch" if evaluate else "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": accelerated,
        "use_cpu": not accelerated,
        "bf16": accelerated and dtype == "bfloat16",
        "fp16": accelerated and dtype == "float16",
    }


def check_names(schedule: Schedule) -> None:
    """Raise ``ConfigError`` for an optimizer or a scheduler that this stack does not know."""
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    section = type(schedule).__name__.lower()
    for key, name, known in (
        ("optimizer", schedule.optimizer, OptimizerNames),
        ("scheduler", schedule.scheduler, SchedulerType),
    ):
        names = [item.value for item in known]
        if name not in names:
            raise ConfigError(f"{section}.{key}: this stack has no {name!r}{did_you_mean(name, names)}")


def load_dataset(dataset: TextDataset | PreferenceDataset) -> tuple[Any, Any]:
    """The training data and, with ``eval_split``, the held-out data, under trl's standard column names.

    The last rows are held out, so that no random split decides what is trained on.
    """
    import datasets

    builder = "json" if dataset.format == "jsonl" else dataset.format
    rows = datasets.load_dataset(builder, data_files=str(dataset.path), split="train")
    columns = dataset.columns()
    for name in columns.values():
        if name not in rows.column_names:
            raise ConfigError(f"{dataset.path}: no field '{name}'{did_you_mean(name, rows.column_names)}")
    rows = rows.select_columns(list(columns.values()))
    rows = rows.rename_columns({name: standard for standard, name in columns.items() if name != standard})
    held_out = round(len(rows) * dataset.eval_split)
    if not held_out:
        return rows, None
    if held_out == len(rows):
        raise ConfigError(f"{dataset.path}: eval_split {dataset.eval_split} leaves nothing to train on")
    train = len(rows) - held_out
    return rows.select(range(train)), rows.select(range(train, len(rows)))


def train(build: Callable[[], Any], schedule: Schedule, resume: Path | None, trace: Trace) -> Any:
    """Train with the trainer that ``build`` returns and save the model; returns the trainer.

    The seed is set before ``build``, because LoRA's initial weights come from the global generator.
    """
    from transformers import set_seed

    set_seed(schedule.seed)
    batches: list[str] = []
    with _wrong_names():
        trainer = build()
        stop_watching = watch_batches(trainer.model, batches)
        try:
            result = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        finally:
            stop_watching()
    trainer.save_model(str(schedule.output_dir))
    tokenizer_of(trainer).save_pretrained(str(schedule.output_dir))
    trace.add_number("batches", batches)
    _add_numbers(trainer.state, result.training_loss, trace)
    return trainer


@contextmanager
def _wrong_names() -> Iterator[None]:
    """Turn the stack's errors about names in the configuration into ``ConfigError``."""
    try:
        yield
    except ValueError as error:
        message = " ".join(str(error).split())
        for beginning, key in WRONG_NAMES.items():
            if message.startswith(beginning):
                raise ConfigError(f"{key}: {message}") from error
        raise


def write_sample(trainer: Any, sample: Sample | None, schedule: Schedule, trace: Trace) -> None:
    """Complete ``sample``, if there is one, with the trained model; write the result beside the model."""
    if sample:
        # Newer trl leaves the model in train mode with gradient checkpointing on.
        model = trainer.model.eval()
        generate.write_sample(model, tokenizer_of(trainer), sample, schedule.output_dir, trace)


def tokenizer_of(trainer: Any) -> Any:
    """The trainer's tokenizer; transformers before 4.46 has no ``processing_class``."""
    return getattr(trainer, "processing_class", None) or trainer.tokenizer


def _add_numbers(state: Any, training_loss: float, trace: Trace) -> None:
    for name in ("loss", "grad_norm", "learning_rate", "eval_loss"):
        if values := [entry[name] for entry in state.log_history if name in entry]:
            # transformers before 5.0 rounds the logged loss to 4 decimals; after one step, training_loss
            # is the same number unrounded.
            trace.add_number(name, [training_loss] if name == "loss" and len(values) == 1 else values)
    trace.add_number("training_loss", training_loss)
    trace.add_number("step", state.global_step)
