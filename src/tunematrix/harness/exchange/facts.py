"""The facts of artifacts on disk: tensors and values, and, where they are kept for good, sums of tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.exchange.kinds import Facts

FACTS: Final = "facts.json"
TENSORS: Final = "facts.safetensors"
SEPARATOR: Final = "|"
SUMS: Final = 16
WHOLE: Final = 64  # a tensor of no more numbers is kept as it is


def save_facts(folder: Path, facts: Facts, *, compact: bool = False) -> None:
    """Save ``facts`` in ``folder``: tensors, and dictionaries of them, in a file of their own.

    ``compact`` keeps of a large tensor what ``sums`` makes of it, a thousandth of its size.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}

    def keep(key: str, value: Any) -> dict[str, Any]:
        entry: dict[str, Any] = {"tensor": key}
        if compact and value.numel() > WHOLE:
            entry["shape"] = list(value.shape)
            value = sums(value)
        tensors[key] = value.detach().clone().contiguous()
        return entry

    values: dict[str, dict[str, Any]] = {}
    for artifact, known in facts.items():
        values[artifact] = {}
        for name, value in known.items():
            key = SEPARATOR.join((artifact, name))
            if hasattr(value, "shape"):
                values[artifact][name] = keep(key, value)
            elif isinstance(value, Mapping) and any(hasattr(item, "shape") for item in value.values()):
                parts = {part: keep(SEPARATOR.join((key, part)), item) for part, item in value.items()}
                values[artifact][name] = {"tensors": parts}
            else:
                values[artifact][name] = {"value": value}
    save_file(tensors, str(folder / TENSORS))
    (folder / FACTS).write_text(json.dumps(values), encoding="utf-8")


def load_facts(folder: Path) -> Facts:
    """The facts that ``save_facts`` saved; of a large tensor its sums, if it was ``compact``."""
    from safetensors.torch import load_file

    tensors = load_file(str(folder / TENSORS))
    return {
        artifact: {name: _fact(entry, tensors) for name, entry in known.items()}
        for artifact, known in _entries(folder).items()
    }


def as_saved(folder: Path, found: Facts) -> Facts:
    """``found`` with sums in place of those tensors of which ``folder`` has the sums."""
    entries = _entries(folder)
    return {
        artifact: {
            name: _like(entries.get(artifact, {}).get(name, {}), value) for name, value in known.items()
        }
        for artifact, known in found.items()
    }


def sums(value: Any) -> Any:
    """``SUMS`` weighted sums of all numbers of a tensor, float64, shape (16,).

    Sines of whole numbers have no pattern in common with weights, so any change moves all sums, relative to
    their size about as much as the change is relative to all numbers.
    """
    import torch

    numbers = value.detach().double().flatten()
    places = torch.arange(1, numbers.numel() + 1, dtype=torch.float64)
    return torch.stack([(numbers * torch.sin(places * factor)).sum() for factor in range(1, SUMS + 1)])


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    return dict(json.loads((folder / FACTS).read_text(encoding="utf-8")))


def _fact(stored: Mapping[str, Any], tensors: Mapping[str, Any]) -> Any:
    if "tensor" in stored:
        return tensors[stored["tensor"]]
    if "tensors" in stored:
        return {name: _fact(entry, tensors) for name, entry in stored["tensors"].items()}
    return stored["value"]


def _like(stored: Mapping[str, Any], value: Any) -> Any:
    """``value`` as it is, or its sums if those of a tensor of the same shape are stored."""
    if "tensors" in stored and isinstance(value, Mapping):
        return {name: _like(stored["tensors"].get(name, {}), item) for name, item in value.items()}
    if "shape" in stored and list(getattr(value, "shape", ())) == stored["shape"]:
        return sums(value)
    return value
