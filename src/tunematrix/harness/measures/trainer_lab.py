"""What the measures of trainers share: finding and building any trainer, filled models, a recorded step.

Weights are filled with fixed numbers, so that no number depends on how a release draws random ones.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.lab import LORA, OPTIONS, SEED, Lab, Row, clones
from tunematrix.pipeline import compat, models
from tunematrix.pipeline.trace import Trace

LENGTHS: Final = {"max_length": 64, "max_prompt_length": 32, "max_completion_length": 32}
BATCH: Final = {"per_device_train_batch_size": 2}
# For several steps: Adam would make large numbers of the rounding errors of small gradients.
STEPS: Final[Mapping[str, Any]] = {
    "max_steps": 2,
    "optim": "sgd",
    "learning_rate": 0.05,
    "max_grad_norm": 1.0,
    "lr_scheduler_type": "constant",
}
NOISE: Final = 1e-6  # below this, float32 rounding


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A trainer of trl, its config, and the module that offers them."""

    trainer: Any
    config: Any
    module: str


def find_trainer(algorithm: str) -> Found:
    """Look in trl, in its trainers' own modules, since not all were exported, and where they moved to."""
    name = algorithm.lower()
    for module_name in ("trl", f"trl.trainer.{name}_trainer", f"trl.experimental.{name}"):
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            continue
        trainer = getattr(module, f"{algorithm}Trainer", None)
        config = getattr(module, f"{algorithm}Config", None)
        if trainer and config:
            return Found(trainer=trainer, config=config, module=module_name)
    raise Unavailable(f"trl has no {algorithm}Trainer")


def build(lab: Lab, found: Found, options: Mapping[str, Any], **arguments: Any) -> Any:
    """Build a trainer; an option that its config rejects goes to the trainer if that accepts it."""
    from transformers import set_seed

    set_seed(SEED)
    rows = arguments.pop("rows")
    names = compat.accepted_arguments(found.trainer)
    accepted = compat.accepted_arguments(found.config)
    options = {**OPTIONS, "output_dir": str(lab.folder / lab.name), **options}
    moved = {
        name: options.pop(name)
        for name in list(options)
        if name in names and not compat.matching_name(accepted, name)
    }
    unused = Trace()  # these calls are not the pipeline's, so nobody has to edit them
    args = found.config(
        **compat.adapt_arguments(found.config, f"trl.{found.config.__name__}", options, unused)
    )
    arguments = {"train_dataset": dataset(rows), "processing_class": lab.load_tokenizer(), **arguments}
    adapted = compat.adapt_arguments(found.trainer, f"trl.{found.trainer.__name__}", arguments, unused)
    return found.trainer(**{"config" if "config" in names else "args": args}, **moved, **adapted)


def dataset(rows: Sequence[Row]) -> Any:
    import datasets

    return datasets.Dataset.from_list([dict(row) for row in rows])


def fill(values: Any, size: float = 0.1) -> None:
    """Add fixed numbers, which no random numbers enter, to a parameter."""
    import torch

    with torch.no_grad():
        values.add_(torch.sin(torch.arange(values.numel(), dtype=torch.float32)).reshape(values.shape) * size)


def frozen_embeddings(lab: Lab) -> Any:
    """A model of which all but the embeddings is trained."""
    model = lab.load()
    model.get_input_embeddings().requires_grad_(requires_grad=False)
    return model


def perturbed(model: Any) -> Any:
    """A copy of ``model`` with other weights, so that the two disagree."""
    model = copy.deepcopy(model)
    for name, value in model.named_parameters():
        if "q_proj" in name or "v_proj" in name:
            fill(value)
    return model


def with_adapter(model: Any, task: str = "CAUSAL_LM") -> Any:
    """``model`` with a LoRA adapter that is not zero."""
    from peft import get_peft_model

    config = models.lora_config(LORA, "lora")
    config.task_type = task
    model = get_peft_model(model, config)
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data.zero_()
            fill(value)
    return model


def classifier(lab: Lab, labels: int) -> Any:
    """A sequence classifier, its head filled with fixed numbers."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(str(lab.model), num_labels=labels)
    model.score.weight.data.zero_()
    fill(model.score.weight, 0.5)
    return model


def add_step(lab: Lab, trainer: Any, prefix: str = "") -> dict[str, Any]:
    """Train; record loss and gradient norms, and whether what should move moved and nothing else did."""
    start = clones(trainer.model.named_parameters())
    trained = {name for name, value in trainer.model.named_parameters() if value.requires_grad}
    loss, log = lab.train(trainer)
    lab.add_number(f"{prefix}loss", loss if abs(loss) > NOISE else 0.0)
    norms = [entry["grad_norm"] for entry in log]
    lab.add_number(f"{prefix}grad_norm", norms if len(norms) > 1 else norms[0])
    lab.add_number(f"{prefix}log_keys", sorted(log[0]))
    add_moves(lab, trainer.model, start, trained, prefix)
    return log[0]


def add_moves(lab: Lab, model: Any, start: dict[str, Any], trained: set[str], prefix: str = "") -> None:
    moved = {name for name, value in model.named_parameters() if not value.equal(start[name])}
    lab.add_number(f"{prefix}weights_moved", trained <= moved)
    others = start.keys() - trained
    lab.add_number(f"{prefix}base_kept_equal", bool(others) and not moved & others)
