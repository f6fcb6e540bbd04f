"""The models of the embedded Hub: the same bytes on every machine, in a form that every stack reads."""

from __future__ import annotations

import json
import lzma
import struct
from pathlib import Path

import numpy as np
import pytest

from tunematrix.hub import models
from tunematrix.hub.models import files, smollm2, tiny
from tunematrix.hub.store import index_root

# A change here changes every fingerprint: increase the model's version and explain it in CHANGELOG.
REVISIONS = {
    "tiny-gpt2": "dbebf7f9461f516eab8a63baad53b90ddca5eb5f",
    "tiny-llama": "244f34bd90168aecfbc5831a82fff4aa51b57da3",
}


@pytest.fixture(name="cache", scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", REVISIONS)
def test_tiny_models_have_the_same_bytes_on_every_machine(cache: Path, name: str) -> None:
    root = models.prepare(models.MODELS[name], cache)

    assert index_root(root)[f"tunematrix/{name}"].commit == REVISIONS[name]


@pytest.mark.parametrize(
    "model", [*models.SMALL.values(), models.SMALL_EXPERTS], ids=lambda model: model.name
)
def test_models_of_frozen_sets_can_be_compressed(cache: Path, model: models.Model) -> None:
    folder = models.prepare(model, cache) / model.repo
    content = (folder / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    weights = np.frombuffer(content[8 + size :], "<f4")
    assert np.array_equal(weights, np.round(weights * 64) / 64)
    assert len(lzma.compress(content)) < len(content) / 3


def test_a_model_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = models.prepare(models.MODELS["tiny-gpt2"], cache)
    monkeypatch.setattr(tiny, "make_gpt2", None)

    assert models.prepare(models.MODELS["tiny-gpt2"], cache) == first


@pytest.mark.parametrize("damage", ["truncated", "removed", "unknown sizes"])
def test_a_damaged_model_in_the_cache_is_made_anew(cache: Path, damage: str) -> None:
    model = models.MODELS["tiny-gpt2"]
    root = models.prepare(model, cache)
    weights = root / model.repo / "model.safetensors"
    whole = weights.read_bytes()
    if damage == "unknown sizes":
        (root / models.SIZES).write_text("{")
    else:
        weights.unlink()
        if damage == "truncated":
            weights.write_bytes(whole[:-1])
    (root / ".part-1").mkdir()

    assert models.prepare(model, cache) == root
    assert weights.read_bytes() == whole
    assert (root / ".part-1").exists() == (damage == "unknown sizes")
    assert index_root(root)[model.repo].commit == REVISIONS["tiny-gpt2"]


def test_a_model_that_cannot_be_made_leaves_no_files(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError("no wheel")

    with pytest.raises(OSError, match="no wheel"):
        models.prepare(models.Model(name="x", make=fail, version=1), tmp_path)

    assert index_root(tmp_path / "models/x-1") == {}


@pytest.mark.parametrize("name", REVISIONS)
def test_the_oldest_stack_can_read_the_files(cache: Path, name: str) -> None:
    folder = models.prepare(models.MODELS[name], cache) / f"tunematrix/{name}"
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())

    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert all(isinstance(merge, str) for merge in tokenizer["model"]["merges"])
    assert len(tokenizer["model"]["vocab"]) == config["vocab_size"]
    assert (folder / "special_tokens_map.json").is_file()


def test_the_llama_has_the_features_that_gpt2_lacks(cache: Path) -> None:
    folder = models.prepare(models.MODELS["tiny-llama"], cache) / "tunematrix/tiny-llama"
    config = json.loads((folder / "config.json").read_text())

    assert config["rope_theta"] == 100000
    assert config["tie_word_embeddings"]
    assert config["num_key_value_heads"] < config["num_attention_heads"]
    assert "chat_template" in json.loads((folder / "tokenizer_config.json").read_text())


def test_byte_symbols_are_those_of_gpt2() -> None:
    symbols = tiny.byte_symbols()

    assert len(set(symbols)) == 256
    assert symbols[ord("A")] == "A"
    assert symbols[ord(" ")] == "\u0120"
    assert symbols[ord("\n")] == "\u010a"


def test_bfloat16_rounds_to_nearest_ties_to_even() -> None:
    bits = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x3F808001, 0xBF80FFFF], dtype=np.uint32)

    rounded = files.bfloat16(bits.view(np.float32))

    assert [hex(value) for value in rounded] == ["0x3f80", "0x3f80", "0x3f82", "0x3f81", "0xbf81"]


def test_safetensors_follow_the_format(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    files.write_safetensors(path, {"b": np.ones((2, 3), np.float32), "a": np.zeros(1, np.float32)}, "float32")
    content = path.read_bytes()

    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    assert header["a"] == {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    assert header["b"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [4, 28]}
    assert np.frombuffer(content[8 + length :], "<f4").tolist() == [0, 1, 1, 1, 1, 1, 1]


def test_unpermute_inverts_the_permutation_of_llama_cpp() -> None:
    heads, size, width = 2, 4, 3
    weight = np.arange(heads * size * width, dtype=np.float32).reshape(heads * size, width)
    # permute() of llama.cpp's convert_hf_to_gguf.py
    permuted = weight.reshape(heads, 2, size // 2, width).swapaxes(1, 2).reshape(weight.shape)

    assert (smollm2.unpermute(permuted, heads) == weight).all()
    assert (permuted != weight).any()


def test_tensor_names_are_translated() -> None:
    assert smollm2.tensor_name("token_embd.weight") == "model.embed_tokens.weight"
    assert smollm2.tensor_name("blk.7.attn_q.weight") == "model.layers.7.self_attn.q_proj.weight"
