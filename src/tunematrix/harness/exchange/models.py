"""Whole models and tokenizers, saved and read as users do: with the Auto classes and no arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.exchange.kinds import LLAMA, Facts, Kind, greedy, logits
from tunematrix.harness.measures.adapters import fill_trained, make_config
from tunematrix.harness.measures.formats import CHAT, TEXTS
from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.trainer_lab import perturbed

SHARDS: Final = 3
EXTRA: Final = ("<extra_a>", "<extra_b>")
GENERATION: Final = {"max_new_tokens": 7, "do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 11}
TEMPLATE: Final = "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{% endfor %}"


def merged(lab: Lab) -> Any:
    """The model with an adapter merged into it."""
    from peft import get_peft_model

    model = get_peft_model(lab.load(), make_config("LoraConfig", r=4, lora_alpha=8))
    fill_trained(model, keep=True)
    return model.merge_and_unload()


def merged_bf16(lab: Lab) -> Any:
    import torch

    return merged(lab).to(torch.bfloat16)


def trained(lab: Lab) -> Any:
    """The model with other weights in all layers, as after full fine-tuning."""
    return perturbed(lab.load())


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(str(folder))


def _model(
    name: str,
    make: Callable[[Lab], Any],
    *,
    from_files: bool = False,
    only: tuple[str, ...] = (),
    shards: int = 1,
) -> Kind:
    """The kind of a saved model; with ``from_files``, its facts are what its own release reads back.

    ``to(bfloat16)`` also rounds what no file holds, such as the frequencies of the rotary embedding.
    """

    def read(_: Lab, folder: Path) -> Facts:
        model = _load(folder)
        dtype = str(model.dtype).removeprefix("torch.")
        return {name: {"logits": logits(model), "greedy ids": greedy(model), "dtype": dtype}}

    def write(lab: Lab, folder: Path) -> Facts:
        model = make(lab)
        size = sum(value.numel() * value.element_size() for value in model.parameters())
        model.save_pretrained(str(folder), **({"max_shard_size": size // shards} if shards > 1 else {}))
        facts = read(lab, folder)  # which dtype a model has is for the release that loads it to say
        if not from_files:
            facts[name] |= {"logits": logits(model), "greedy ids": greedy(model)}
        return facts

    return Kind(name=name, write=write, read=read, only=only)


def write_generation(lab: Lab, folder: Path) -> Facts:
    """The generation configuration that lies beside a saved model."""
    from transformers import GenerationConfig

    config = GenerationConfig(**GENERATION, eos_token_id=lab.load().config.eos_token_id)
    config.save_pretrained(str(folder))
    return _generation(config)


def read_generation(_: Lab, folder: Path) -> Facts:
    from transformers import GenerationConfig

    return _generation(GenerationConfig.from_pretrained(str(folder)))


def _generation(config: Any) -> Facts:
    return {"generation-config": {name: getattr(config, name) for name in (*GENERATION, "eos_token_id")}}


def _plain_tokenizer(lab: Lab) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(lab.tokenizer))


def _extra_tokenizer(lab: Lab) -> Any:
    """With special tokens of the team's own."""
    tokenizer = _plain_tokenizer(lab)
    tokenizer.add_special_tokens({"additional_special_tokens": list(EXTRA)})
    return tokenizer


def _generic_tokenizer(lab: Lab) -> Any:
    """Made from a ``tokenizer.json`` alone, with a chat template and an added token."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_file(str(lab.tokenizer / "tokenizer.json"))
    end = json.loads((lab.tokenizer / "tokenizer_config.json").read_text())["eos_token"]
    end = end if isinstance(end, str) else end["content"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, pad_token=end)
    tokenizer.add_tokens(["<added>"])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _tokenizer(name: str, make: Callable[[Lab], Any]) -> Kind:
    def write(lab: Lab, folder: Path) -> Facts:
        tokenizer = make(lab)
        tokenizer.save_pretrained(str(folder))
        return {name: tokenizer_facts(tokenizer)}

    def read(_: Lab, folder: Path) -> Facts:
        from transformers import AutoTokenizer

        return {name: tokenizer_facts(AutoTokenizer.from_pretrained(str(folder)))}

    return Kind(name=name, write=write, read=read)


def tokenizer_facts(tokenizer: Any) -> dict[str, Any]:
    texts = (*TEXTS, *(f" sky{token}day" for token in (*EXTRA, "<added>")))
    ids = [tokenizer(text)["input_ids"] for text in texts]
    # transformers 5 renamed them; before it, the new name was for tokens that have a role.
    extra = getattr(tokenizer, "additional_special_tokens", None)
    extra = getattr(tokenizer, "extra_special_tokens", None) if extra is None else extra
    facts = {
        "ids": ids,
        "decoded": [tokenizer.decode(each) for each in ids],
        "without special tokens": [tokenizer.decode(each, skip_special_tokens=True) for each in ids],
        "special ids": [getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad", "unk")],
        "extra special tokens": sorted(extra or []),
        "length": len(tokenizer),
    }
    if getattr(tokenizer, "chat_template", None):
        facts["chat"] = tokenizer.apply_chat_template(list(CHAT), tokenize=False)
    return facts


ALL: Final = (
    _model("full", trained),
    _model("merged", merged),
    _model("merged-bf16", merged_bf16, from_files=True),
    _model("sharded", trained, only=LLAMA, shards=SHARDS),
    Kind(name="generation-config", write=write_generation, read=read_generation, only=LLAMA),
    _tokenizer("tokenizer", _plain_tokenizer),
    _tokenizer("tokenizer-extra", _extra_tokenizer),
    _tokenizer("tokenizer-generic", _generic_tokenizer),
)
