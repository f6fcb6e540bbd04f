"""Writing the files of a model repository, in a form that every stack from transformers 4.38 on can read."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
DTYPES: Final = {"float32": ("F32", 4), "bfloat16": ("BF16", 2)}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def bfloat16(values: Array) -> NDArray[np.uint16]:
    """The upper halves of float32, rounded to nearest, ties to even; numpy has no bfloat16."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path: Path, tensors: Mapping[str, Array], dtype: str) -> None:
    """Write ``tensors`` in one dtype, ``float32`` or ``bfloat16``, sorted by name.

    Not with the safetensors package, because the bytes determine the revision and must not depend on its
    release. Format: an 8-byte length, a JSON header padded to 8, the data.
    """
    code, width = DTYPES[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, value in sorted(tensors.items()):
        end = offset + value.size * width
        header[name] = {"dtype": code, "shape": list(value.shape), "data_offsets": [offset, end]}
        offset = end
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(content)) + content)
        for _, value in sorted(tensors.items()):
            stream.write((bfloat16(value) if code == "BF16" else value.astype("<f4")).tobytes())


def write_tokenizer(
    folder: Path,
    *,
    tokens: Sequence[str],
    merges: Sequence[str],
    special: Sequence[str],
    roles: Mapping[str, str],
    split_digits: bool,
    chat_template: str | None,
    max_length: int,
) -> None:
    """Write a byte-level BPE tokenizer as ``GPT2Tokenizer`` files.

    ``roles`` maps ``bos_token`` and the like to a token. ``split_digits`` splits numbers into digits before
    merging, as SmolLM2 does. Merges are "a b" strings, because tokenizers before 0.20 cannot read pairs.
    """
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    added = [_added_token(token, vocab[token]) for token in special]
    write_json(folder / "tokenizer.json", _byte_level_bpe(vocab, merges, added, split_digits=split_digits))
    write_json(folder / "vocab.json", vocab)
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    write_json(folder / "special_tokens_map.json", dict(roles))
    flags = {key: value for key, value in _added_token("", 0).items() if key not in ("id", "content")}
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(token["id"]): {"content": token["content"], **flags} for token in added
            },
            **roles,
            **({"chat_template": chat_template} if chat_template else {}),
            "clean_up_tokenization_spaces": False,
            "model_max_length": max_length,
            "tokenizer_class": "GPT2Tokenizer",
        },
    )


def _byte_level_bpe(
    vocab: Mapping[str, int], merges: Sequence[str], added: list[dict[str, Any]], *, split_digits: bool
) -> dict[str, Any]:
    """The content of a ``tokenizer.json``."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    pre_tokenizer: dict[str, Any] = byte_level
    if split_digits:
        digits = {"type": "Digits", "individual_digits": True}
        pre_tokenizer = {"type": "Sequence", "pretokenizers": [digits, byte_level]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocab,
            "merges": list(merges),
        },
    }


def _added_token(token: str, token_id: int) -> dict[str, Any]:
    return {
        "id": token_id,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
