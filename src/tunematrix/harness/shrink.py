"""A tiny model of a team's architecture: their configuration with small sizes, and weights from a seed.

What a release changes for a Qwen or a Gemma shows on two layers of it as well. The tokenizer stays theirs.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "TUNEMATRIX_SHRINK"
# What a tiny model needs of a repository: all but the weights.
FILES: Final = ("*.json", "*.txt", "*.model", "*.jinja")
WIDTH: Final = 64
HEADS: Final = 4
LAYERS: Final = 2
# The names that configurations have for the same size.
LAYER_COUNTS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "max_window_layers")
WIDTHS: Final = ("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "embed_dim")
HEAD_COUNTS: Final = ("num_attention_heads", "n_head", "n_heads")
KEY_VALUE_HEADS: Final = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
# At most so much of each: experts and their groups, ranks and sizes of parts of a head, rhythms of layers.
LIMITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim"), WIDTH // HEADS),
    "qk_rope_head_dim": WIDTH // HEADS // 2,
    "qk_head_dim": WIDTH // HEADS + WIDTH // HEADS // 2,
    **dict.fromkeys(("sliding_window_pattern", "full_attention_interval", "decoder_sparse_step"), LAYERS),
    **dict.fromkeys(("hidden_size_per_layer_input", "query_pre_attn_scalar"), WIDTH // HEADS),
}
# Sizes within a layer, by the end of their name: twice the width.
INNER: Final = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff")
LEFT_OUT: Final = ("quantization_config",)  # a CPU cannot train such weights
EMBEDDINGS: Final = ("embed", "wte", "wpe", "lm_head")


def shrink(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with two layers, or one of each kind, of width 64 with four heads; also of its parts.

    Vocabulary, positions, dtype, tied weights, rotary base, windows and biases stay as they are.
    """
    layers, count = _kept_layers(config), _size(config, LAYER_COUNTS, 0)
    head = _head_size(config)
    small: dict[str, Any] = {}
    for name, value in config.items():
        if name in LEFT_OUT:
            continue
        small[name] = value
        if isinstance(value, Mapping):
            small[name] = _rope(value, config, head) if name.startswith("rope_") else shrink(value)
        elif isinstance(value, list) and (name == "layer_types" or len(value) == count):
            small[name] = [value[index] for index in layers]
        elif name in ("mlp_only_layers", "moe_layers", "layers_block_type") and isinstance(value, list):
            small[name] = [each for each in value if not isinstance(each, int) or each < len(layers)]
        elif isinstance(value, int) and not isinstance(value, bool):
            small[name] = _small(name, value, config, len(layers), head)
    return small


def _small(name: str, value: int, config: Mapping[str, Any], layers: int, head: int) -> int:
    if name in LAYER_COUNTS:
        return min(value, layers)
    if name in WIDTHS:
        return WIDTH
    if name in HEAD_COUNTS:
        return HEADS
    if name in KEY_VALUE_HEADS:  # as many as heads, one, or some: three kinds of attention
        heads = _size(config, HEAD_COUNTS, value)
        return HEADS if value == heads else min(value, HEADS // 2)
    if name in ("head_dim", "global_head_dim"):
        return head
    if name.endswith(INNER):
        return 2 * WIDTH
    return min(value, LIMITS.get(name, value))


def _size(config: Mapping[str, Any], names: Iterable[str], default: int) -> int:
    """The size that the configuration has under one of ``names``."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), default)


def _kept_layers(config: Mapping[str, Any]) -> list[int]:
    """The first layer of each kind that ``layer_types`` names, and at least two layers."""
    kinds = config.get("layer_types") or []
    first = sorted({kinds.index(kind) for kind in kinds}) if isinstance(kinds, list) else []
    others = [index for index in range(_size(config, LAYER_COUNTS, 0)) if index not in first]
    return sorted(first + others[: max(0, LAYERS - len(first))])


def _head_size(config: Mapping[str, Any]) -> int:
    """What the heads divide the width into; twice as much where theirs are wider than that."""
    width, heads = _size(config, WIDTHS, WIDTH), _size(config, HEAD_COUNTS, HEADS)
    own = config.get("head_dim")
    if "qk_rope_head_dim" in config:  # there it is the part of a head that turns
        return LIMITS["qk_rope_head_dim"]
    wide = isinstance(own, int) and own * heads > width
    return 2 * WIDTH // HEADS if wide else WIDTH // HEADS


def _rope(rope: Mapping[str, Any], config: Mapping[str, Any], head: int) -> dict[str, Any]:
    """Rotary settings, whose lists have a number for each pair of a head's, or share those out."""
    width, heads = _size(config, WIDTHS, WIDTH), _size(config, HEAD_COUNTS, HEADS)
    own = config.get("head_dim") or width // heads
    small: dict[str, Any] = {}
    for name, value in rope.items():
        small[name] = value
        if isinstance(value, Mapping):  # by kind of layer
            small[name] = _rope(value, config, head)
        elif name.endswith("_section") and isinstance(value, list) and all(isinstance(n, int) for n in value):
            parts = [max(1, each * head // own) for each in value]
            small[name] = [head // 2 - sum(parts[1:]), *parts[1:]]
        elif isinstance(value, list) and len(value) > 2:
            small[name] = value[: max(1, len(value) * head // own)]
    return small


def make(folder: Path) -> None:
    """Turn the configuration in ``folder`` into that of a tiny model, and write its weights beside it.

    The weights depend on their names and shapes alone, so that two stacks which agree on these have the same
    model. Raises what the stack raises for an architecture that it does not know.
    """
    import transformers

    path = folder / "config.json"
    small = shrink(json.loads(path.read_text()))
    path.write_text(json.dumps(small, indent=2))
    config = transformers.AutoConfig.from_pretrained(folder)
    names = getattr(config, "architectures", None) or ()
    own = next((getattr(transformers, name) for name in names if hasattr(transformers, name)), None)
    model = own(config) if own else transformers.AutoModelForCausalLM.from_config(config)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        # Only the weights: the stack would write its own view of the configuration.
        model.save_pretrained(temporary, safe_serialization=True)
        _write_weights(Path(temporary) / "model.safetensors", folder / "model.safetensors", small)


def _write_weights(source: Path, target: Path, config: Mapping[str, Any]) -> None:
    """The tensors of ``source`` with numbers from a seed for each name; vectors stay as they are made."""
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file

    dtype = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"), torch.float32)
    tensors = load_file(source)
    for name, tensor in sorted(tensors.items()):
        if tensor.ndim > 1:
            # Large enough for a step to change the text, as in the tiny models that are shipped.
            scale = 0.02 if any(part in name for part in EMBEDDINGS) else 0.5
            # The legacy generator: its numbers are the same in every release of numpy.
            drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(tensor.shape))
            tensors[name] = torch.from_numpy(drawn.astype(np.float32) * scale)
    kept = {name: each.to(dtype) if each.is_floating_point() else each for name, each in tensors.items()}
    save_file(kept, target, metadata={"format": "pt"})
