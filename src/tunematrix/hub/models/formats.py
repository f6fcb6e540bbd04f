"""Small model folders in the formats that releases of transformers have written, one feature each.

A Hub holds files of every generation, and each stack must read them all. Each folder has what the release
named in it writes, checked against folders that transformers 4.44, 4.57 and 5.23 saved. Those with weights
hold the same one-layer Llama, so that all of them must give the same logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tunematrix.hub.models import format_tokenizers as tokenizers
from tunematrix.hub.models.files import Array, Normal, write_json, write_safetensors, write_torch
from tunematrix.hub.models.tokenizer_files import Tokenizer, write_4, write_5

WIDTH: Final = 16
HEAD_WIDTH: Final = 8
INNER: Final = 32
TOKENS: Final = tokenizers.byte_level_tokens()
IDS: Final[Mapping[str, Any]] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
EMBEDDING: Final = "model.embed_tokens.weight"
HEAD: Final = "lm_head.weight"
LLAMA3: Final[Mapping[str, Any]] = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 64,
    "rope_type": "llama3",
}


def make(folder: Path) -> None:
    """Write one folder below ``folder`` for each of ``FORMATS``."""
    for name, write in FORMATS.items():
        (folder / name).mkdir()
        write(folder / name)


def weights() -> dict[str, Array]:
    """A Llama of one layer with grouped attention; the head is the embedding."""
    draw = Normal(seed=20240303)
    layer = "model.layers.0."
    shapes = {
        EMBEDDING: (len(TOKENS), WIDTH),
        f"{layer}self_attn.q_proj.weight": (WIDTH, WIDTH),
        f"{layer}self_attn.k_proj.weight": (HEAD_WIDTH, WIDTH),
        f"{layer}self_attn.v_proj.weight": (HEAD_WIDTH, WIDTH),
        f"{layer}self_attn.o_proj.weight": (WIDTH, WIDTH),
        f"{layer}mlp.gate_proj.weight": (INNER, WIDTH),
        f"{layer}mlp.up_proj.weight": (INNER, WIDTH),
        f"{layer}mlp.down_proj.weight": (WIDTH, INNER),
    }
    # Large, so that attention, and with it the rotary embedding, weighs as much as the tied embedding.
    tensors = {name: draw(*shape, scale=0.7) for name, shape in shapes.items()}
    norms = (f"{layer}input_layernorm.weight", f"{layer}post_attention_layernorm.weight", "model.norm.weight")
    return tensors | {name: np.ones(WIDTH, np.float32) for name in norms}


def config_4_44(**changes: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "max_position_embeddings": 256,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": WIDTH // HEAD_WIDTH,
        "num_hidden_layers": 1,
        "num_key_value_heads": 1,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "transformers_version": "4.44.2",
        "use_cache": True,
        "vocab_size": len(TOKENS),
        **IDS,
        **changes,
    }


def config_4_57(**changes: Any) -> dict[str, Any]:
    config = config_4_44(dtype="float32", head_dim=HEAD_WIDTH, transformers_version="4.57.6")
    del config["torch_dtype"]
    return config | changes


def config_5(**changes: Any) -> dict[str, Any]:
    rope = {"rope_theta": 10000.0, "rope_type": "default"}
    config = config_4_57(rope_parameters=rope, transformers_version="5.23.0")
    del config["rope_theta"], config["rope_scaling"]
    return config | changes


def _write_model(folder: Path, config: Mapping[str, Any], **generation: Any) -> None:
    """A folder with the weights in one file; transformers 5 writes more into the generation config."""
    version = config["transformers_version"]
    new = {"output_attentions": False, "output_hidden_states": False, "use_cache": True}
    defaults = {"_from_model_config": True, **IDS, **(new if version.startswith("5") else {})}
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {**defaults, **generation, "transformers_version": version})
    dtype = config.get("dtype") or config["torch_dtype"]
    write_safetensors(folder / "model.safetensors", weights(), dtype)


def _written_by_4_44(folder: Path) -> None:
    _write_model(folder, config_4_44())
    write_4(folder, tokenizers.byte_level())


def _written_by_4_57(folder: Path) -> None:
    _write_model(folder, config_4_57())
    write_4(folder, tokenizers.byte_level(), minor=57)


def _written_by_5(folder: Path) -> None:
    _write_model(folder, config_5())
    write_5(folder, tokenizers.byte_level())


def _model(config: Callable[..., dict[str, Any]], **changes: Any) -> Callable[[Path], None]:
    return lambda folder: _write_model(folder, config(**changes))


def _weights_bin(folder: Path) -> None:
    """As transformers 4 writes without ``safe_serialization``: the tied head under both of its names."""
    _write_model(folder, config_4_44())
    (folder / "model.safetensors").unlink()
    write_torch(folder / "pytorch_model.bin", weights(), {HEAD: EMBEDDING})


def _weights_sharded(folder: Path) -> None:
    """Three shards and an index; here the head is not tied, but equal to the embedding."""
    _write_model(folder, config_4_44(tie_word_embeddings=False))
    (folder / "model.safetensors").unlink()
    tensors = weights()
    shards = [{EMBEDDING: tensors.pop(EMBEDDING)}, {HEAD: weights()[EMBEDDING]}, tensors]
    names = [f"model-{index:05}-of-{len(shards):05}.safetensors" for index in range(1, len(shards) + 1)]
    places: dict[str, str] = {}
    for name, shard in zip(names, shards, strict=True):
        write_safetensors(folder / name, shard, "float32")
        places |= dict.fromkeys(shard, name)
    size = sum(value.nbytes for shard in shards for value in shard.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    write_json(folder / "model.safetensors.index.json", index)


def _head_stored_twice(folder: Path) -> None:
    """A tied head stored beside the embedding, as tools that gather a state dict themselves write it."""
    _write_model(folder, config_4_44())
    tensors = weights()
    write_safetensors(folder / "model.safetensors", tensors | {HEAD: tensors[EMBEDDING]}, "float32")


def _head_differs(folder: Path) -> None:
    """A stored head that differs from the embedding, although the config says tied: trained, then merged."""
    _write_model(folder, config_4_44())
    tensors = weights()
    head = np.ascontiguousarray(tensors[EMBEDDING][:, ::-1])
    write_safetensors(folder / "model.safetensors", tensors | {HEAD: head}, "float32")


def _generation_temperature(folder: Path) -> None:
    """Sampling parameters without ``do_sample``, which releases before 4.32 wrote, such as for Llama 2."""
    _write_model(folder, config_4_44(), temperature=0.9, top_p=0.6)


def _generation_sampling(folder: Path) -> None:
    _write_model(folder, config_4_44(), do_sample=True, temperature=0.6, top_p=0.9)


def _generation_in_config(folder: Path) -> None:
    """Generation parameters inside ``config.json`` and no other file, as releases before 4.25 wrote."""
    _write_model(folder, config_4_44(do_sample=True, top_k=20, max_length=24))
    (folder / "generation_config.json").unlink()


def _tokenizer(
    tokenizer: Callable[[], Tokenizer],
    write: Callable[..., None] = write_4,
    model_type: str = "",
    **options: Any,
) -> Callable[[Path], None]:
    """A folder with a tokenizer and a config, but without weights: they would repeat what others show.

    The config of another architecture holds only what a tokenizer's loader looks at.
    """
    config = (config_5 if write is write_5 else config_4_44)()
    if model_type:
        config = {
            "model_type": model_type,
            **{key: config[key] for key in (*IDS, "transformers_version", "vocab_size")},
        }

    def make_folder(folder: Path) -> None:
        write_json(folder / "config.json", config)
        write(folder, tokenizer(), **options)

    return make_folder


# Increase the version of the folder in ``hub.models`` when what one of these writes changes.
FORMATS: Final[Mapping[str, Callable[[Path], None]]] = {
    "written_by_4_44": _written_by_4_44,
    "written_by_4_57": _written_by_4_57,
    "written_by_5": _written_by_5,
    "torch_dtype": _model(config_4_44, torch_dtype="bfloat16"),
    "dtype": _model(config_4_57, dtype="bfloat16"),
    "dtype_twice": _model(config_4_44, torch_dtype="bfloat16", dtype="bfloat16"),
    "rope_linear": _model(config_4_44, rope_theta=500000.0, rope_scaling={"factor": 2.0, "type": "linear"}),
    "rope_llama3": _model(config_4_44, rope_theta=500000.0, rope_scaling=dict(LLAMA3)),
    "rope_parameters": _model(config_5, rope_parameters={**LLAMA3, "rope_theta": 500000.0}),
    "weights_bin": _weights_bin,
    "weights_sharded": _weights_sharded,
    "head_stored_twice": _head_stored_twice,
    "head_differs": _head_differs,
    "generation_temperature": _generation_temperature,
    "generation_sampling": _generation_sampling,
    "generation_in_config": _generation_in_config,
    "merges_pairs": _tokenizer(tokenizers.byte_level, minor=45),
    "chat_template_file": _tokenizer(tokenizers.byte_level, template_file=True),
    "special_tokens_old": _tokenizer(tokenizers.byte_level, extra=["<|im_start|>", "<|im_end|>"]),
    "special_tokens_dict": _tokenizer(tokenizers.byte_level, minor=48, extra={"image_token": "<|im_start|>"}),
    # transformers 4.48 to 4.57 write an empty extra_special_tokens beside them, which 5.14 took for all.
    "special_tokens_both": _tokenizer(tokenizers.byte_level, minor=57, extra=["<|im_start|>", "<|im_end|>"]),
    # Not of the class TokenizersBackend, whose name alone would stop transformers 4.
    "special_tokens_list": _tokenizer(tokenizers.gpt2, write_5, "gpt2", extra=["<|im_start|>", "<|im_end|>"]),
    "tokenizer_gpt2": _tokenizer(tokenizers.gpt2, model_type="gpt2"),
    "tokenizer_gpt2_5": _tokenizer(tokenizers.gpt2, write_5, model_type="gpt2"),
    "tokenizer_qwen2": _tokenizer(tokenizers.qwen2, model_type="qwen2"),
    "tokenizer_qwen2_5": _tokenizer(tokenizers.qwen2, write_5, model_type="qwen2"),
    "tokenizer_llama": _tokenizer(tokenizers.llama),
    "tokenizer_llama_first": _tokenizer(tokenizers.llama_first),
    "tokenizer_llama_5": _tokenizer(tokenizers.llama_5, write_5),
    "tokenizer_llama_bytes": _tokenizer(tokenizers.llama_bytes),
    "tokenizer_unigram": _tokenizer(tokenizers.unigram),
    "tokenizer_unigram_5": _tokenizer(tokenizers.unigram, write_5),
    "tokenizer_t5": _tokenizer(tokenizers.t5, model_type="t5"),
}
