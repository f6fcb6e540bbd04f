"""The exchange in a real cell: it reads what it wrote, and sees a fault in each kind of artifact.

So does a cell that reads a frozen set, of whose large facts only sums are kept; and ``reads`` in two cells.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tunematrix.locks import table
from tunematrix.run import frozen
from tunematrix.run.exchange import FOLDER, READS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
CELL: Final = "latest"
OLDER: Final = "trl-0.26"
FROZEN: Final = "trl-1.12 (frozen)"  # the newest set, which ``latest`` reads as it was
MODEL: Final = "tiny-llama"
SIGN: Final = 0x80  # the highest bit of the last byte of a float32, little-endian


def run(results: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of a command with these results, and its JSON."""
    command = [sys.executable, "-m", "tunematrix", *arguments, "--json"]
    variables = {**os.environ, "TUNEMATRIX_RESULTS": str(results)}
    variables["TUNEMATRIX_CACHE"] = str(results.parent / "cache")
    process = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert process.returncode in (0, 1), process.stderr
    return process.returncode, json.loads(process.stdout)


def exchange(results: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The pairs of which the cell is the reader, by writer and artifact."""
    _, content = run(results, "exchange", CELL, "--model", MODEL)
    assert json.loads((results / MODEL / "exchange.json").read_text())["pairs"] == content["pairs"]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for pair in content["pairs"]:
        found.setdefault(pair["writer"], {})[pair["artifact"]] = pair
    return found


@pytest.fixture(name="results", scope="module")
def _results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a first exchange."""
    results = tmp_path_factory.mktemp("exchange") / "results"
    exchange(results)
    return results


def written(results: Path) -> Path:
    return results / FOLDER / f"{CELL}@{MODEL}" / "artifacts" / MODEL


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


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def reads(results: Path, folder: Path, *cells: str) -> tuple[int, dict[str, dict[str, tuple[str, str]]]]:
    """The exit code, and by cell and part the outcome and its reason; nothing in the folder changes."""
    before = tree(folder)
    code, content = run(results, "reads", str(folder), "--cells", ",".join(cells))
    assert tree(folder) == before
    parts = {
        cell["cell"]: {part["part"]: (part["outcome"], part["reason"]) for part in cell["parts"]}
        for cell in content["cells"]
    }
    return code, parts


def test_a_run_in_its_own_and_an_older_stack(results: Path) -> None:
    code, parts = reads(results, written(results) / "sft", CELL, OLDER)
    assert code == 1
    assert parts[CELL] == dict.fromkeys(("adapter", "tokenizer", "checkpoint-2"), ("loads", ""))
    assert parts[OLDER]["adapter"] == parts[OLDER]["checkpoint-2"] == ("loads", "")
    assert parts[OLDER]["tokenizer"] == ("fails", "AttributeError: 'list' object has no attribute 'keys'")


def test_a_model_that_an_older_stack_reads_otherwise(results: Path) -> None:
    code, parts = reads(results, written(results) / "full", CELL, OLDER)
    assert code == 1
    assert parts[CELL]["model"] == ("loads", "")
    assert parts[OLDER]["model"][0] == "differs"


def test_a_checkpoint_of_full_fine_tuning(results: Path) -> None:
    code, parts = reads(results, written(results) / "full-checkpoint/checkpoint-1", CELL)
    assert (code, parts[CELL]) == (0, dict.fromkeys(("model", "checkpoint"), ("loads", "")))


def test_what_is_not_restored_and_what_cannot_be_loaded(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    shutil.copytree(written(results) / "sft", folder)
    lose(folder / "checkpoint-2" / WEIGHTS, "lora_B")
    (folder / "tokenizer.json").write_text("{")
    code, parts = reads(results, folder, CELL)
    assert code == 1
    assert parts[CELL]["adapter"] == ("loads", "")
    assert parts[CELL]["tokenizer"][0] == "fails"
    assert parts[CELL]["checkpoint-2"][0] == "differs"
    assert "weights not as in the files" in parts[CELL]["checkpoint-2"][1]


def test_a_schedule_that_does_not_go_on(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-1"
    shutil.copytree(written(results) / "full-checkpoint/checkpoint-1", folder)
    (folder / "optimizer.pt").unlink()  # then Trainer restores no schedule either, and says nothing
    code, parts = reads(results, folder, CELL)
    assert code == 1
    assert parts[CELL]["checkpoint"] == ("differs", "steps of the schedule not as in the files: 1 -> 0")


class Attack:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def test_no_pickle_runs_code(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    shutil.copytree(written(results) / "sft", folder)
    for name in ("adapter_model.bin", "checkpoint-2/optimizer.pt", "checkpoint-2/rng_state.pth"):
        (folder / name).write_bytes(pickle.dumps(Attack(tmp_path / "made")))
    (folder / WEIGHTS).unlink()
    code, parts = reads(results, folder, CELL)
    assert code == 1
    assert parts[CELL]["adapter"][0] == parts[CELL]["checkpoint-2"][0] == "fails"
    assert not (tmp_path / "made").exists()


def test_a_cell_reads_what_it_wrote_and_a_frozen_set_and_sees_every_planted_fault(results: Path) -> None:
    first = exchange(results)
    sets = {each.name: each for each in frozen.load(table.load(ROOT / "constraints"), results)}
    assert {CELL, *sets} == first.keys()
    own = {name: pair.get("reason") for name, pair in first[CELL].items() if pair["outcome"] != "same"}
    assert own.keys() <= {"experts-by-name"}, own  # peft gives fused experts no such adapter
    kept = {name: pair.get("reason") for name, pair in first[FROZEN].items() if pair["outcome"] != "same"}
    assert all(name.endswith("-goes-on") for name in kept.keys() - {"experts-by-name"}), kept
    for folder in (written(results), sets[FROZEN].artifacts / MODEL):
        kinds = {path.name for path in folder.iterdir()}
        assert kinds - PLANTED.keys() <= {"experts-by-name"}, "a kind of artifact without a planted fault"
        for kind, (plant, _) in PLANTED.items():
            plant(folder / kind)
        edit_json(folder / "sft/adapter_config.json", r=8)
    (results / FOLDER / f"{CELL}@{MODEL}" / READS).unlink()  # otherwise nothing is read again

    second = exchange(results)

    for writer in (CELL, FROZEN):
        unseen = {
            name: second[writer][name]["outcome"]
            for _, names in PLANTED.values()
            for name in (*names, "autopeft")
            if second[writer][name]["outcome"] not in ("differs", "fails")
        }
        assert not unseen, writer
        reason = second[writer]["sft"]["reason"]
        assert "optimizer" in reason or "learning rate" in reason
