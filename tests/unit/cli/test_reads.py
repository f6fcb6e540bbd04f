"""``reads``: which cells it asks, and its bad input."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.cli import main as cli
from tunematrix.questions import exchange
from tunematrix.run import artifacts
from tunematrix.run import exchange as cells
from tunematrix.run.exchange import Member

MATRIX = """
schema = 1
baseline = "b"
[[cell]]
name = "a"
pins = {transformers = "4.46.3"}
[[cell]]
name = "b"
pins = {transformers = "4.57.6"}
[[cell]]
name = "skew"
tags = ["skew"]
pins = {transformers = "5.0.0"}
[[cell]]
name = "latest"
rule = "latest"
pins = {transformers = "5.23.0"}
[[cell]]
name = "latest-floor"
rule = "latest-floor"
pins = {transformers = "4.56.2"}
"""


@pytest.fixture(name="model")
def _model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model; reading it is replaced: it fails in a cell whose name has an ``e``."""
    constraints = tmp_path / "constraints"
    constraints.mkdir()
    (constraints / "matrix.toml").write_text(MATRIX)
    for name in ("a", "b", "skew", "latest", "latest-floor"):
        (constraints / f"{name}.txt").write_text("transformers==5.0.0\n")
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(constraints))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))

    def read_parts(
        member: Member, parts: Sequence[str], *_: Any, **__: Any
    ) -> tuple[list[dict[str, Any]], str]:
        fails = {"outcome": "fails", "error": {"type": "E", "message": "no"}}
        result = fails if "e" in member.name else {"outcome": "loads"}
        return [{"part": part, **result} for part in parts], ""

    monkeypatch.setattr(cells, "read_parts", read_parts)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def answer(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(cli.cli, ["reads", *arguments, "--json"], standalone_mode=False)
    assert result.exception is None
    return result.return_value, json.loads(result.stdout)


def test_the_diagonal_and_latest_by_default(model: Path) -> None:
    code, content = answer(str(model))
    assert [cell["cell"] for cell in content["cells"]] == ["a", "b", "latest"]
    assert (code, content["answer"]) == (1, "loads in 2 of 3 stacks; fails in latest")


@pytest.mark.parametrize("cells", [["--cells", "skew, b"], ["--cells", "skew", "--cells", "b"]])
def test_the_cells_that_are_named(model: Path, cells: list[str]) -> None:
    assert [cell["cell"] for cell in answer(str(model), *cells)[1]["cells"]] == ["skew", "b"]


def test_all_load(model: Path) -> None:
    assert answer(str(model), "--cells", "a,b")[0] == 0


def test_the_screen(model: Path) -> None:
    result = CliRunner().invoke(cli.cli, ["reads", str(model), "--cells", "a"], standalone_mode=False)
    assert result.stdout.splitlines()[0] == "loads in 1 of 1 stack"
    assert result.stdout.splitlines()[-1] == "a  ok"


def keep(results: Path, cell: str, *folders: str, model: str = "tiny-llama", key: str = "k") -> Path:
    """What a run of ``cell`` leaves that kept a model in each of ``folders``; the folder of them."""
    store = Store(results, model)
    record = Record(
        cell=cell, outcome="passed", key=key, model={"name": model}, started="2026-01-01T00:00:00Z"
    )
    store.save(record)
    own = artifacts.folder_of(store, cell)
    for name in folders:
        (own / "kept" / name).mkdir(parents=True)
        for file in ("config.json", "model.safetensors"):
            (own / "kept" / name / file).write_text("{}")
    own.mkdir(parents=True, exist_ok=True)
    (own / artifacts.KEY_FILE).write_text("k")
    return own / "kept"


def test_without_a_folder_what_the_last_run_kept(model: Path) -> None:
    results = model.parent / "results"
    older = keep(results, "a", "old")
    os.utime(older.parent / artifacts.KEY_FILE, (0, 0))
    kept = keep(results, "b", "sft", "dpo/merged")
    code, content = answer("--cells", "a,b")
    assert code == 0
    assert [each["folder"] for each in content["folders"]] == [
        str(kept / name) for name in ("dpo/merged", "sft")
    ]
    assert [each["answer"] for each in content["folders"]] == ["loads in all of 2 stacks"] * 2
    result = CliRunner().invoke(cli.cli, ["reads", "--cells", "latest"], standalone_mode=False)
    assert result.return_value == 1
    assert result.stdout.splitlines()[:2] == [
        f"{kept / 'dpo/merged'}:",
        "loads in none of 1 stack; fails in latest",
    ]


def test_what_another_run_kept_is_not_that_of_the_record(model: Path) -> None:
    keep(model.parent / "results", "a", "sft", key="another")
    result = CliRunner().invoke(cli.cli, ["reads"])
    assert isinstance(result.exception, UsageError)
    assert "no run has kept anything to read; name a folder, or let a stage of workload.toml keep" in str(
        result.exception
    )


@pytest.mark.parametrize(("cell", "expected"), [("a", 0), ("latest", 1)])
def test_an_exchange_reads_what_each_cell_kept(
    model: Path, monkeypatch: pytest.MonkeyPatch, cell: str, expected: int
) -> None:
    nothing = exchange.Exchange(sides=(), pairs=(), absent={})
    monkeypatch.setattr(exchange, "run", lambda *_, **__: nothing)
    for name in ("a", "b", "latest"):
        keep(model.parent / "results", name, f"sft-{name}")
    result = CliRunner().invoke(cli.cli, ["exchange", "b", cell, "--json"], standalone_mode=False)
    folders = [Path(each["folder"]).name for each in json.loads(result.stdout)["kept"]]
    assert (result.return_value, folders) == (expected, ["sft-b", f"sft-{cell}"])
    result = CliRunner().invoke(cli.cli, ["exchange", "b", cell], standalone_mode=False)
    assert "loads in" in result.stdout


def test_several_folders(model: Path) -> None:
    code, content = answer(str(model), str(model), "--cells", "a")
    assert (code, len(content["folders"])) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere"], "nowhere: no such folder"), (["{model}", "--cells", "latests"], "did you mean 'latest'")],
)
def test_bad_input(model: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli.cli, ["reads", *(text.format(model=model) for text in arguments)])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
