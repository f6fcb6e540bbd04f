"""Scripts of a team: which Python runs, where, and what is copied; the stack is not needed for that."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunematrix.harness import failure, observe, programs, scripts
from tunematrix.harness.isolate import WorkResult, run_isolated
from tunematrix.harness.scripts import Runner, ScriptError
from tunematrix.pipeline.trace import Trace


@pytest.fixture(name="runner")
def _runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A runner in ``tmp_path`` that observes nothing, since there is no stack."""
    monkeypatch.setattr(observe, "start", lambda _: None)
    runner = Runner.__new__(Runner)
    runner.folder, runner.copy, runner.out = tmp_path, tmp_path / "repository", tmp_path / "out"
    runner.copy.mkdir()
    runner.names = ["sft"]
    return runner


def execute(runner: Runner, words: list[str], **files: str) -> tuple[str, dict[str, str], str]:
    """Outcome, error and output of a command, run in a child as in a cell."""
    for name, text in files.items():
        (runner.copy / f"{name}.py").write_text(text)
    trace = Trace(command="sft")
    result = run_isolated(lambda _: runner.execute(words, trace), 60, retry=False)
    return result.outcome, result.error or {}, (runner.folder / "sft.log").read_text()


def test_a_script_runs_as_main_in_its_folder_with_its_arguments(runner: Runner) -> None:
    text = "import sys, os, helper\nif __name__ == '__main__':\n  print(sys.argv, os.getcwd(), helper.X)"
    outcome, _, output = execute(runner, ["python", "train.py", "--a", "b"], train=text, helper="X = 7")
    assert (outcome, output) == ("passed", f"['train.py', '--a', 'b'] {runner.copy} 7\n")


def test_a_module_and_a_program_run_too(runner: Runner) -> None:
    text = "import sys; print(sys.argv[1:])"
    assert execute(runner, ["python", "-m", "train", "x"], train=text)[2] == "['x']\n"
    (runner.folder / "sft.observed").rmdir()
    assert execute(runner, [sys.executable, "-c", "print(3)"])[2] == "3\n"
    (runner.folder / "sft.observed").rmdir()
    assert execute(runner, ["sh", "-c", "echo 4"])[2] == "4\n"


def test_an_error_is_told_with_the_line_of_their_code(runner: Runner) -> None:
    text = "import json\ndef f():\n  return json.loads('{')\nf()\n"
    outcome, error, _ = execute(runner, ["python", "train.py"], train=text)
    assert (outcome, error["type"], error["where"]) == ("failed", "JSONDecodeError", "train.py:3")
    assert 'File "train.py", line 3' in error["traceback"]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("raise SystemExit", "passed"),
        ("import sys; sys.exit(0)", "passed"),
        ("print('why'); raise SystemExit(3)", "failed"),
        ("raise SystemExit('no data')", "failed"),
    ],
)
def test_an_exit_code_decides(text: str, outcome: str, runner: Runner) -> None:
    found, error, _ = execute(runner, ["python", "train.py"], train=text)
    assert found == outcome
    if "3" in text:
        assert error["message"] == "exit code 3\nwhy"
    if "no data" in text:
        assert "no data" in error["message"]


def test_a_process_that_fails_says_its_last_lines(runner: Runner) -> None:
    _, error, _ = execute(runner, ["sh", "-c", "seq 100; exit 9"])
    assert error["type"] == ScriptError.__name__
    assert error["message"].splitlines()[0] == "exit code 9"
    assert error["message"].splitlines()[-1] == "100"
    assert len(error["message"].splitlines()) == 31


def test_their_files_are_copied_and_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "theirs"
    for name in ("a.py", "data/b.json", ".git/c", "env/pyvenv.cfg", "results/d"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    monkeypatch.setattr(programs, "LARGEST_COPY", 10)
    (source / "large.bin").write_text("x" * 11)
    os.mkfifo(source / "pipe")
    programs.copy_tree(source, tmp_path / "copy")
    copied = sorted(path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*"))
    assert copied == ["a.py", "data", "data/b.json", "large.bin"]
    (tmp_path / "copy" / "a.py").write_text("y")
    assert (source / "a.py").read_text() == "x"
    assert (tmp_path / "copy" / "large.bin").is_symlink()


def checkpoint(folder: Path, step: int, loss: float) -> None:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    state = {"global_step": step, "log_history": [{"loss": loss}]}
    (path / "trainer_state.json").write_text(json.dumps(state))


def test_the_last_checkpoints_of_two_runs_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[Path, ...]] = []

    def compare(*paths: Path) -> list[str]:
        compared.append(paths)
        return ["differs"]

    monkeypatch.setattr(scripts, "compare_checkpoints", compare)
    for name in ("whole", "resumed"):
        for step in (2, 10):
            checkpoint(tmp_path / name, step, 1.0)
    assert scripts.compare_ends(tmp_path / "whole", tmp_path / "resumed") == ["differs"]
    assert compared == [(tmp_path / "whole/checkpoint-10", tmp_path / "resumed/checkpoint-10")]
    checkpoint(tmp_path / "whole", 11, 1.0)
    assert scripts.compare_ends(tmp_path / "whole", tmp_path / "resumed") == [
        "it wrote no checkpoint-11, only checkpoint-10, checkpoint-2"
    ]


def test_a_log_becomes_a_series_for_each_key() -> None:
    history: list[dict[str, object]] = [
        {"loss": 2.0, "epoch": 0.1, "step": 1, "rewards/chosen": 1},
        {"loss": 1.0, "epoch": 0.2, "step": 2, "rewards/chosen": 2},
        {
            "train_runtime": 3.0,
            "train_loss": 1.5,
            "train_steps_per_second": 4,
            "total_flos": 5.0,
            "note": "x",
        },
    ]
    assert observe.series(history) == {"loss": [2.0, 1.0], "rewards_chosen": [1, 2], "train_loss": [1.5]}


def test_paths_of_their_code_are_shown_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure, "own_folders", [tmp_path])
    (tmp_path / "a.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile("1 / 0", str(tmp_path / "a.py"), "exec"), {})
    assert failure.describe_error(raised.value)["where"] == "a.py:1"


def test_the_noise_is_how_far_two_runs_of_the_same_are_apart() -> None:
    first = {"loss": [1.0, 2.0], "steps": 2, "batches": ["a"], "same": [1], "gone": [1.0]}
    again = {"loss": [1.5, 1.75], "steps": 3, "batches": ["b"], "same": [1]}
    assert scripts.noise_of(first, again) == {"loss": 0.5, "steps": 1, "batches": None, "gone": None}


class Flow:
    """A workflow without a Hub: the stages run in children, their results are kept."""

    def __init__(self) -> None:
        self.results: dict[str, WorkResult] = {}
        self.model = Path("/model")

    def run(self, name: str, work: Callable[[Trace], None], **options: Any) -> WorkResult:
        not_passed = [each for each in options["after"] if self.results[each].outcome != "passed"]
        self.results[name] = WorkResult(outcome="not_run") if not_passed else run_isolated(work, 60)
        return self.results[name]


SAVES = """
import pathlib, random, sys
out = pathlib.Path(sys.argv[1])
for step in (1, 2):
    (out / f"checkpoint-{step}").mkdir(parents=True, exist_ok=True)
    (out / f"checkpoint-{step}" / "value").write_text(sys.argv[2] if len(sys.argv) > 2 else "whole")
"""


@pytest.mark.parametrize(("value", "outcome"), [("whole", "passed"), ("another", "failed")])
def test_a_resume_is_proved_by_equality_and_leaves_the_first_run_alone(
    value: str, outcome: str, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(whole: Path, resumed: Path) -> list[str]:
        texts = [(path / "value").read_text() for path in (whole, resumed)]
        return [] if texts[0] == texts[1] else [f"{texts[0]} became {texts[1]}"]

    monkeypatch.setattr(scripts, "compare_checkpoints", compare)
    monkeypatch.setattr(scripts, "report_end", lambda _, result: result)
    runner.flow = Flow()  # type: ignore[assignment]
    (runner.copy / "train.py").write_text(SAVES)
    stage = {
        "name": "sft",
        "run": "python train.py {out}/sft",
        "resume": f"{value} {{out}}/sft/checkpoint-1",
        "keep": ["{out}/sft"],
        "after": [],
        "seconds": 0,
    }
    runner.stages = [stage]
    runner.flow.run("sft", runner.work(stage), after=[])
    runner.again(stage, 60)
    results = runner.flow.results
    assert results["sft"].outcome == results["sft:again"].outcome == "passed"
    assert results["sft-resume"].outcome == outcome
    if outcome == "failed":
        error = results["sft-resume"].error or {}
        assert error["message"] == "the resumed run is not the uninterrupted one: whole became another"
    assert (runner.out / "sft" / "checkpoint-2" / "value").read_text() == "whole"
    runner.keep()
    kept = sorted(path.name for path in (runner.folder / scripts.KEPT / "sft").iterdir())
    assert kept == ["checkpoint-1", "checkpoint-2"]


def test_a_resume_without_a_checkpoint_says_what_to_do(runner: Runner) -> None:
    runner.flow = Flow()  # type: ignore[assignment]
    stage = {"name": "sft", "run": "true", "resume": "--from {out}/sft/checkpoint-1"}
    runner.out.mkdir()
    error = run_isolated(runner.resume(stage), 60).error or {}
    assert error["message"].startswith("sft/checkpoint-1 is not there to resume from; make sft save after")


@pytest.mark.parametrize(
    ("whole", "resumed", "said"),
    [
        (["a", "b", "c"], ["b", "c"], ""),
        (
            ["a", "b", "c"],
            ["a", "b", "c"],
            "it did not go on from the checkpoint: it trained on all 3 batches again",
        ),
        (["a", "b", "c"], ["a", "b"], "data order: ['b', 'c'] became ['a', 'b']"),
        (["a", "b"], [], ""),
        ([], [], ""),
        (["a"] * 64, ["a"] * 64, ""),
    ],
)
def test_a_resumed_run_sees_the_last_batches_and_not_all(
    whole: list[str], resumed: list[str], said: str
) -> None:
    assert scripts.batch_differences(whole, resumed) == ([said] if said else [])
