"""Compare the converted SmolLM2 with what transformers' own GGUF loader reads; run under a real stack.

``python compare_gguf.py MODEL_FOLDER GGUF_FILE`` prints JSON: the largest differences of the logits, and
the tokens of the workflow's prompt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = "The color of the sky is"

converted, gguf = Path(sys.argv[1]), Path(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(converted)
ids = tokenizer(PROMPT, return_tensors="pt").input_ids
with torch.no_grad():
    reference = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    exact = reference(ids).logits
    # The logits of the same weights rounded to bfloat16, as upstream stores them. Only the weights are
    # rounded: casting the whole model would also round its rotary frequencies, which no checkpoint holds.
    for weight in reference.parameters():
        weight.copy_(weight.to(torch.bfloat16))
    rounded = reference(ids).logits
    actual = AutoModelForCausalLM.from_pretrained(converted, dtype=torch.float32)(ids).logits
print(
    json.dumps(
        {
            "tokens": ids[0].tolist(),
            "decoded": tokenizer.decode(ids[0]),
            "to_rounded": float((actual - rounded).abs().max()),
            "to_exact": float((actual - exact).abs().max()),
            "scale": float(exact.abs().max()),
        }
    )
)
