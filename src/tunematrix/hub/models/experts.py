"""A tiny Mixtral in the files that transformers 4 wrote: a tensor for each matrix of each expert.

transformers 5 joins the experts of a layer in one tensor when it loads them, so an adapter that names them is
another one afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from tunematrix.hub.models.files import Normal, write_json, write_safetensors

EXPERTS: Final = 4
LAYERS: Final = 2
HEADS: Final = 2
TOKENS: Final = 512


def make_small(folder: Path) -> None:
    """The model of frozen artifacts: half as wide, of weights that can be compressed."""
    make(folder, width=8, inner=16, grain=2.0**-6)


def make(folder: Path, width: int = 16, inner: int = 32, grain: float = 0.0) -> None:
    """Write ``config.json`` and ``model.safetensors``, float32, from a seed."""
    draw = Normal(seed=20240404, grain=grain)
    shapes = {"model.embed_tokens.weight": (TOKENS, width), "lm_head.weight": (TOKENS, width)}
    ones = ["model.norm.weight"]
    for layer in range(LAYERS):
        block = f"model.layers.{layer}."
        shapes |= {f"{block}self_attn.{name}_proj.weight": (width, width) for name in ("q", "k", "v", "o")}
        shapes[f"{block}block_sparse_moe.gate.weight"] = (EXPERTS, width)
        for expert in range(EXPERTS):
            weights = {"w1": (inner, width), "w2": (width, inner), "w3": (inner, width)}
            shapes |= {
                f"{block}block_sparse_moe.experts.{expert}.{name}.weight": shape
                for name, shape in weights.items()
            }
        ones += [f"{block}input_layernorm.weight", f"{block}post_attention_layernorm.weight"]
    tensors = {name: draw(*shape, scale=0.5) for name, shape in shapes.items()}
    tensors |= {name: np.ones(width, np.float32) for name in ones}
    write_safetensors(folder / "model.safetensors", tensors, "float32")
    config = {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": inner,
        "max_position_embeddings": 256,
        "num_attention_heads": HEADS,
        "num_experts_per_tok": 2,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": HEADS,
        "num_local_experts": EXPERTS,
        "output_router_logits": False,
        "rms_norm_eps": 1e-05,
        "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.02,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "dtype": "float32",
        "vocab_size": TOKENS,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    write_json(folder / "config.json", config)
