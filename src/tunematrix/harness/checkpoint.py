"""Is a resumed run the same run? Compares what two runs left behind, exactly.

'It ran and the step counter went on' proves nothing: there are releases where a resumed DPO run goes on
from the wrong adapter with the right step count. On one thread the stack is bit-equal to itself, so the
tolerance is zero.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

WEIGHTS: Final = ("adapter_model", "model", "pytorch_model")
# The last step's row in the log; run times and speeds differ by nature.
LOGGED: Final = ("step", "loss", "grad_norm", "learning_rate")


def differences(whole: Path, resumed: Path) -> list[str]:
    """What differs between the checkpoint of an uninterrupted run and that of a resumed one, in words."""
    parts: dict[str, Callable[[Path], Any]] = {
        "log": last_step,  # first, since loss and gradient norm are what people know
        "weights": weights,
        "optimizer": lambda folder: torch_load(folder / "optimizer.pt"),
        "scheduler": lambda folder: torch_load(folder / "scheduler.pt"),
    }
    found = (first_difference(read(whole), read(resumed), what) for what, read in parts.items())
    return [difference for difference in found if difference]


def weights(folder: Path) -> dict[str, Any]:
    """All tensors of the checkpoint at ``folder``, by name; safetensors or, of old stacks, ``.bin``."""
    for name in WEIGHTS:
        if (path := folder / f"{name}.safetensors").is_file():
            return load_file(path)
        if (path := folder / f"{name}.bin").is_file():
            return dict(torch_load(path))
    raise FileNotFoundError(f"no weights in {folder}: it holds {sorted(p.name for p in folder.iterdir())}")


def load_file(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file, by name."""
    from safetensors import torch

    return dict(torch.load_file(path))


def torch_load(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def last_step(folder: Path) -> dict[str, Any]:
    state = json.loads((folder / "trainer_state.json").read_text())
    row = state["log_history"][-1] if state["log_history"] else {}
    return {"global_step": state["global_step"], **{name: row.get(name) for name in LOGGED}}


def first_difference(left: Any, right: Any, where: str) -> str | None:
    """The largest numeric difference below ``where``, or the first difference of another kind."""
    worst: tuple[float, str] | None = None
    for path, one, other in _pairs(left, right, where):
        if (size := _distance(one, other)) is None:
            return f"{path}: {_show(one)} in the whole run, {_show(other)} when resumed"
        if size and (worst is None or size > worst[0]):
            worst = size, f"{path}: max difference {size:.3g} ({_show(one)}, {_show(other)} when resumed)"
    return worst[1] if worst else None


def _pairs(left: Any, right: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, Mapping) and isinstance(right, Mapping) and left.keys() == right.keys():
        for key in left:
            yield from _pairs(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and len(left) == len(right):
        for at, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _pairs(one, other, f"{where}[{at}]")
    else:
        yield where, left, right


def _distance(left: Any, right: Any) -> float | None:
    """The largest absolute difference of two numbers or tensors; None where they cannot be subtracted."""
    if hasattr(left, "shape") and hasattr(right, "shape"):
        if left.shape != right.shape or left.dtype != right.dtype:
            return None
        return float((left.double() - right.double()).abs().max()) if left.numel() else 0.0
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(left - right)
    return 0.0 if left == right else None


def _show(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"{list(value.shape)} summing to {float(value.double().sum()):.6g}"
    text = repr(sorted(value)) if isinstance(value, Mapping) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
