"""Compare a made SmolLM2 with what transformers' own GGUF loader reads; run under a real stack.

``python compare_gguf.py MODEL_FOLDER GGUF_FILE`` prints JSON: the largest differences of the logits, and
the tokens of the seed's prompt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = "The color of the sky is"

made, source = Path(sys.argv[1]), Path(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(made)
ids = tokenizer(PROMPT, return_tensors="pt").input_ids
with torch.no_grad():
    reference = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32
    )
    exact = reference(ids).logits
    # What rounding the very same weights to bfloat16, as upstream stores them, does to the logits. Only
    # the weights: a model cast as a whole also rounds its rotary frequencies, which no checkpoint holds.
    for weight in reference.parameters():
        weight.copy_(weight.to(torch.bfloat16))
    rounded = reference(ids).logits
    ours = AutoModelForCausalLM.from_pretrained(made, dtype=torch.float32)(ids).logits
print(
    json.dumps(
        {
            "tokens": ids[0].tolist(),
            "decoded": tokenizer.decode(ids[0]),
            "to_rounded": float((ours - rounded).abs().max()),
            "to_exact": float((ours - exact).abs().max()),
            "scale": float(exact.abs().max()),
        }
    )
)
