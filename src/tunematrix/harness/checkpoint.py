"""Is a resumed run the same run? Compares the checkpoints of two runs exactly.

That a resumed run ends with the right step count proves nothing: some releases resume a DPO run from the
wrong adapter and still count the steps right. On one thread the stack is bit-equal to itself, so the
tolerance is zero.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

WEIGHTS: Final = ("adapter_model", "model", "pytorch_model")
# The keys of a log entry to compare; run times and speeds differ in every run.
LOGGED: Final = ("step", "loss", "grad_norm", "learning_rate")


def compare_checkpoints(whole: Path, resumed: Path) -> list[str]:
    """The differences between the checkpoints of an uninterrupted and a resumed run, in words."""
    loaders: dict[str, Callable[[Path], Any]] = {
        "log": last_log_entry,  # first, since people know loss and gradient norm best
        "weights": load_weights,
        "optimizer": lambda folder: load_torch(folder / "optimizer.pt"),
        "scheduler": lambda folder: load_torch(folder / "scheduler.pt"),
    }
    differences = (largest_difference(load(whole), load(resumed), name) for name, load in loaders.items())
    return [difference for difference in differences if difference]


def load_weights(folder: Path) -> dict[str, Any]:
    """All tensors of the checkpoint in ``folder``, by name; safetensors or, with old stacks, ``.bin``."""
    for name in WEIGHTS:
        if (path := folder / f"{name}.safetensors").is_file():
            return load_safetensors(path)
        if (path := folder / f"{name}.bin").is_file():
            return dict(load_torch(path))
    raise FileNotFoundError(f"no weights in {folder}: it holds {sorted(p.name for p in folder.iterdir())}")


def load_safetensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, by name."""
    from safetensors import torch

    return dict(torch.load_file(path))


def load_torch(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def last_log_entry(folder: Path) -> dict[str, Any]:
    """The step count of a checkpoint and the ``LOGGED`` values of its last log entry."""
    state = json.loads((folder / "trainer_state.json").read_text())
    entry = state["log_history"][-1] if state["log_history"] else {}
    return {"global_step": state["global_step"], **{name: entry.get(name) for name in LOGGED}}


def largest_difference(whole: Any, resumed: Any, name: str) -> str | None:
    """The largest numeric difference, or the first that is not numeric; None if both are equal."""
    largest: tuple[float, str] | None = None
    for path, left, right in _leaf_pairs(whole, resumed, name):
        if (size := _distance(left, right)) is None:
            return f"{path}: {_describe(left)} in the whole run, {_describe(right)} when resumed"
        if size and (largest is None or size > largest[0]):
            values = f"{_describe(left)}, {_describe(right)} when resumed"
            largest = size, f"{path}: max difference {size:.3g} ({values})"
    return largest[1] if largest else None


def _leaf_pairs(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, Mapping) and isinstance(right, Mapping) and left.keys() == right.keys():
        for key in left:
            yield from _leaf_pairs(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and len(left) == len(right):
        for index, (left_item, right_item) in enumerate(zip(left, right, strict=True)):
            yield from _leaf_pairs(left_item, right_item, f"{path}[{index}]")
    else:
        yield path, left, right


def _distance(left: Any, right: Any) -> float | None:
    """The largest absolute difference of two numbers or tensors; None if they cannot be subtracted."""
    if hasattr(left, "shape") and hasattr(right, "shape"):
        if left.shape != right.shape or left.dtype != right.dtype:
            return None
        return float((left.double() - right.double()).abs().max()) if left.numel() else 0.0
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(left - right)
    return 0.0 if left == right else None


def _describe(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{list(value.shape)} summing to {float(value.double().sum()):.6g}"
    text = repr(sorted(value)) if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
