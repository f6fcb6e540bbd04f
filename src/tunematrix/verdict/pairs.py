"""Pairs of an exchange: how one stack reads an artifact that another wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from packaging.version import Version

from tunematrix.base.versions import parse_version

SAME: Final = "same"
DIFFERS: Final = "differs"
FAILS: Final = "fails"
UNAVAILABLE: Final = "unavailable"
WORST_FIRST: Final = (FAILS, DIFFERS, UNAVAILABLE, SAME)
GOES_ON: Final = "-goes-on"
UPGRADE: Final = "upgrade"
DOWNGRADE: Final = "downgrade"
ORDER: Final = ("transformers", "peft", "trl", "tokenizers", "accelerate")
# What people call the artifacts, and the package whose release decides how it is written.
ARTIFACTS: Final[Mapping[str, tuple[str, str]]] = {
    "sft": ("an SFT checkpoint", "transformers"),
    "sft-goes-on": ("a resumed SFT run", "trl"),
    "dpo": ("a DPO checkpoint", "trl"),
    "dpo-goes-on": ("a resumed DPO run", "trl"),
    "full-checkpoint": ("a checkpoint of full fine-tuning", "transformers"),
    "full-checkpoint-goes-on": ("a resumed full fine-tuning", "transformers"),
    "trainer-state": ("the trainer's state", "transformers"),
    "autopeft": ("an adapter beside its tokenizer, through AutoPeftModel", "peft"),
    "lora": ("a LoRA adapter", "peft"),
    "dora": ("a DoRA adapter", "peft"),
    "rslora": ("an rsLoRA adapter", "peft"),
    "modules-to-save": ("an adapter with modules_to_save", "peft"),
    "embeddings-tied": ("an adapter with trained embeddings, tied", "peft"),
    "embeddings-untied": ("an adapter with trained embeddings, untied", "peft"),
    "embeddings-resized": ("an adapter with resized embeddings", "peft"),
    "several-adapters": ("several adapters in one folder", "peft"),
    "layer-replication": ("an adapter with layer_replication", "peft"),
    "experts-all-linear": ("an adapter of a model with experts, all-linear", "transformers"),
    "experts-by-name": ("an adapter of experts by name", "transformers"),
    "full": ("a fully fine-tuned model", "transformers"),
    "merged": ("a merged model", "transformers"),
    "merged-bf16": ("a merged model in bf16", "transformers"),
    "sharded": ("a sharded model", "transformers"),
    "generation-config": ("a generation config", "transformers"),
    "tokenizer": ("a tokenizer", "transformers"),
    "tokenizer-extra": ("a tokenizer with extra special tokens", "transformers"),
    "tokenizer-generic": ("a tokenizer made from tokenizer.json", "transformers"),
}
QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
ALONE: Final = ("dpo", "merged-bf16")  # artifacts that differ for reasons of their own
NOUNS: Final = ("checkpoint", "adapter", "model", "tokenizer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A cell of the exchange and its packages; one that does not read is a frozen set."""

    name: str
    packages: Mapping[str, str]
    reads: bool = True

    @property
    def age(self) -> tuple[Version, ...]:
        """What tells an older stack from a newer one: its releases, those of transformers first."""
        return tuple(parse_version(self.packages.get(name)) or Version("0") for name in ORDER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """How ``reader`` reads one artifact that ``writer`` wrote, with one model."""

    writer: str
    reader: str
    model: str
    artifact: str
    outcome: str
    difference: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""

    @classmethod
    def of(cls, reader: str, result: Mapping[str, Any]) -> Pair:
        """The pair of one result of a reader, a line that its process left."""
        return cls(
            writer=result["writer"],
            reader=reader,
            model=result["model"],
            artifact=result["artifact"],
            outcome=result["outcome"],
            difference=result.get("difference") or {},
            error=result.get("error") or {},
            detail="" if result.get("written", True) else "its writer could not write it",
        )

    @property
    def reason(self) -> str:
        """Why it is not ``same``, in one line: the error with its cause, or the difference."""
        if self.detail and not self.error:
            return self.detail
        if self.error:
            text = f"{self.error.get('type')}: {' '.join(str(self.error.get('message', '')).split())}"
            text = self.error.get("cause", text)
            return f"{self.detail}: {text}" if self.detail else text
        if not self.difference:
            return ""
        size = self.difference.get("size")
        name = self.difference["name"]
        if size is not None:
            return f"{name} off by {size:.2g} of its size"
        return f"{name} {_short(self.difference['before'])} -> {_short(self.difference['after'])}"

    @property
    def signature(self) -> str:
        """What pairs of one cause share: the error without its names and numbers, or what differs."""
        if self.outcome == FAILS:
            return QUOTED.sub("*", self.error.get("cause") or f"{self.error.get('type')}: {self.reason}")
        return str(self.difference.get("name", ""))

    @property
    def family(self) -> str:
        """Artifacts that differ for one reason: checkpoints, adapters, models, tokenizers."""
        if self.goes_on:
            return GOES_ON
        if self.artifact in ALONE:
            return self.artifact
        words = ARTIFACTS.get(self.artifact, ("", ""))[0]
        return next((noun for noun in NOUNS if noun in words), words)

    @property
    def cause(self) -> tuple[str, str, str]:
        """Equal for pairs that are not ``same`` for one reason, whichever of the two stacks is newer."""
        return self.outcome, self.signature, "" if self.outcome == FAILS else self.family

    @property
    def goes_on(self) -> bool:
        return self.artifact.endswith(GOES_ON)

    def direction(self, sides: Mapping[str, Side]) -> str:
        """``upgrade`` if the reader is the newer stack, ``downgrade`` if the older one, else ``same``."""
        writer, reader = sides[self.writer].age, sides[self.reader].age
        return UPGRADE if writer < reader else DOWNGRADE if reader < writer else SAME


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # half a line


def rollback(pairs: Sequence[Pair], old: str, new: str) -> dict[str, list[str]]:
    """By outcome, the artifacts of the cell ``new`` as ``old`` reads them; of several models the worst."""
    outcomes: dict[str, str] = {}
    for pair in pairs:
        if (pair.writer, pair.reader) == (new, old) and not pair.goes_on:
            worst = outcomes.get(pair.artifact, pair.outcome)
            outcomes[pair.artifact] = min(worst, pair.outcome, key=WORST_FIRST.index)
    names = [*ARTIFACTS, *(name for name in outcomes if name not in ARTIFACTS)]
    return {
        outcome: [name for name in names if outcomes.get(name) == outcome]
        for outcome in (SAME, DIFFERS, FAILS, UNAVAILABLE)
    }
