"""The exchange in a real cell: it reads what it wrote, and sees a fault in each kind of artifact."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tunematrix.run.exchange import FOLDER, READS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
CELL: Final = "latest"
MODEL: Final = "tiny-llama"
SIGN: Final = 0x80  # the highest bit of the last byte of a float32, little-endian


def exchange(results: Path, cache: Path) -> dict[str, dict[str, Any]]:
    """The pairs of the cell with itself, by artifact."""
    command = [sys.executable, "-m", "tunematrix", "exchange", CELL, "--model", MODEL, "--json"]
    variables = {**os.environ, "TUNEMATRIX_RESULTS": str(results), "TUNEMATRIX_CACHE": str(cache)}
    process = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert process.returncode in (0, 1), process.stderr
    content = json.loads(process.stdout)
    assert json.loads((results / MODEL / "exchange.json").read_text())["pairs"] == content["pairs"]
    return {pair["artifact"]: pair for pair in content["pairs"]}


def _edit_tensors(path: Path, edit: Callable[[dict[str, Any], bytearray], None]) -> None:
    """Change the header and the data of a safetensors file."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    edit(header, data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def flip(path: Path, part: str = "") -> None:
    """Negate the first tensor with ``part`` in its name."""

    def edit(header: dict[str, Any], data: bytearray) -> None:
        name = next(name for name in sorted(header) if name != "__metadata__" and part in name)
        width = {"F32": 4, "BF16": 2}[header[name]["dtype"]]
        start, end = header[name]["data_offsets"]
        for place in range(start + width - 1, end, width):
            data[place] ^= SIGN

    _edit_tensors(path, edit)


def lose(path: Path, part: str) -> None:
    """Rename the first tensor with ``part`` in its name, so that it is missing."""

    def edit(header: dict[str, Any], _: bytearray) -> None:
        name = next(name for name in sorted(header) if part in name)
        header[f"lost.{name}"] = header.pop(name)

    _edit_tensors(path, edit)


def edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    assert content.keys() & changes.keys(), f"{path} has none of {sorted(changes)}"
    path.write_text(json.dumps({**content, **changes}))


def other_rope(folder: Path) -> None:
    """Another base of the rotary embedding, as a release that ignores where it is written."""
    content = json.loads((folder / "config.json").read_text())
    content["rope_parameters"] = {**content["rope_parameters"], "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps(content))


def drop_token(folder: Path, token: str) -> None:
    """The token loses its entry and is text again."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"] = [each for each in content["added_tokens"] if each["content"] != token]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    edit_json(folder / "tokenizer_config.json", extra_special_tokens=[])


def spoil_full(folder: Path) -> None:
    """Other weights to resume from, and another number of steps written down."""
    flip(folder / "checkpoint-1/model.safetensors", "q_proj")
    edit_json(folder / "checkpoint-2/trainer_state.json", global_step=7)


def lose_embedding(folder: Path) -> None:
    """The embedding and the head, which is the same tensor under another name."""
    for part in ("embed_tokens", "lm_head"):
        lose(folder / WEIGHTS, part)


def write_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ messages }}")


WEIGHTS: Final = "adapter_model.safetensors"
# By the folder of a kind, the fault, and the artifacts in which it must be seen.
PLANTED: Final[dict[str, tuple[Callable[[Path], None], tuple[str, ...]]]] = {
    "sft": (lambda folder: (folder / "checkpoint-1/optimizer.pt").unlink(), ("sft",)),
    "dpo": (lambda folder: flip(folder / "checkpoint-1" / WEIGHTS), ("dpo", "dpo-goes-on")),
    "full-checkpoint": (spoil_full, ("full-checkpoint", "trainer-state")),
    "lora": (lambda folder: flip(folder / WEIGHTS), ("lora",)),
    "dora": (lambda folder: lose(folder / WEIGHTS, "magnitude"), ("dora",)),
    "rslora": (lambda folder: edit_json(folder / "adapter_config.json", use_rslora=False), ("rslora",)),
    "modules-to-save": (lambda folder: lose(folder / WEIGHTS, "norm"), ("modules-to-save",)),
    "embeddings-tied": (lambda folder: flip(folder / WEIGHTS, "embed"), ("embeddings-tied",)),
    "embeddings-untied": (lambda folder: flip(folder / WEIGHTS, "lm_head"), ("embeddings-untied",)),
    "embeddings-resized": (lose_embedding, ("embeddings-resized",)),
    "several-adapters": (lambda folder: flip(folder / "second" / WEIGHTS), ("several-adapters",)),
    "layer-replication": (lambda folder: flip(folder / WEIGHTS), ("layer-replication",)),
    "experts-all-linear": (lambda folder: flip(folder / WEIGHTS), ("experts-all-linear",)),
    "full": (lambda folder: flip(folder / "model.safetensors", "q_proj"), ("full",)),
    "merged": (other_rope, ("merged",)),
    "merged-bf16": (lambda folder: edit_json(folder / "config.json", dtype="float32"), ("merged-bf16",)),
    "sharded": (lambda folder: min(folder.glob("model-*.safetensors")).unlink(), ("sharded",)),
    "generation-config": (
        lambda folder: edit_json(folder / "generation_config.json", temperature=0.1),
        ("generation-config",),
    ),
    "tokenizer": (write_template, ("tokenizer",)),
    "tokenizer-extra": (lambda folder: drop_token(folder, "<extra_a>"), ("tokenizer-extra",)),
    "tokenizer-generic": (
        lambda folder: edit_json(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer"),
        ("tokenizer-generic",),
    ),
}


def test_a_cell_reads_what_it_wrote_and_sees_every_planted_fault(tmp_path: Path) -> None:
    results, cache = tmp_path / "results", tmp_path / "cache"
    first = exchange(results, cache)
    not_same = {name: pair.get("reason") for name, pair in first.items() if pair["outcome"] != "same"}
    assert not_same.keys() <= {"experts-by-name"}, not_same  # peft gives fused experts no such adapter
    folder = results / FOLDER / f"{CELL}@{MODEL}"
    kinds = {path.name for path in (folder / "artifacts" / MODEL).iterdir()}
    assert kinds - PLANTED.keys() <= {"experts-by-name"}, "a kind of artifact without a planted fault"
    for kind, (plant, _) in PLANTED.items():
        plant(folder / "artifacts" / MODEL / kind)
    edit_json(folder / "artifacts" / MODEL / "sft/adapter_config.json", r=8)
    (folder / READS).unlink()  # otherwise nothing is read again

    second = exchange(results, cache)

    unseen = {
        name: second[name]["outcome"]
        for _, names in PLANTED.values()
        for name in (*names, "autopeft")
        if second[name]["outcome"] not in ("differs", "fails")
    }
    assert not unseen
    assert "optimizer" in second["sft"]["reason"] or "learning rate" in second["sft"]["reason"]
