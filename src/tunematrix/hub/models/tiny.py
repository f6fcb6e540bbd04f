"""Tiny models from a seed: byte-identical on every machine, and random enough for training to have an effect.

GPT-2 alone is not enough: it has no rotary embedding and its own loss path, so it could show neither a lost
rope configuration nor a changed loss normalisation of Llama models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tunematrix.hub.models.files import Array, Normal, write_json, write_safetensors, write_tokenizer

# fmt: off
WORDS: Final = (
    "The", "color", "of", "the", "sky", "is", "blue", "during", "day", "Grass", "green", "and", "grows",
    "in", "gardens", "sun", "provides", "light", "warmth", "Water", "essential", "for", "all", "life",
    "forms", "What", "does", "do", "Why", "important", "I", "know", "Purple", "Nothing", "sustains",
    "It", "not",
)
# fmt: on
CHAT_SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LAYERS: Final = 2
CONTEXT: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How large a model is; ``key_value_heads`` are the Llama's, ``grain`` is that of its weights."""

    width: int
    heads: int
    key_value_heads: int
    grain: float = 0.0


TINY: Final = Size(width=32, heads=4, key_value_heads=2)
# What a frozen artifact is made with: it is kept for good, so it must be small, also compressed. A head of
# less than four numbers would have no rotary embedding that depends on its base.
SMALL: Final = Size(width=8, heads=2, key_value_heads=1, grain=2.0**-6)


def make_gpt2(folder: Path, size: Size = TINY) -> None:
    """A GPT-2 of 2 layers, of width 32 by default, with tied embeddings, float32."""
    width = size.width
    tokens, merges = vocabulary(("<|endoftext|>",))
    end_id = tokens.index("<|endoftext|>")
    draw = Normal(seed=20240101, grain=size.grain)
    tensors = {
        "transformer.wte.weight": draw(len(tokens), width),
        "transformer.wpe.weight": draw(CONTEXT, width),
        "transformer.ln_f.weight": np.ones(width, np.float32),
        "transformer.ln_f.bias": np.zeros(width, np.float32),
    }
    for layer in range(LAYERS):
        block = f"transformer.h.{layer}."
        output_factors = {"attn.c_attn": 3, "attn.c_proj": 1, "mlp.c_fc": 4}
        for name, factor in output_factors.items():  # Conv1D stores (input, output)
            tensors[f"{block}{name}.weight"] = draw(width, factor * width)
            tensors[f"{block}{name}.bias"] = np.zeros(factor * width, np.float32)
        tensors[f"{block}mlp.c_proj.weight"] = draw(4 * width, width)
        tensors[f"{block}mlp.c_proj.bias"] = np.zeros(width, np.float32)
        for name in ("ln_1", "ln_2"):
            tensors[f"{block}{name}.weight"] = np.ones(width, np.float32)
            tensors[f"{block}{name}.bias"] = np.zeros(width, np.float32)
    write_safetensors(folder / "model.safetensors", tensors, "float32")
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "n_ctx": CONTEXT,
        "n_embd": width,
        "n_head": size.heads,
        "n_layer": LAYERS,
        "n_positions": CONTEXT,
        "tie_word_embeddings": True,
    }
    _write_configs(folder, config, tokens, end_id, end_id)
    write_tokenizer(
        folder,
        tokens=tokens,
        merges=merges,
        special=("<|endoftext|>",),
        roles=dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
        split_digits=False,
        chat_template=None,
        max_length=CONTEXT,
    )


def make_small_gpt2(folder: Path) -> None:
    make_gpt2(folder, SMALL)


def make_small_llama(folder: Path) -> None:
    make_llama(folder, SMALL)


def make_llama(folder: Path, size: Size = TINY) -> None:
    """A Llama of 2 layers, of width 32 by default, rope_theta 100000, tied, with a chat template."""
    width = size.width
    tokens, merges = vocabulary(CHAT_SPECIAL)
    write_safetensors(folder / "model.safetensors", _llama_tensors(len(tokens), size), "float32")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": 2 * width,
        "max_position_embeddings": CONTEXT,
        "mlp_bias": False,
        "num_attention_heads": size.heads,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": size.key_value_heads,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 100000.0,
        "tie_word_embeddings": True,
    }
    start_id, end_id = tokens.index("<|im_start|>"), tokens.index("<|im_end|>")
    _write_configs(folder, {**config, "pad_token_id": end_id}, tokens, start_id, end_id)
    write_tokenizer(
        folder,
        tokens=tokens,
        merges=merges,
        special=CHAT_SPECIAL,
        roles={
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "pad_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
        },
        split_digits=False,
        chat_template=CHAT_TEMPLATE,
        max_length=CONTEXT,
    )


def _llama_tensors(vocabulary_size: int, size: Size) -> dict[str, Array]:
    draw, width = Normal(seed=20240202, grain=size.grain), size.width
    key_value_width = size.key_value_heads * width // size.heads
    tensors = {
        "model.embed_tokens.weight": draw(vocabulary_size, width),
        "model.norm.weight": np.ones(width, np.float32),
    }
    for layer in range(LAYERS):
        block = f"model.layers.{layer}."
        shapes = {
            "self_attn.q_proj": (width, width),
            "self_attn.k_proj": (key_value_width, width),
            "self_attn.v_proj": (key_value_width, width),
            "self_attn.o_proj": (width, width),
            "mlp.gate_proj": (2 * width, width),
            "mlp.up_proj": (2 * width, width),
            "mlp.down_proj": (width, 2 * width),
        }
        # Large enough to outweigh the tied embedding; otherwise every token would predict itself.
        tensors |= {f"{block}{name}.weight": draw(*shape, scale=0.5) for name, shape in shapes.items()}
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{block}{name}.weight"] = np.ones(width, np.float32)
    return tensors


def vocabulary(special: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level BPE that has a token for each of ``WORDS``.

    Not trained: each word is merged from left to right, so the result does not depend on a library.
    """
    pieces = [space + word for word in WORDS for space in ("", "\u0120")]  # \u0120 represents a space
    merges = dict.fromkeys(f"{piece[:end]} {piece[end]}" for piece in pieces for end in range(1, len(piece)))
    merged_tokens = [merge.replace(" ", "") for merge in merges]
    return list(dict.fromkeys([*special, *byte_symbols(), *merged_tokens])), list(merges)


def byte_symbols() -> list[str]:
    """The 256 printable characters that represent the bytes in GPT-2's byte-level alphabet, in byte order.

    Printable bytes are represented by themselves, the others by code points from 256 on, as in OpenAI's
    ``bytes_to_unicode``.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    code_points = iter(range(256, 512))
    return [chr(byte if byte in printable else next(code_points)) for byte in range(256)]


def _write_configs(
    folder: Path, config: dict[str, object], tokens: list[str], start_id: int, end_id: int
) -> None:
    # Both names of the dtype: transformers before 4.56 reads only the first, 5 prefers the second.
    dtypes = {"torch_dtype": "float32", "dtype": "float32"}
    ids = {"bos_token_id": start_id, "eos_token_id": end_id}
    write_json(
        folder / "config.json", {**config, **dtypes, **ids, "use_cache": True, "vocab_size": len(tokens)}
    )
    write_json(folder / "generation_config.json", {"_from_model_config": True, **ids, "pad_token_id": end_id})
