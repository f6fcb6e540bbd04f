"""Greedy generation from a saved model, with the logits of the prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunematrix.pipeline import models
from tunematrix.pipeline.config import GenerateConfig, Sample
from tunematrix.pipeline.trace import Trace


def generate(config: GenerateConfig, trace: Trace) -> None:
    """Load ``config.model`` and write its answer to the prompt into ``config.output_dir``."""
    model = models.load(config.model, trace).to(models.resolve_device(config.device)).eval()
    tokenizer = models.load_tokenizer(config.model.path)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    write_sample(model, tokenizer, config.sample, config.output_dir, trace)


def write_sample(model: Any, tokenizer: Any, sample: Sample, folder: Path, trace: Trace) -> None:
    """Complete ``sample`` greedily with a model in eval mode.

    Writes ``sample.json`` with the prompt, its token ids, the new token ids and the text, and
    ``sample.safetensors`` with the tensor ``logits``: float32 (tokens of the prompt, vocabulary).
    """
    import torch
    from safetensors.torch import save_file

    encoded = tokenizer(sample.prompt, return_tensors="pt").to(model.device)
    length = encoded["input_ids"].shape[1]
    with torch.no_grad():
        logits = model(**encoded).logits[0].float().cpu()
        output = model.generate(
            **encoded,
            do_sample=False,
            max_new_tokens=sample.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
    new_ids = output[0, length:].tolist()
    content = {
        "prompt": sample.prompt,
        "prompt_ids": encoded["input_ids"][0].tolist(),
        "prompt_again": tokenizer.decode(encoded["input_ids"][0]),
        "new_ids": new_ids,
        "text": tokenizer.decode(new_ids),
    }
    save_file({"logits": logits.contiguous()}, folder / "sample.safetensors")
    (folder / "sample.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    trace.add_number("text", content["text"])
    trace.add_number("new_ids", new_ids)
    print(f"{sample.prompt!r} -> {content['text']!r}")
