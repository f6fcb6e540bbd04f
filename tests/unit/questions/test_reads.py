"""What a folder has, where an adapter's base model is, and what is asked of the cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.errors import UninstallableError, UsageError
from tunematrix.base.store import Store
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import reads
from tunematrix.run import exchange as cells
from tunematrix.run.exchange import Member


def write(folder: Path, **files: Any) -> Path:
    """Files by name, ``__`` for a dot: a dictionary as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(json.dumps(content))
    return folder


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    return write(tmp_path / "base", config__json={"transformers_version": "5.0.0"}, model__safetensors="")


def kinds(folder: reads.Folder) -> dict[str, str]:
    return {name: entry["kind"] for name, entry in folder.parts.items()}


def test_an_adapter_with_its_tokenizer_and_checkpoints(tmp_path: Path, base: Path) -> None:
    config = {"base_model_name_or_path": str(base), "peft_version": "0.18.1"}
    run = write(tmp_path / "run", adapter_config__json=config, tokenizer__json={}, training_args__bin="")
    for step in (9, 10):
        write(
            run / f"checkpoint-{step}", adapter_config__json=config, trainer_state__json={}, optimizer__pt=""
        )
    found = reads.inspect(run)
    assert kinds(found) == {"adapter": "adapter", "tokenizer": "tokenizer", "checkpoint-10": "checkpoint"}
    assert found.parts["checkpoint-10"] == {
        "kind": "checkpoint",
        "folder": str(run / "checkpoint-10"),
        "base": str(base),
    }
    assert found.versions == {"peft": "0.18.1"}
    assert found.pickles == ("checkpoint-10/optimizer.pt",)


def test_a_model_is_its_own_base(base: Path) -> None:
    found = reads.inspect(base)
    assert kinds(found) == {"model": "model"}
    assert found.versions == {"transformers": "5.0.0"}


def test_a_checkpoint_itself(base: Path) -> None:
    assert kinds(reads.inspect(write(base, trainer_state__json={}))) == {
        "model": "model",
        "checkpoint": "checkpoint",
    }


def test_a_base_beside_the_adapter_or_named(tmp_path: Path, base: Path) -> None:
    adapter = write(tmp_path / "adapter", adapter_config__json={"base_model_name_or_path": "../base"})
    assert reads.inspect(adapter).parts["adapter"]["base"] == str(base)
    gone = write(tmp_path / "gone", adapter_config__json={"base_model_name_or_path": "/nowhere"})
    assert reads.inspect(gone, str(base)).parts["adapter"]["base"] == str(base)


def test_a_base_of_the_embedded_hub(tmp_path: Path) -> None:
    config = {"base_model_name_or_path": "tunematrix/tiny-llama"}
    found = reads.inspect(write(tmp_path / "adapter", adapter_config__json=config))
    assert (Path(found.parts["adapter"]["base"]) / "config.json").is_file()
    assert not found.hub


def test_a_base_that_has_to_be_downloaded_needs_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"base_model_name_or_path": "org/model"}
    folder = write(tmp_path / "adapter", adapter_config__json=config)
    with pytest.raises(
        UsageError, match=r"its base model org/model: no folder .* --base, or set TUNEMATRIX_HUB"
    ):
        reads.inspect(folder)
    monkeypatch.setenv("TUNEMATRIX_HUB", "huggingface")
    assert reads.inspect(folder).hub == "org/model"


@pytest.mark.parametrize(
    ("config", "base", "message"),
    [
        ({}, "", r"its base model \(none named\)"),
        ({"base_model_name_or_path": "a\0b"}, "", "its base model"),
        ({"base_model_name_or_path": "x"}, "/nowhere", "--base /nowhere: no folder with a config.json"),
        ([], "", "must be a JSON object"),
    ],
)
def test_an_adapter_without_a_base(tmp_path: Path, config: object, base: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        reads.inspect(write(tmp_path / "adapter", adapter_config__json=config), base)


def test_folders_with_nothing_to_read(tmp_path: Path, base: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        reads.inspect(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"nothing that a stack loads: none of adapter_config\.json"):
        reads.inspect(write(tmp_path / "empty", config__json={}))
    with pytest.raises(UsageError, match=rf"name one of its folders, such as {base}"):
        reads.inspect(tmp_path)


def test_a_broken_configuration(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(UsageError, match=r"adapter_config\.json"):
        reads.inspect(tmp_path)


def test_each_cell_is_asked_once_and_no_failure_hides_another(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_parts(
        member: Member, parts: Mapping[str, Any], seconds: float, hub: Mapping[str, str]
    ) -> tuple[list[Mapping[str, Any]], str]:
        assert (seconds, dict(hub)) == (5.0, {})
        if member.name == "b":
            raise UninstallableError("no wheel")
        found: list[Mapping[str, Any]] = [{"part": part, "outcome": "loads"} for part in parts]
        return (found, "") if member.name == "a" else ([], "its process ended early")

    monkeypatch.setattr(cells, "read_parts", read_parts)
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("transformers==5.0.0\n")
    matrix = Matrix(folder=tmp_path, cells=tuple(Cell(name=name, why="") for name in "abc"))
    members = [
        Member(cell=cell, matrix=matrix, results=tmp_path / "results", venv=tmp_path) for cell in matrix.cells
    ]
    [answer] = reads.read(
        [reads.inspect(base)], members, Store(tmp_path / "results"), lambda _: None, jobs=2, seconds=5.0
    )
    assert [(each.cell, sorted(each.results), each.reason) for each in answer.readings] == [
        ("a", ["model"], ""),
        ("b", [], "no wheel"),
        ("c", [], "its process ended early"),
    ]
