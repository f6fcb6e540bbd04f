"""One kind of artifact: how a stack writes it, how another reads it, and when both are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.relations.trials import difference

# By artifact, what is known of it: tensors, numbers, texts, lists; worst told first.
Facts = dict[str, dict[str, Any]]
# Fixed ids, so that a tokenizer that cannot be read does not hide what a model does; enough of them for
# another rotary embedding to show.
INPUT_IDS: Final = tuple(range(5, 485, 20))
NEW_TOKENS: Final = 5
LLAMA: Final = ("tiny-llama",)  # for what does not depend on the architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A folder with files, and the artifacts in it.

    ``write`` fills the folder and returns the facts as its stack knows them; ``read`` returns the same facts
    from the files. A kind without ``write`` reads the folder ``source`` of another. ``only`` names the models
    for which it is written, all if empty; ``light`` is what is small with a model of any size.
    """

    name: str
    read: Callable[[Lab, Path], Facts]
    write: Callable[[Lab, Path], Facts] | None = None
    source: str = ""
    artifacts: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    light: bool = False

    @property
    def folder(self) -> str:
        return self.source or self.name

    @property
    def names(self) -> tuple[str, ...]:
        """The artifacts that it tells of."""
        return self.artifacts or (self.name,)


def logits(model: Any) -> Any:
    """The logits of ``INPUT_IDS`` in float32, shape (24, vocabulary)."""
    import torch

    with torch.no_grad():
        return model.float().eval()(input_ids=torch.tensor([INPUT_IDS]), use_cache=False).logits[0]


def greedy(model: Any) -> list[int]:
    """The ids that the model says after ``INPUT_IDS``."""
    import torch

    ids = torch.tensor([INPUT_IDS])
    options = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    return list(model.float().eval().generate(ids, **options)[0, ids.shape[1] :].tolist())


def compare(reference: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first difference: ``name``, ``before``, ``after`` and, for numbers, ``size``; None if equal.

    ``size`` is relative to the largest value of the fact, and 0 below rounding (``trials.NOISE``).
    """
    for name, before in reference.items():
        after = found.get(name)
        if before is not after and is_numeric(before):
            size = difference(before, after) if is_numeric(after) else float("inf")
            if size:
                relative = size if size != float("inf") else None
                return {"name": name, "size": relative, **_shown(before, after, relative)}
        elif before != after:
            return {"name": name, "size": None, "before": before, "after": after}
    return None


def is_numeric(value: Any) -> bool:
    """Whether ``value`` is a tensor, a number with decimals, a list of those, or several of them by name."""
    if isinstance(value, Mapping):
        return bool(value) and all(is_numeric(item) for item in value.values())
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, float) for item in value)
    return hasattr(value, "shape") or isinstance(value, float)


def _shown(before: Any, after: Any, size: float | None) -> dict[str, Any]:
    """Numbers as they are, tensors by their sum, several by how many differ, or which are not there."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if size is None and before.keys() != after.keys():
            lost, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
            return {"before": f"{len(before)} tensors", "after": f"without {lost[:2]}, with {new[:2]}"}
        name = max(before, key=lambda name: difference(before[name], after[name]))
        return {f"{side}": f"{name} {_number(each[name])}" for side, each in _sides(before, after)}
    return {side: _number(each) for side, each in _sides(before, after)}


def _sides(before: Any, after: Any) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("before", before), ("after", after)


def _number(value: Any) -> Any:
    return f"sum {float(value.double().sum()):.6g}" if hasattr(value, "shape") else value
