"""The folders of file formats: the same bytes on every machine, each with the format that its name says."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tunematrix.harness.measures import formats as measures
from tunematrix.hub import models
from tunematrix.hub.models import files, formats

# A change here changes every fingerprint: increase the version of ``models.FORMATS``.
REVISION = "444af7c8547318d7256c0e7a64907c6630405b598716eed8704219e78bb9ae1e"


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.prepare(models.FORMATS, tmp_path_factory.mktemp("cache")) / models.FORMATS.repo


def _read(folder: Path, name: str, file: str) -> Any:
    return json.loads((folder / name / file).read_text(encoding="utf-8"))


def test_the_folders_have_the_same_bytes_on_every_machine(folder: Path) -> None:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())

    assert digest.hexdigest() == REVISION


def test_the_cell_measures_each_folder_and_compares_it_with_one_that_exists(folder: Path) -> None:
    assert set(measures.FEATURES) == {path.name for path in folder.iterdir()} == set(formats.FORMATS)
    assert set(measures.FEATURES.values()) <= {"", *measures.FEATURES}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("written_by_4_44", str), ("merges_pairs", list), ("written_by_4_57", list), ("written_by_5", list)],
)
def test_merges_are_text_until_4_44_and_pairs_from_then_on(folder: Path, name: str, kind: type) -> None:
    merges = _read(folder, name, "tokenizer.json")["model"]["merges"]

    assert {type(merge) for merge in merges} == {kind}


def test_pairs_and_text_are_the_same_merges(folder: Path) -> None:
    old, new = (_read(folder, name, "tokenizer.json") for name in ("written_by_4_44", "merges_pairs"))

    assert [merge.split(" ") for merge in old["model"]["merges"]] == new["model"]["merges"]
    assert {**old, "model": None} == {**new, "model": None}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("torch_dtype", {"torch_dtype"}),
        ("dtype", {"dtype"}),
        ("dtype_twice", {"torch_dtype", "dtype"}),
        ("rope_llama3", {"torch_dtype", "rope_scaling", "rope_theta"}),
        ("rope_parameters", {"dtype", "rope_parameters"}),
    ],
)
def test_configs_have_the_keys_of_their_release(folder: Path, name: str, keys: set[str]) -> None:
    config = {key: value for key, value in _read(folder, name, "config.json").items() if value is not None}
    plain_rope = {"rope_theta"} if "rope" not in name else set()

    assert {key for key in config if "rope" in key or "dtype" in key} - plain_rope == keys


def test_old_and_new_rope_parameters_say_the_same(folder: Path) -> None:
    old, new = (_read(folder, name, "config.json") for name in ("rope_llama3", "rope_parameters"))

    assert new["rope_parameters"] == {**old["rope_scaling"], "rope_theta": old["rope_theta"]}


def test_a_chat_template_is_in_one_place(folder: Path) -> None:
    for path in folder.glob("*/tokenizer_config.json"):
        inside = "chat_template" in json.loads(path.read_text(encoding="utf-8"))
        assert not (inside and (path.parent / "chat_template.jinja").exists()), path

    assert (folder / "chat_template_file/chat_template.jinja").read_text(encoding="utf-8")
    assert "chat_template" in _read(folder, "written_by_4_44", "tokenizer_config.json")


def test_the_newest_release_writes_fewer_files(folder: Path) -> None:
    assert {path.name for path in (folder / "written_by_5").iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert (folder / "written_by_4_44/special_tokens_map.json").is_file()


def test_special_token_ids_are_their_places_in_the_vocabulary(folder: Path) -> None:
    for path in folder.glob("*/tokenizer.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        vocab = content["model"]["vocab"]
        ids = vocab if isinstance(vocab, dict) else {piece: index for index, (piece, _) in enumerate(vocab)}
        assert all(ids[token["content"]] == token["id"] for token in content["added_tokens"]), path


def test_shards_hold_what_the_index_says(folder: Path) -> None:
    index = _read(folder, "weights_sharded", "model.safetensors.index.json")

    for tensor, shard in index["weight_map"].items():
        assert tensor.encode() in (folder / "weights_sharded" / shard).read_bytes()
    assert index["weight_map"].keys() == formats.weights().keys() | {formats.HEAD}
    assert not (folder / "weights_sharded/model.safetensors").exists()


class _TorchUnpickler(pickle.Unpickler):
    """Reads the pickle of a ``torch.save`` with stand-ins for torch's globals."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): "float",
            ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: arguments,
        }
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        return pid


def test_torch_files_follow_the_format(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    files.write_torch(path, {"a": value, "b": np.zeros(2, np.float32)}, {"c": "a"})

    with zipfile.ZipFile(path) as archive:
        content = _TorchUnpickler(BytesIO(archive.read("pytorch_model/data.pkl"))).load()
        assert archive.read("pytorch_model/data/0") == value.tobytes()
        assert archive.read("pytorch_model/version") == b"3\n"
        offsets = [
            info.header_offset + files.ZIP_HEADER + len(info.filename) + len(info.extra)
            for info in archive.infolist()
        ]
    assert content["a"] == (("storage", "float", "0", "cpu", 6), 0, (2, 3), (3, 1), False, OrderedDict())
    assert content["b"][0] == ("storage", "float", "1", "cpu", 2)
    assert content["c"] == content["a"]
    assert all(offset % 64 == 0 for offset in offsets)
