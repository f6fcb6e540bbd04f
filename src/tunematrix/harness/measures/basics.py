"""Measures of what surrounds training: tokenizing, loading, generating, adapters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from tunematrix.harness.measures.lab import LORA, SEED, Lab, fill_lora_b, logits, lora_weights, max_difference
from tunematrix.pipeline import models

PROMPT: Final = "The color of the sky is"
STRINGS: Final = ("The sky is blue.", " two  spaces ", "It's not.\nWater", "naïve café")


def tokenizer(lab: Lab) -> None:
    """Token ids of some strings, and what they decode to, spaces included."""
    tokenizer = lab.load_tokenizer()
    ids = [tokenizer(text)["input_ids"] for text in STRINGS]
    lab.add_number("ids", ids)
    lab.add_number("round_trip", [tokenizer.decode(text_ids, skip_special_tokens=True) for text_ids in ids])
    if lab.has_chat_template:
        messages = [{"role": "user", "content": "What color is the sky?"}]
        chat = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        lab.add_number("chat", chat)


def load_dtype(lab: Lab) -> None:
    """The dtype that ``from_pretrained`` loads a bfloat16 checkpoint in when none is requested."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    folder = lab.folder / "bfloat16"
    shutil.copytree(lab.model, folder)
    weights = {
        name: value.to(torch.bfloat16) for name, value in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config |= {"torch_dtype": "bfloat16", "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    lab.add_number("default", str(AutoModelForCausalLM.from_pretrained(str(folder)).dtype))


def generate(lab: Lab) -> None:
    """Greedy ids, and the length of an answer when none is requested."""
    tokenizer = lab.load_tokenizer()
    model = lab.load().eval()
    encoded = tokenizer(PROMPT, return_tensors="pt")
    length = encoded["input_ids"].shape[1]
    options = {"do_sample": False, "pad_token_id": tokenizer.pad_token_id}
    lab.add_number("greedy_ids", model.generate(**encoded, **options, max_new_tokens=8)[0, length:].tolist())
    lab.add_number("default_length", model.generate(**encoded, **options, eos_token_id=None).shape[1])
    lab.add_number("logits_abs_sum", float(logits(model, tokenizer).abs().sum()))
    for name in ("max_length", "max_new_tokens", "do_sample", "temperature", "top_p", "top_k"):
        lab.add_number(f"config_{name}", getattr(model.generation_config, name, None))


def adapter(lab: Lab) -> None:
    """LoRA's initial weights and names; does an adapter stay equal when saved, merged and saved merged?"""
    from peft import PeftModel, get_peft_model
    from transformers import set_seed

    set_seed(SEED)
    model = get_peft_model(lab.load(), models.lora_config(LORA, "lora"))
    start = lora_weights(model)
    lab.add_number("names", sorted(start))
    lab.add_number("dtypes", sorted({str(value.dtype) for value in start.values()}))
    lab.add_number("start_abs_sum", sum(float(value.abs().sum()) for value in start.values()))
    fill_lora_b(model)
    tokenizer = lab.load_tokenizer()
    before = logits(model, tokenizer)
    model.save_pretrained(str(lab.folder / "adapter"))
    reloaded = PeftModel.from_pretrained(lab.load(), str(lab.folder / "adapter"))
    lab.add_number("reload_difference", max_difference({"": before}, {"": logits(reloaded, tokenizer)}))
    merged = reloaded.merge_and_unload()
    lab.add_number("merged_equal", max_difference({"": before}, {"": logits(merged, tokenizer)}) < 1e-5)
    merged.save_pretrained(str(lab.folder / "merged"))
    after = logits(lab.load(lab.folder / "merged"), tokenizer)
    lab.add_number("merged_reload_equal", max_difference({"": before}, {"": after}) < 1e-5)
    lab.add_number("merged_files", sorted(path.name for path in Path(lab.folder / "merged").iterdir()))


def adapter_tied(lab: Lab) -> None:
    """A trained output head on tied embeddings: does the merged model keep it when saved?"""
    from peft import LoraConfig

    lora = LoraConfig(r=4, lora_alpha=8, modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    rows = [{"text": "The sky is blue during the day."}]
    trainer = lab.trainer("SFT", rows, lora=lora, dataset_text_field="text", max_length=64)
    lab.train(trainer)
    tokenizer = lab.load_tokenizer()
    model = trainer.model.eval().merge_and_unload()
    before = logits(model, tokenizer)
    model.save_pretrained(str(lab.folder / "tied"))
    lab.add_number("tie_word_embeddings", model.config.tie_word_embeddings)
    after = logits(lab.load(lab.folder / "tied"), tokenizer)
    lab.add_number("merged_reload_equal", max_difference({"": before}, {"": after}) < 1e-5)


ALL: Final = (tokenizer, load_dtype, generate, adapter, adapter_tied)
CHEAP: Final = (tokenizer, generate)
