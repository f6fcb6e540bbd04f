"""Running a cell: when its record is reused, and which variables its process inherits."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import requests

from tunematrix.base.errors import InfrastructureError, UninstallableError, UnresolvableError, UsageError
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Entry, Store
from tunematrix.cli import plan
from tunematrix.locks.table import Cell, Matrix
from tunematrix.report.rows import age
from tunematrix.run import artifacts, environment, keys, models
from tunematrix.run import cell as cells
from tunematrix.run import revision as revisions
from tunematrix.run.options import Options
from tunematrix.shared.stages import DEPTHS

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


def test_key_includes_the_depth_and_the_models_that_are_measured() -> None:
    assert len({keys.key(RECORD, Options(depth=depth)) for depth in DEPTHS}) == len(DEPTHS)
    assert keys.PACKAGE / "hub/models" in keys.source_folders()


def test_a_record_says_its_depth_only_if_it_is_not_the_default() -> None:
    recorded = [cells._recorded_options(Options(depth=depth)) for depth in DEPTHS]
    assert recorded == [{"depth": "quick"}, {}, {"depth": "deep"}]
    assert cells._option_variables(Options(depth="quick"))["TUNEMATRIX_DEPTH"] == "quick"


def test_the_time_limit_of_stages_reaches_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEMATRIX_STAGE_SECONDS", "600")
    assert cells._option_variables(Options())["TUNEMATRIX_STAGE_SECONDS"] == "600.0"


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


def test_paths_of_a_cell_hold_in_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables = environment.variables(Path("venv"), Path("run"), {}, real_hub=False)
    for name in ("HOME", "HF_HOME", "VIRTUAL_ENV", "PYTHONPATH"):
        assert Path(variables[name]).is_relative_to(tmp_path), name


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
    assert plan.parallel_sessions(["nox", "-s", "e2e"], "ab", "") is not None
    assert plan.parallel_sessions(["nox", "-t", "smoke"], "ab", "") is not None
    assert plan.parallel_sessions(["nox", "-s", "tests"], "ab", "") is None
    assert plan.parallel_sessions(["nox", "-s", "tests", "--", "-k", "e2e"], "ab", "") is None
    assert plan.parallel_sessions(["nox", "-s", "e2e"], "ab", "a") is not None
    assert plan.parallel_sessions(["nox", "-s", "e2e(a)"], "ab", "a") is None, "nothing runs"


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (InfrastructureError("away"), 3),
        (OSError(28, "No space left on device"), 3),
        (UninstallableError("no wheel"), 1),
        (UnresolvableError("no"), 1),
    ],
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
    assert Store(store.root, "tiny-gpt2").entry("old") == Entry(interrupted=record)


def run_with(monkeypatch: pytest.MonkeyPatch, project: Path, result: Record, **options: Any) -> Store:
    """Run the cell ``a`` with a run that ends in ``result``; returns the store of its model."""
    monkeypatch.setattr(cells, "_run", lambda *_: result)
    matrix = Matrix(folder=project, cells=(Cell(name="a"),))
    store = Store(project / "results", options.get("model", "tiny-gpt2"))
    cells.run(matrix, matrix.cells[0], Options(**{"model": store.model, **options}), store)
    return store


@pytest.mark.parametrize("select", [None, "resume"])
def test_a_run_that_somebody_stops_leaves_a_record_beside_the_last_complete_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, select: str | None
) -> None:
    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    store = run_with(monkeypatch, project, RECORD)
    monkeypatch.setattr(cells, "_run", stop)
    matrix = Matrix(folder=project, cells=(Cell(name="a"),))
    with pytest.raises(KeyboardInterrupt):
        cells.run(matrix, matrix.cells[0], Options(model="tiny-gpt2", select=select), store)

    entry = store.entry("a")
    assert entry.record is not None
    assert entry.record.outcome == "passed"
    if select:
        assert entry.interrupted is None, "a part of the tests says nothing of the cell"
    else:
        assert entry.interrupted is not None
        assert entry.interrupted.interruption is not None
        assert entry.interrupted.interruption.message == cells.STOPPED
        assert entry.interrupted.started


def test_a_run_that_was_cut_off_does_not_replace_the_record(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = Failure(type="TimeoutError", message="the cell did not end in time; killed")
    probes = (Result(name="process", outcome="timed_out", error=error),)
    store = run_with(monkeypatch, project, RECORD)
    complete = store.load("a")
    run_with(monkeypatch, project, dataclasses.replace(RECORD, outcome="timed_out", probes=probes))

    assert complete is not None
    assert store.load("a") == complete
    interrupted = store.entry("a").interrupted
    assert interrupted is not None
    assert interrupted.interruption == error
    reused = run_with(monkeypatch, project, dataclasses.replace(complete, reused=True)).entry("a")
    assert reused.interrupted is None
    assert reused.record is not None
    assert (reused.record.started, reused.record.reused_at > "2026") == (complete.started, True)


def test_runs_stay_in_order_when_the_clock_is_set_back(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = Failure(type="TimeoutError", message="the cell did not end in time; killed")
    cut_off = dataclasses.replace(
        RECORD, outcome="timed_out", probes=(Result(name="process", outcome="timed_out", error=error),)
    )
    store = run_with(monkeypatch, project, RECORD)
    store.save(dataclasses.replace(RECORD, started="2999-12-31T23:59:59Z"))
    entry = run_with(monkeypatch, project, cut_off).entry("a")
    assert entry.interrupted is not None, "it would be taken for history"
    assert entry.interrupted.started == "3000-01-01T00:00:00Z"
    assert entry.interrupted.seconds >= 0

    run_with(monkeypatch, project, RECORD)
    complete = store.load("a")
    assert complete is not None
    assert complete.started == "3000-01-01T00:00:01Z"
    assert age(complete) == "0 min"


@pytest.mark.parametrize("started", ["tomorrow", "9999-12-31T23:59:59Z"])
def test_a_time_that_none_can_follow_is_no_obstacle(
    project: Path, monkeypatch: pytest.MonkeyPatch, started: str
) -> None:
    store = run_with(monkeypatch, project, RECORD)
    store.save(dataclasses.replace(RECORD, started=started))
    run_with(monkeypatch, project, RECORD)
    complete = store.load("a")

    assert complete is not None
    assert "2026" <= complete.started < "2999"


def test_a_run_with_another_model_leaves_the_record_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run_with(monkeypatch, project, RECORD)
    before = store.path("a").read_bytes()
    other = dataclasses.replace(RECORD, model={"name": "tiny-llama"})
    run_with(monkeypatch, project, other, model="tiny-llama")

    assert store.path("a").read_bytes() == before
    assert Store(store.root, "tiny-llama").load("a") is not None


def test_a_run_of_selected_tests_leaves_the_record_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run_with(monkeypatch, project, RECORD)
    before = store.path("a").read_bytes()
    run_with(monkeypatch, project, dataclasses.replace(RECORD, outcome="failed"), select="x")

    assert store.path("a").read_bytes() == before
    assert (store.cell_folder("a") / "partial.json").is_file()


def test_environments_without_nox_are_those_of_a_cell_not_of_a_model(tmp_path: Path) -> None:
    stores = [Store(tmp_path, name) for name in ("tiny-gpt2", "org/big")]

    assert {store.environment("a") for store in stores} == {tmp_path / ".venvs/a"}


@pytest.mark.parametrize(
    ("revision", "options", "expected"),
    [
        ("abc", {}, True),
        ("main", {}, False),
        ("abc", {"rerun": True}, False),
        ("abc", {"select": "x"}, False),
        ("abc", {"keep_artifacts": True}, False),
    ],
)
def test_a_record_is_reused_only_if_nothing_can_have_changed(
    tmp_path: Path, revision: str, options: dict[str, Any], expected: bool
) -> None:
    """A revision called ``main`` does not show whether the model has moved."""
    record = dataclasses.replace(RECORD, key="k", model={**RECORD.model, "revision": revision})
    store = Store(tmp_path, "tiny-gpt2")
    store.save(record)

    reused = cells._reusable_record(record, Options(**options), store)
    assert reused == (dataclasses.replace(record, reused=True) if expected else None)


def test_artifacts_belong_to_one_record(tmp_path: Path) -> None:
    store = Store(tmp_path, "tiny-gpt2")
    record = dataclasses.replace(RECORD, key="k")
    folder = artifacts.folder_of(store, "a")
    data = tmp_path / "basetemp/test_real_align_resume0/data"
    data.mkdir(parents=True)
    (data / "dpo.json").write_text("[]")
    assert not artifacts.belong_to(folder, record)

    artifacts.keep(tmp_path / "basetemp", folder, dataclasses.replace(record, symbols={"trl": ["X"]}))
    assert artifacts.belong_to(folder, record)
    assert not artifacts.belong_to(folder, dataclasses.replace(record, key="other"))
    assert (folder / "align/data/dpo.json").is_file()
    assert json.loads((folder / "surface.json").read_text())["symbols"] == {"trl": ["X"]}
    store.save(record)
    assert cells._reusable_record(record, Options(keep_artifacts=True), store) is not None


@pytest.mark.parametrize(
    ("headers", "revision"),
    [
        ({"X-Repo-Commit": "a" * 40}, "a" * 40),
        ({}, "main"),
        ({"X-Repo-Commit": "../x"}, "main"),
        (None, "main"),
    ],
)
def test_the_revision_of_another_hub_comes_from_its_answer(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str] | None, revision: str
) -> None:
    asked = []

    def head(url: str, **options: Any) -> SimpleNamespace:
        asked.append((url, options["headers"]))
        if headers is None:
            raise requests.ConnectionError("away")
        return SimpleNamespace(headers=headers)

    monkeypatch.setattr(requests, "head", head)
    variables = {"HF_ENDPOINT": "http://hub.example/", "HF_TOKEN": "hf_x"}

    assert revisions.current("org/name", variables) == revision
    assert asked == [
        ("http://hub.example/org/name/resolve/main/config.json", {"Authorization": "Bearer hf_x"})
    ]


@pytest.fixture(name="recorded")
def _recorded(project: Path) -> tuple[Matrix, Store, Path]:
    """A matrix of one cell, whose record is that of an unchanged run in the environment ``venv``."""
    matrix = Matrix(folder=project, cells=(Cell(name="a", why="", pins={}),))
    venv, store = project / "venv", Store(project / "results", "tiny-gpt2")
    venv.mkdir()
    (venv / "pyvenv.cfg").write_text("version_info = 3.11.7\n")
    (project / "a.txt").write_text("trl==1.0\n")
    model = {"name": "tiny-gpt2", "revision": "abc", "hub": "embedded"}
    record = cells._planned(matrix, matrix.cells[0], Options(), model, venv)
    store.save(dataclasses.replace(record, outcome="passed", started="2026-01-01T00:00:00Z"))
    return matrix, store, venv


def test_an_unchanged_cell_is_reused_without_a_run(recorded: tuple[Matrix, Store, Path]) -> None:
    matrix, store, venv = recorded
    found = cells.reuse(matrix, matrix.cells[0], Options(venv=venv), store, "abc")
    assert found is not None
    stored = store.load("a")
    assert stored is not None
    assert (stored.reused, stored.started) == (True, "2026-01-01T00:00:00Z")
    assert stored.reused_at


@pytest.mark.parametrize(
    "change", ["lock", "python", "no environment", "suite", "revision", "running", "depth"]
)
def test_a_cell_that_changed_is_left_to_its_run(
    change: str, recorded: tuple[Matrix, Store, Path], project: Path
) -> None:
    matrix, store, venv = recorded
    options, revision = Options(venv=venv), "abc"
    if change == "lock":
        (project / "a.txt").write_text("trl==1.1\n")
    elif change == "python":
        (venv / "pyvenv.cfg").write_text("version_info = 3.11.8\n")
    elif change == "no environment":
        (venv / "pyvenv.cfg").unlink()
    elif change == "suite":
        (project / "suite/test_real_e2e.py").write_text("two")
    elif change == "revision":
        revision = "def"
    elif change == "depth":
        options = dataclasses.replace(options, depth="quick")
    else:
        store.cell_folder("a").mkdir(exist_ok=True)
        store.running_path("a").write_text("{}")
    assert cells.reuse(matrix, matrix.cells[0], options, store, revision) is None
    assert not store.load("a").reused  # type: ignore[union-attr]  # it is there


class Reuse:
    """Stands for the command ``reuse``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: dict[str, list[str]], code: int = 0) -> None:
        self.commands: list[list[str]] = []
        self.answer = SimpleNamespace(stdout=json.dumps(found), returncode=code)
        monkeypatch.delenv(plan.REUSED, raising=False)
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command: list[str], **_: Any) -> SimpleNamespace:
        self.commands.append(command)
        return self.answer


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["-s", "e2e"], ["a", "b"]),
        (["-s", "e2e(b)", "--", "--model", "tiny-gpt2"], ["b"]),
        (["-s", "tests"], []),
        (["-s", "e2e", "-l"], []),
        (["-s", "e2e", "--envdir", "x"], []),
        (["-t", "smoke"], []),
    ],
)
def test_one_process_asks_for_all_selected_cells(
    arguments: list[str],
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reuse = Reuse(monkeypatch, {name: [f"{name}: passed"] for name in asked})
    assert plan.reused_cells(["nox", *arguments], ["a", "b"]) == set(asked)
    assert capsys.readouterr().out.splitlines() == [f"{name}: passed" for name in asked]
    if asked:
        [command] = reuse.commands
        assert command[command.index("reuse") + 1 : command.index("--venvs")] == asked
        assert command[command.index("--venvs") + 2 :] == arguments[3:]
        assert plan.reused_cells(["nox", "-s", "other"], ["a", "b"]) == set(asked), "for a child process"
    else:
        assert not reuse.commands


def test_what_is_wrong_with_the_options_is_left_to_the_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    Reuse(monkeypatch, {"a": []}, code=2)
    assert not plan.reused_cells(["nox", "-s", "e2e", "--", "--modle"], ["a"])
