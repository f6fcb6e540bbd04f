"""The folders that the runs of a team's scripts kept, and the base model of the adapters in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.questions.test_reads import write
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import kept
from tunematrix.questions.candidate import Baseline, Candidate, candidate_store
from tunematrix.run import artifacts, exchange
from tunematrix.run.exchange import Member
from tunematrix.run.options import Options

RECORD = Record(cell="a", outcome="passed", key="k", started="2026-01-01T00:00:00Z")
ADAPTER = {"base_model_name_or_path": "/gone/models/tiny-llama"}
WORKLOAD = """
[[stage]]
name = "train"
run = "python train.py"
"""


def run(tmp_path: Path, model: str) -> Store:
    """The store after a run whose script left an adapter, and its checkpoint, in pytest's folder."""
    record = dataclasses.replace(RECORD, model={"name": model})
    store = Store(tmp_path / "results", model)
    store.save(record)
    test = tmp_path / "basetemp/test_scripts0"
    write(test / "kept/sft", adapter_config__json=ADAPTER, adapter_model__safetensors="")
    write(test / "kept/sft/checkpoint-1", adapter_config__json=ADAPTER, trainer_state__json={})
    write(test / "kept/notes", readme__json={})
    write(test / "models/own", config__json={}, model__safetensors="")
    artifacts.keep(tmp_path / "basetemp", artifacts.folder_of(store, "a"), record)
    return store


def test_an_adapter_stands_on_the_model_of_the_run(tmp_path: Path) -> None:
    [found] = kept.of_cell(run(tmp_path, "tiny-llama"), "a")
    assert found.path.name == "sft"
    assert list(found.parts) == ["adapter", "checkpoint-1"]
    assert all((Path(each["base"]) / "config.json").is_file() for each in found.parts.values())


def test_a_model_that_the_cell_made_is_kept_too(tmp_path: Path) -> None:
    store = run(tmp_path, "tiny:org/name")
    [found] = kept.of_cell(store, "a")
    own = artifacts.folder_of(store, "a")
    assert {each["base"] for each in found.parts.values()} == {str((own / "model").resolve())}
    assert not (artifacts.folder_of(run(tmp_path / "other", "tiny-llama"), "a") / "model").exists()


def test_cells_that_kept_nothing(tmp_path: Path) -> None:
    store = run(tmp_path, "tiny-llama")
    assert kept.of_cells(store, [Cell(name="b", why="").name]) == []
    assert [each.path.name for each in kept.of_cells(store, ["b", "a"])] == ["sft"]


@pytest.mark.parametrize(("line", "keeps"), [("", False), ('keep = ["{out}/sft"]', True)])
def test_a_run_keeps_what_a_stage_asks_for(tmp_path: Path, line: str, *, keeps: bool) -> None:
    (tmp_path / "workload.toml").write_text(f"{WORKLOAD}{line}\n")
    options = Options(workload=tmp_path / "workload.toml")
    assert options.keeps == keeps
    assert dataclasses.replace(options, keep_artifacts=True).keeps


@pytest.fixture(name="stacks")
def _stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Baseline, Candidate, Store]:
    """A baseline ``a`` and a candidate ``b``; ``b`` reads no adapter of ``a``, and ``a`` reads no ``b``'s."""
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("transformers==5.0.0\n")
    cells = tuple(Cell(name=name, why="") for name in "ab")
    matrix = Matrix(folder=tmp_path, cells=cells)
    store = Store(tmp_path / "results", "tiny-llama")
    base = Baseline(cell=cells[0], matrix=matrix, store=store, packages={}, direct=())
    candidate = Candidate(cell=cells[1], matrix=matrix, requests=(), packages={}, moved={})

    def read_parts(
        member: Member, parts: Mapping[str, Mapping[str, str]], *_: object
    ) -> tuple[list[Mapping[str, object]], str]:
        fails = {"outcome": "fails", "error": {"type": "E", "message": "no"}}
        return [
            {"part": name, **({"outcome": "loads"} if f"/{member.name}/" in entry["folder"] else fails)}
            for name, entry in parts.items()
        ], ""

    monkeypatch.setattr(exchange, "read_parts", read_parts)
    return base, candidate, store


def test_each_stack_reads_what_the_scripts_kept_in_the_other(
    stacks: tuple[Baseline, Candidate, Store],
) -> None:
    base, candidate, store = stacks
    told: list[str] = []
    assert kept.swap(base, candidate, store, RECORD, told.append) is None
    save(store, "a", "sft")
    save(candidate_store(store), "b", "sft")

    found = kept.swap(base, candidate, store, RECORD, told.append)

    assert found is not None
    assert [(each.id, each.severity) for each in found.findings] == [
        ("kept-sft-model-fails", "broken"),
        ("kept-sft-model-rollback", "info"),
    ]
    assert found.rollback == {"same": [], "differs": [], "fails": ["sft/model"], "unavailable": []}
    assert (found.absent, found.untested) == ({}, ())


def save(store: Store, cell: str, name: str) -> None:
    """What a run of ``cell`` leaves that kept a model in the folder ``name``."""
    record = dataclasses.replace(RECORD, cell=cell, model={"name": "tiny-llama"})
    store.save(record)
    own = artifacts.folder_of(store, cell)
    write(own / "kept" / name, config__json={"transformers_version": "4.0.0"}, model__safetensors="")
    (own / artifacts.KEY_FILE).write_text(record.key)
