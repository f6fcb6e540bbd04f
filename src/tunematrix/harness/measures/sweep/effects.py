"""The effect of an option: what a run with it does otherwise than the base run of the same stack."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.measures.lab import clones
from tunematrix.shared.effects import NO_EFFECT

NOISE: Final = 1e-5  # relative; the same run twice is bit-equal, padding or another order of sums moves 1e-6
DIGITS: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One short training run: numbers that are compared relatively, facts that are compared exactly.

    ``start`` and ``end`` are the trainable weights as one vector, float64; ``batch`` are counts of the first
    batch as the model sees it, and ``content`` a checksum of its token ids.
    """

    numbers: dict[str, float]
    learning_rates: list[float]
    facts: dict[str, Any]
    batch: dict[str, int]
    content: str
    logged: list[str]
    files: list[str]
    start: Any = field(repr=False)
    end: Any = field(repr=False)


def observe(trainer: Any) -> Observation:
    """Train, evaluate if there are rows for it, and observe."""
    batches: list[dict[str, Any]] = []
    stop = watch_first_batch(trainer.model, batches)
    start = weights(trainer.model)
    result = trainer.train()
    stop()
    log = list(trainer.state.log_history)
    steps = [entry for entry in log if "loss" in entry or "grad_norm" in entry]
    norms = [float(entry["grad_norm"]) for entry in steps if "grad_norm" in entry]
    numbers = {"loss": float(result.training_loss), "grad_norm": sum(norms) / max(1, len(norms))}
    facts = {"steps": trainer.state.global_step, "epochs": round(float(trainer.state.epoch or 0), DIGITS)}
    facts["evaluations"] = sum("eval_loss" in entry for entry in log)
    if trainer.eval_dataset is not None:
        metrics = trainer.evaluate()
        numbers["eval_loss"] = float(metrics.get("eval_loss", math.nan))
        facts["given_to_metrics"] = metrics.get("eval_given", 0)
    first = batches[0] if batches else {}
    return Observation(
        numbers=numbers,
        learning_rates=[float(entry["learning_rate"]) for entry in steps if "learning_rate" in entry],
        facts=facts,
        batch=_counts(first),
        content=_checksum(first),
        logged=sorted({key for entry in log for key in entry}),
        files=_files(Path(trainer.args.output_dir)),
        start=start,
        end=weights(trainer.model),
    )


def effect(base: Observation, other: Observation) -> dict[str, Any] | str:
    """What ``other`` does otherwise: shifts of numbers, differences of counts, names that come and go.

    A shift is relative to the base run's number.
    """
    found: dict[str, Any] = {}
    for name in sorted(base.numbers.keys() | other.numbers.keys()):
        moved = _relative(*(side.numbers.get(name, math.nan) for side in (base, other)))
        if moved:
            found[name] = moved
    if base.learning_rates != other.learning_rates:
        found["learning_rate"] = [float(f"{rate:.{DIGITS}g}") for rate in other.learning_rates]
    found |= {name: value for name, value in other.facts.items() if value != base.facts.get(name)}
    found |= _batch_effect(base, other)
    if changes := _come_and_gone(base.logged, other.logged):
        found["logged"] = changes
    if changes := _come_and_gone(_shortened(base.files, other.files), _shortened(other.files, base.files)):
        found["files"] = changes
    return found | _weights_effect(base, other) or NO_EFFECT


def _come_and_gone(old: list[str], new: list[str]) -> list[str]:
    return [
        *(f"-{name}" for name in old if name not in new),
        *(f"+{name}" for name in new if name not in old),
    ]


def _shortened(files: list[str], others: list[str]) -> list[str]:
    """``files`` with one name for a folder that ``others`` do not have."""
    folders = {file.rpartition("/")[0] for file in others}
    parts = [(file, *file.rpartition("/")[:2]) for file in files]
    return list(dict.fromkeys(file if folder in folders else folder + slash for file, folder, slash in parts))


def _relative(base: float, number: float) -> float | str:
    """The relative shift; 0 if it is noise, and text if there is none."""
    if base == number or (math.isnan(base) and math.isnan(number)):
        return 0
    if not math.isfinite(number) or not math.isfinite(base):
        return str(number)
    shift = (number - base) / abs(base) if base else number
    return 0 if abs(shift) < NOISE else float(f"{shift:.{DIGITS}g}")


def _batch_effect(base: Observation, other: Observation) -> dict[str, Any]:
    names = sorted(base.batch.keys() | other.batch.keys())
    moved = {f"batch_{name}": other.batch.get(name, 0) - base.batch.get(name, 0) for name in names}
    moved = {name: value for name, value in moved.items() if value}
    return moved or ({"batch": "other content"} if base.content != other.content else {})


def _weights_effect(base: Observation, other: Observation) -> dict[str, Any]:
    """The distance of the weights after training in units of how far the base run moved them."""
    if len(base.end) != len(other.end):
        return {"trainable": len(other.end) - len(base.end)}
    distance = float(abs(other.end - base.end).sum())
    moved = float(abs(base.end - base.start).sum())
    share = distance / moved if moved else math.inf
    if distance == 0 or share <= 10 * NOISE:
        return {}
    return {"weights": float(f"{share:.{DIGITS}g}") if math.isfinite(share) else str(share)}


def weights(model: Any) -> Any:
    """The trainable weights of ``model`` as one float64 vector, in the order of their names."""
    import numpy as np

    named = sorted((name, value) for name, value in model.named_parameters() if value.requires_grad)
    vectors = [value.detach().double().flatten().numpy() for _, value in named]
    return np.concatenate(vectors) if vectors else np.zeros(0)


def watch_first_batch(model: Any, batches: list[dict[str, Any]]) -> Callable[[], None]:
    """Append the tensors of the first batch that ``model`` is trained on; returns what stops watching."""
    import torch

    def hook(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        if module.training and not batches:
            # Some releases pass the batch by position.
            parameters = [*inspect.signature(module.forward).parameters]
            tensors = {**dict(zip(parameters, positional, strict=False)), **named}
            batches.append(clones((name, value) for name, value in tensors.items() if torch.is_tensor(value)))

    return model.register_forward_pre_hook(hook, with_kwargs=True).remove  # type: ignore[no-any-return]  # torch is not installed where mypy runs


def _counts(batch: dict[str, Any]) -> dict[str, int]:
    """Rows, length, attended and labelled tokens of a batch; 1 for each further tensor of it."""
    counts: dict[str, int] = {}
    for name, value in batch.items():
        if name == "input_ids":
            counts |= {"rows": value.shape[0], "length": value.shape[-1]}
        elif name == "attention_mask":
            counts["attended"] = int((value != 0).sum())
        elif name == "labels":
            counts["labelled"] = int((value != -100).sum())  # torch's ignore_index
        else:
            counts[name] = 1
    return counts


def _checksum(batch: dict[str, Any]) -> str:
    ids = batch.get("input_ids", next(iter(batch.values()), None))
    text = str(None if ids is None else ids.tolist())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
