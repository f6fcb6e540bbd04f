"""Running a cell: when its record is reused, and which variables its process inherits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NoReturn

import pytest

from tunematrix.base.errors import InfrastructureError, UninstallableError, UnresolvableError, UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.cli import plan
from tunematrix.locks.table import Cell, Matrix
from tunematrix.run import cell as cells
from tunematrix.run import environment, keys, models
from tunematrix.run.options import Options

RECORD = Record(
    cell="a",
    outcome="passed",
    lock={"sha256": "0" * 64},
    environment={"python": "3.11.7", "platform": "linux-x86_64"},
    model={"name": "tiny-gpt2", "revision": "abc", "hub": "embedded"},
)


@pytest.fixture(name="project")
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite/test_real_e2e.py").write_text("one")
    monkeypatch.setenv("TUNEMATRIX_SUITE", str(tmp_path / "suite"))
    return tmp_path


def test_key_changes_with_everything_a_result_depends_on(project: Path) -> None:
    first = keys.key(RECORD, Options())
    changed = {
        "lock": dataclasses.replace(RECORD, lock={"sha256": "1" * 64}),
        "python": dataclasses.replace(RECORD, environment={"python": "3.12.1", "platform": "linux-x86_64"}),
        "platform": dataclasses.replace(RECORD, environment={"python": "3.11.7", "platform": "darwin-arm64"}),
        "revision": dataclasses.replace(RECORD, model={**RECORD.model, "revision": "def"}),
    }

    assert keys.key(RECORD, Options(rerun=True, keep=True)) == first
    assert len({first, *(keys.key(record, Options()) for record in changed.values())}) == 5
    (project / "suite/test_real_e2e.py").write_text("two")
    assert keys.key(RECORD, Options()) != first


def test_key_includes_the_workload(project: Path) -> None:
    (project / "workload").mkdir()
    (project / "workload/finetune.yaml").write_text("training: {seed: 1}")
    options = Options(workload=project / "workload")
    first = keys.key(RECORD, options)
    (project / "workload/finetune.yaml").write_text("training: {seed: 2}")

    assert keys.key(RECORD, options) != first


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("passed", True),
        ("failed", True),
        ("crashed", False),
        ("timed_out", False),
        ("unresolvable", False),
        ("skipped", False),
    ],
)
def test_only_passed_and_failed_records_are_reused(outcome: str, expected: bool) -> None:
    record = dataclasses.replace(RECORD, outcome=outcome, key="k")

    assert keys.is_reusable(record, "k") == expected
    assert not keys.is_reusable(record, "other")


def test_variables_that_can_change_a_result_are_not_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaks = (
        "HF_TOKEN",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_CACHE",
        "PYTHONPATH",
        "LD_PRELOAD",
        "HTTPS_PROXY",
        "HF_HOME",
    )
    for name in leaks:
        monkeypatch.setenv(name, "leak")

    variables = environment.variables(
        tmp_path / "venv", tmp_path, {"HF_ENDPOINT": "http://x"}, real_hub=False
    )

    assert "leak" not in variables.values()
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["HF_HOME"].startswith(str(tmp_path))
    assert [path.name for path in Path(variables["PYTHONPATH"]).iterdir()] == ["tunematrix"]


def test_only_a_real_hub_gets_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")

    assert environment.variables(tmp_path, tmp_path, {}, real_hub=True)["HF_TOKEN"] == "hf_x"
    assert "HF_TOKEN" not in environment.variables(tmp_path, tmp_path, {}, real_hub=False)


def test_choose_resolves_a_model_by_name_and_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    assert models.choose("tiny-gpt2").repo == "tunematrix/tiny-gpt2"
    assert models.choose("distilgpt2") == models.Choice(
        name="distilgpt2", hub="huggingface", repo="distilgpt2"
    )
    with pytest.raises(UsageError, match="did you mean 'tiny-gpt2'"):
        models.choose("tiny-gtp2")
    monkeypatch.setenv("TUNEMATRIX_HUB", "huggingface")
    assert models.choose("smollm2-135m").repo == "HuggingFaceTB/SmolLM2-135M-Instruct"
    with pytest.raises(UsageError, match="exists on the embedded Hub only"):
        models.choose("tiny-gpt2")
    monkeypatch.setenv("TUNEMATRIX_HUB", "ftp://x")
    with pytest.raises(UsageError, match="must be embedded, huggingface, or a URL"):
        models.choose("tiny-gpt2")


def test_cores_and_memory_limit_how_many_cells_run_at_once() -> None:
    assert plan.parallel_cells(8, 64 * 2**30) == 8
    assert plan.parallel_cells(8, 10 * 2**30) == 2
    assert plan.parallel_cells(1, 64 * 2**30) == 1
    assert plan.parallel_cells(8, 2**30) == 1


def test_only_sessions_with_cells_run_in_parallel() -> None:
    assert plan.parallel_sessions(["nox", "-s", "e2e"]) is not None
    assert plan.parallel_sessions(["nox", "-t", "smoke"]) is not None
    assert plan.parallel_sessions(["nox", "-s", "tests"]) is None
    assert plan.parallel_sessions(["nox", "-s", "tests", "--", "-k", "e2e"]) is None


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(InfrastructureError("away"), 3), (UninstallableError("no wheel"), 1), (UnresolvableError("no"), 1)],
)
def test_only_infrastructure_errors_are_retried(
    project: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, attempts: int
) -> None:
    calls = []

    def fail(*_: object) -> NoReturn:
        calls.append(1)
        raise error

    monkeypatch.setattr(cells, "_run", fail)
    matrix = Matrix(folder=project, cells=(Cell(name="old"),))
    store = Store(project / "results")

    record = cells.run(matrix, matrix.cells[0], Options(model="tiny-gpt2"), store)

    assert (len(calls), record.attempts) == (attempts, attempts)
    assert store.load("old") == record
