"""Greedy generation from a saved model, with the logits behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunematrix.pipeline import models
from tunematrix.pipeline.config import Generate, Sample
from tunematrix.pipeline.trace import Trace


def generate(config: Generate, traced: Trace) -> None:
    """Load ``config.model`` and write what it answers into ``config.output_dir``."""
    model = models.load(config.model, traced).to(models.place(config.device)).eval()
    tokenizer = models.load_tokenizer(config.model.path)
    config.output_dir.mkdir(parents=True, exist_ok=True)
    write(model, tokenizer, config.sample, config.output_dir, traced)


def write(model: Any, tokenizer: Any, sample: Sample, folder: Path, traced: Trace) -> None:
    """Answer ``sample`` greedily with a model in eval mode; write ``sample.json`` and ``sample.safetensors``.

    The JSON holds the prompt, its token ids, the new token ids and the text; the tensor ``logits`` is
    float32 (tokens of the prompt, vocabulary).
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
    new = output[0, length:].tolist()
    answer = {
        "prompt": sample.prompt,
        "prompt_ids": encoded["input_ids"][0].tolist(),
        "prompt_again": tokenizer.decode(encoded["input_ids"][0]),
        "new_ids": new,
        "text": tokenizer.decode(new),
    }
    save_file({"logits": logits.contiguous()}, folder / "sample.safetensors")
    (folder / "sample.json").write_text(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    traced.number("text", answer["text"])
    traced.number("new_ids", new)
    print(f"{sample.prompt!r} -> {answer['text']!r}")
