"""Loading, tokenizing, generating, adapters: what happens before and after training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from tunematrix.harness.measures.lab import LORA, SEED, Lab, distance, fill, logits, lora_weights
from tunematrix.pipeline import models

PROMPT: Final = "The color of the sky is"
STRINGS: Final = ("The sky is blue.", " two  spaces ", "It's not.\nWater", "naïve café")


def tokenizer(lab: Lab) -> None:
    """Token ids of some strings, and whether they come back, spaces included."""
    own = lab.tokenizer()
    ids = [own(text)["input_ids"] for text in STRINGS]
    lab.number("ids", ids)
    lab.number("round_trip", [own.decode(row, skip_special_tokens=True) for row in ids])
    if lab.chats:
        messages = [{"role": "user", "content": "What color is the sky?"}]
        chat = own.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        lab.number("chat", chat)


def load_dtype(lab: Lab) -> None:
    """The dtype that ``from_pretrained`` gives a checkpoint in bfloat16 when none is asked for."""
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
    lab.number("default", str(AutoModelForCausalLM.from_pretrained(str(folder)).dtype))


def generate(lab: Lab) -> None:
    """Greedy ids, and how long an answer is when no length is asked for."""
    own = lab.tokenizer()
    model = lab.load().eval()
    encoded = own(PROMPT, return_tensors="pt")
    length = encoded["input_ids"].shape[1]
    options = {"do_sample": False, "pad_token_id": own.pad_token_id}
    lab.number("greedy_ids", model.generate(**encoded, **options, max_new_tokens=8)[0, length:].tolist())
    lab.number("default_length", model.generate(**encoded, **options, eos_token_id=None).shape[1])
    lab.number("logits_abs_sum", float(logits(model, own).abs().sum()))
    for name in ("max_length", "max_new_tokens", "do_sample", "temperature", "top_p", "top_k"):
        lab.number(f"config_{name}", getattr(model.generation_config, name, None))


def adapter(lab: Lab) -> None:
    """LoRA's first weights and names; a saved adapter reloads equal, merges and reloads equal."""
    from peft import PeftModel, get_peft_model
    from transformers import set_seed

    set_seed(SEED)
    model = get_peft_model(lab.load(), models.lora_config(LORA, "lora"))
    start = lora_weights(model)
    lab.number("names", sorted(start))
    lab.number("dtypes", sorted({str(value.dtype) for value in start.values()}))
    lab.number("start_abs_sum", sum(float(value.abs().sum()) for value in start.values()))
    fill(model)
    own = lab.tokenizer()
    before = logits(model, own)
    model.save_pretrained(str(lab.folder / "adapter"))
    again = PeftModel.from_pretrained(lab.load(), str(lab.folder / "adapter"))
    lab.number("reload_difference", distance({"": before}, {"": logits(again, own)}))
    merged = again.merge_and_unload()
    lab.number("merged_equal", distance({"": before}, {"": logits(merged, own)}) < 1e-5)
    merged.save_pretrained(str(lab.folder / "merged"))
    lab.number(
        "merged_reload_equal",
        distance({"": before}, {"": logits(lab.load(lab.folder / "merged"), own)}) < 1e-5,
    )
    lab.number("merged_files", sorted(path.name for path in Path(lab.folder / "merged").iterdir()))


def adapter_tied(lab: Lab) -> None:
    """A trained output head on tied embeddings: does the merged and saved model keep it?"""
    from peft import LoraConfig

    lora = LoraConfig(r=4, lora_alpha=8, modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    rows = [{"text": "The sky is blue during the day."}]
    trainer = lab.trainer("SFT", rows, lora=lora, dataset_text_field="text", max_length=64)
    lab.train(trainer)
    own = lab.tokenizer()
    model = trainer.model.eval().merge_and_unload()
    before = logits(model, own)
    model.save_pretrained(str(lab.folder / "tied"))
    lab.number("tie_word_embeddings", model.config.tie_word_embeddings)
    difference = distance({"": before}, {"": logits(lab.load(lab.folder / "tied"), own)})
    lab.number("merged_reload_equal", difference < 1e-5)


ALL: Final = (tokenizer, load_dtype, generate, adapter, adapter_tied)
CHEAP: Final = (tokenizer, generate)
