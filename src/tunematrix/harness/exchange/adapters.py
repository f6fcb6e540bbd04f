"""Adapters: written with fixed numbers in them, and read on the base model that they were made for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.exchange.kinds import LLAMA, Facts, Kind, logits
from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.adapters import fill_trained, make_config
from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.trainer_lab import fill

LORA: Final[Mapping[str, Any]] = {"r": 4, "lora_alpha": 8}
SECOND: Final = "second"
ADDED_TOKENS: Final = 8
MAKE_BASE = Callable[[Lab], Any]


def plain(lab: Lab) -> Any:
    """The base model."""
    return lab.load()


def untied(lab: Lab) -> Any:
    """The base model with a head of its own."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(lab.model), tie_word_embeddings=False)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    head.weight.data = embedding.weight.data * 0.5
    return model


def resized(lab: Lab) -> Any:
    """The base model with room for more tokens, whose rows each release starts in its own way."""
    model = lab.load()
    model.resize_token_embeddings(model.get_input_embeddings().weight.shape[0] + ADDED_TOKENS)
    return model


def experts(_: Lab) -> Any:
    """A tiny Mixtral, in the files that transformers 4 wrote."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(os.environ["TUNEMATRIX_EXPERTS"])


def _adapter(
    name: str,
    options: Callable[[Any], Mapping[str, Any]] = lambda _: {},
    *,
    base: MAKE_BASE = plain,
    change: Callable[[Any], None] = lambda _: None,
    only: tuple[str, ...] = (),
    light: bool = False,
) -> Kind:
    """The kind of an adapter with ``options`` of ``LoraConfig``, which may depend on the base model.

    ``change`` is what the writer does to the model beside filling the adapter.
    """

    def write(lab: Lab, folder: Path) -> Facts:
        from peft import get_peft_model

        model = base(lab)
        model = get_peft_model(model, make_config("LoraConfig", **LORA, **options(model)))
        fill_trained(model, keep=True)
        change(model)
        model.save_pretrained(str(folder))
        return {name: {"logits": logits(model)}}

    def read(lab: Lab, folder: Path) -> Facts:
        from peft import PeftModel

        return {name: {"logits": logits(PeftModel.from_pretrained(base(lab), str(folder)))}}

    return Kind(name=name, write=write, read=read, only=only, light=light)


def _fill_embedding(model: Any) -> None:
    """The rows of new tokens are trained by hand; peft saves the embedding because its size is another."""
    fill(model.get_input_embeddings().weight)


def _embedding(model: Any) -> str:
    """The name of the embedding's module: ``embed_tokens``, ``wte``."""
    embedding = model.get_input_embeddings()
    path: str = next(name for name, each in model.named_modules() if each is embedding)
    return path.rpartition(".")[2]


def _last_norm(model: Any) -> str:
    """The name of the module before the head: ``norm``, ``ln_f``."""
    names: list[str] = [name.rpartition(".")[2] for name, _ in model.named_modules() if name.count(".") == 1]
    return names[-2] if names[-1].startswith("rotary") else names[-1]


def write_several(lab: Lab, folder: Path) -> Facts:
    """Two adapters in one folder, as ``add_adapter`` and ``save_pretrained`` leave them."""
    from peft import get_peft_model

    model = get_peft_model(lab.load(), make_config("LoraConfig", **LORA))
    fill_trained(model, keep=True)
    first = logits(model)
    model.add_adapter(SECOND, make_config("LoraConfig", **{**LORA, "r": 2}))
    model.set_adapter(SECOND)
    fill_trained(model, keep=True)
    model.save_pretrained(str(folder))
    return {"several-adapters": {"logits of the first": first, "logits of the second": logits(model)}}


def read_several(lab: Lab, folder: Path) -> Facts:
    from peft import PeftModel

    model = PeftModel.from_pretrained(lab.load(), str(folder))
    first = logits(model)
    model.load_adapter(str(folder / SECOND), SECOND)
    model.set_adapter(SECOND)
    return {"several-adapters": {"logits of the first": first, "logits of the second": logits(model)}}


def _replicated(model: Any) -> Mapping[str, Any]:
    if model.config.num_hidden_layers < 2:  # two to take the second twice
        raise Unavailable("the model has one layer")
    return {"layer_replication": [[0, 2], [1, 2]]}


ALL: Final = (
    _adapter("lora", light=True),
    _adapter("dora", lambda _: {"use_dora": True}),
    _adapter("rslora", lambda _: {"use_rslora": True}, only=LLAMA),
    _adapter("modules-to-save", lambda model: {"modules_to_save": [_last_norm(model)]}, only=LLAMA),
    _adapter("embeddings-tied", lambda model: {"modules_to_save": [_embedding(model)]}),
    _adapter(
        "embeddings-untied",
        lambda model: {"modules_to_save": [_embedding(model), "lm_head"]},
        base=untied,
        only=LLAMA,
    ),
    _adapter("embeddings-resized", base=resized, change=_fill_embedding),
    Kind(name="several-adapters", write=write_several, read=read_several, only=LLAMA),
    _adapter("layer-replication", _replicated, only=LLAMA),
    _adapter("experts-all-linear", lambda _: {"target_modules": "all-linear"}, base=experts, only=LLAMA),
    _adapter("experts-by-name", lambda _: {"target_modules": ["w1", "w2", "w3"]}, base=experts, only=LLAMA),
)
