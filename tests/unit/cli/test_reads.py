"""``reads``: which cells it asks, and its bad input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tunematrix.base.errors import UsageError
from tunematrix.cli import main as cli
from tunematrix.questions import reads
from tunematrix.run.exchange import Member
from tunematrix.verdict.reads import Reading

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

    def read(folder: reads.Folder, members: Sequence[Member], *_: Any, **__: Any) -> list[Reading]:
        fails = {"outcome": "fails", "error": {"type": "E", "message": "no"}}
        result: dict[str, dict[str, Any]] = {name: {"outcome": "loads"} for name in folder.parts}
        broken = dict.fromkeys(folder.parts, fails)
        return [
            Reading(cell=each.name, packages=each.packages, results=broken if "e" in each.name else result)
            for each in members
        ]

    monkeypatch.setattr(reads, "read", read)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def answer(*arguments: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(cli.cli, ["reads", *arguments, "--json"], standalone_mode=False)
    assert result.exception is None
    return result.return_value, json.loads(result.output)


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
    assert result.output.splitlines()[0] == "loads in 1 of 1 stack"
    assert result.output.splitlines()[-1] == "a  ok"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere"], "nowhere: no such folder"), (["{model}", "--cells", "latests"], "did you mean 'latest'")],
)
def test_bad_input(model: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli.cli, ["reads", *(text.format(model=model) for text in arguments)])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
