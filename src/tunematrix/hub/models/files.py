"""Writing the files of a model repository, in a form that every stack from transformers 4.38 on can read."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
ZIP_HEADER: Final = 30  # bytes of a local file header before its name
DTYPES: Final = {"float32": ("F32", 4), "bfloat16": ("BF16", 2)}


class Normal:
    """Draws scaled normal arrays from ``RandomState``, whose stream numpy guarantees never to change.

    With ``grain``, rounded to its multiples, of which files can be compressed.
    """

    def __init__(self, seed: int, grain: float = 0.0) -> None:
        self._state = np.random.RandomState(seed)
        self._grain = grain

    def __call__(self, *shape: int, scale: float = 0.1) -> Array:
        # 0.1, not the usual 0.02: with so few layers the logits of all tokens would be nearly equal.
        values = self._state.standard_normal(shape) * scale
        if self._grain:
            values = np.round(values / self._grain) * self._grain
        return values.astype(np.float32)


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


def write_torch(path: Path, tensors: Mapping[str, Array], aliases: Mapping[str, str]) -> None:
    """Write float32 ``tensors`` as ``torch.save`` does; each of ``aliases`` is a name for another's storage.

    The pickle is written opcode by opcode, because its globals name classes of torch, which is not installed
    here: ``torch._utils._rebuild_tensor_v2((storage), 0, shape, strides, False, OrderedDict())`` a tensor.
    """
    storages = {name: str(index) for index, name in enumerate(tensors)}
    entries = b"".join(
        _text(name) + _rebuilt(tensors[target], storages[target])
        for name, target in [*zip(tensors, tensors, strict=True), *aliases.items()]
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, f"{path.stem}/data.pkl", b"\x80\x02}(" + entries + b"u.")
        _store(archive, f"{path.stem}/byteorder", b"little")
        for name, value in tensors.items():
            _store(archive, f"{path.stem}/data/{storages[name]}", value.astype("<f4").tobytes())
        _store(archive, f"{path.stem}/version", b"3\n")


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _rebuilt(value: Array, storage: str) -> bytes:
    """The opcodes of a contiguous tensor: a global called with a tuple, whose storage is a persistent id."""
    strides = [stride // value.itemsize for stride in value.strides]
    persistent_id = _tuple(
        _text("storage"), b"ctorch\nFloatStorage\n", _text(storage), _text("cpu"), _integer(value.size)
    )
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = _tuple(
        persistent_id + b"Q",
        _integer(0),
        _tuple(*map(_integer, value.shape)),
        _tuple(*map(_integer, strides)),
        b"\x89",
        hooks,
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a file whose data starts at a multiple of 64, as torch pads them, which allows mapping it."""
    information = zipfile.ZipInfo(name)  # dated 1980, as torch dates them
    information.create_system = 3  # else the byte for it depends on the platform
    header = archive.fp.tell() + ZIP_HEADER + len(name) + 4 if archive.fp else 0
    padding = -header % 64
    information.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(information, content)


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


def bpe(vocab: Mapping[str, int], merges: Sequence[str], **options: Any) -> dict[str, Any]:
    """The model of a ``tokenizer.json``; ``options`` are those that only later releases write."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        **options,
        "vocab": vocab,
        "merges": list(merges),
    }


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
        "model": bpe(vocab, merges),
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
