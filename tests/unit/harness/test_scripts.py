"""Scripts of a team: which Python runs, where, and what is copied; the stack is not needed for that."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunematrix.harness import failure, observe, resumes, scripts
from tunematrix.harness.isolate import WorkResult, run_isolated
from tunematrix.harness.programs import ScriptError
from tunematrix.harness.scripts import Runner
from tunematrix.pipeline.trace import Trace


@pytest.fixture(name="runner")
def _runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A runner in ``tmp_path`` that observes nothing, since there is no stack."""
    monkeypatch.setattr(observe, "start", lambda _: None)
    runner = Runner.__new__(Runner)
    runner.folder, runner.copy, runner.out = tmp_path, tmp_path / "repository", tmp_path / "out"
    runner.roots, runner.commands = (), {}
    runner.copy.mkdir()
    return runner


def execute(
    runner: Runner, words: list[str], env: Mapping[str, str] | None = None, **files: str
) -> tuple[str, dict[str, str], str]:
    """Outcome, error and output of a command, run in a child as in a cell."""
    for name, text in files.items():
        (runner.copy / f"{name}.py").write_text(text)
    trace = Trace(command="sft")
    result = run_isolated(lambda _: runner.execute(words, trace, env or {}), 60, retry=False)
    return result.outcome, result.error or {}, (runner.folder / "sft.log").read_text()


def test_a_script_runs_as_main_in_its_folder_with_its_arguments(runner: Runner) -> None:
    text = "import sys, os, helper\nif __name__ == '__main__':\n  print(sys.argv, os.getcwd(), helper.X)"
    outcome, _, output = execute(runner, ["python", "train.py", "--a", "b"], train=text, helper="X = 7")
    assert (outcome, output) == ("passed", f"['train.py', '--a', 'b'] {runner.copy} 7\n")


def test_a_module_and_a_program_run_too(runner: Runner) -> None:
    text = "import sys; print(sys.argv[1:])"
    assert execute(runner, ["python", "-m", "train", "x"], train=text)[2] == "['x']\n"
    assert execute(runner, [sys.executable, "-c", "print(3)"])[2] == "3\n"
    assert execute(runner, ["sh", "-c", "echo 4"])[2] == "4\n"


@pytest.mark.parametrize("words", [["python", "train.py"], ["env", "python", "train.py"], ["train-it"]])
def test_modules_of_an_installed_project_are_found_last(words: list[str], runner: Runner) -> None:
    runner.roots, runner.commands = ("src",), {"train-it": ("ours.cli", "main")}
    (runner.copy / "src/ours").mkdir(parents=True)
    (runner.copy / "src/ours/__init__.py").touch()
    (runner.copy / "src/ours/cli.py").write_text("import sys\ndef main():\n  print(sys.argv[0]); return 0\n")
    (runner.copy / "src/json.py").write_text("hides = 1")
    text = "import json; json.loads; from ours.cli import main; main()"
    outcome, error, output = execute(runner, words, train=text)
    assert (outcome, output) == ("passed", f"{words[-1]}\n"), error


LAUNCHER = """\
import subprocess, sys
subprocess.run([sys.executable, "train.py"], check=True)
"""


@pytest.mark.parametrize("prefix", ["", "[rank0]: "])
def test_an_error_behind_a_launcher_is_told_as_that_of_the_script(prefix: str, runner: Runner) -> None:
    text = "def f():\n  raise TypeError('unexpected keyword')\nf()\n"
    if prefix:
        text = (
            "import traceback\ntry:\n  exec(open('inner.py').read())\nexcept TypeError:\n  for line in "
            f"traceback.format_exc().splitlines():\n    print({prefix!r} + line)\n  raise SystemExit(1)\n"
        )
    inner = "raise TypeError('unexpected keyword')"
    words = ["env", "python", "launch.py"]
    outcome, error, _ = execute(runner, words, launch=LAUNCHER, train=text, inner=inner)
    assert (outcome, error["type"], error["message"]) == ("failed", "TypeError", "unexpected keyword")
    assert error["where"] == ("train.py:3" if prefix else "train.py:2")


def test_a_model_that_the_hub_of_the_cells_does_not_have_says_what_to_give(runner: Runner) -> None:
    text = "raise OSError('acme/model is not a local folder and is not a valid model identifier')"
    _, error, _ = execute(runner, ["python", "train.py"], train=text)
    assert "give the script {model}" in error["message"]


@pytest.mark.parametrize("words", [["pytest", "test_it.py"], ["python", "-m", "pytest", "-q", "test_it.py"]])
def test_tests_of_a_team_are_a_stage(words: list[str], runner: Runner) -> None:
    outcome, _, output = execute(runner, words, test_it="def test_a():\n  assert 1")
    assert outcome == "passed"
    assert "1 passed" in output
    outcome, error, _ = execute(runner, words, test_it="def test_a():\n  x = 1\n  assert x == 2")
    assert outcome == "failed"
    assert "assert 1 == 2" in error["message"]


def test_variables_of_a_stage_are_set(runner: Runner) -> None:
    runner.flow = types.SimpleNamespace(model="/model")  # type: ignore[assignment]  # all that is needed of it
    env = runner.env({"env": {"WHERE": "{out}/a", "MODEL": "{model}"}}, Path("/out"))
    assert env == {"WHERE": "/out/a", "MODEL": "/model"}
    text = "import os; print(os.environ['A'], os.environ['PYTHONPATH'].split(':')[1])"
    for words in (["python", "train.py"], ["A=2", "python", "train.py"]):
        output = execute(runner, words, {"A": "1", "PYTHONPATH": "/more"}, train=text)[2]
        assert output == f"{2 if 'A=2' in words else 1} /more\n", "what stands before the command counts more"


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
        assert error["message"] == "exit code 3: why\nwhy"
    if "no data" in text:
        assert error["message"].splitlines()[0] == "exit code 1: no data"
    if outcome == "failed":
        assert error["where"] == "train.py:1"


def test_an_option_that_a_script_does_not_know_is_named_in_the_first_line(runner: Runner) -> None:
    text = "import argparse\nargparse.ArgumentParser().parse_args()\n"
    _, error, _ = execute(runner, ["python", "train.py", "--lr", "1"], train=text)
    assert error["message"].splitlines()[0] == "exit code 2: train.py: error: unrecognized arguments: --lr 1"
    assert error["where"] == "train.py:2"


def test_a_process_that_fails_says_its_last_lines(runner: Runner) -> None:
    _, error, _ = execute(runner, ["sh", "-c", "seq 100; exit 9"])
    assert error["type"] == ScriptError.__name__
    assert error["message"].splitlines()[0] == "exit code 9: 100"
    assert not error["where"], "a line of ours helps nobody"
    assert error["message"].splitlines()[-1] == "100"
    assert len(error["message"].splitlines()) == 31


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

    monkeypatch.setattr(resumes, "compare_checkpoints", compare)
    for name in ("whole", "resumed"):
        for step in (2, 10):
            checkpoint(tmp_path / name, step, 1.0)
    assert resumes.compare_ends(tmp_path / "whole", tmp_path / "resumed") == ["differs"]
    assert compared == [(tmp_path / "whole/checkpoint-10", tmp_path / "resumed/checkpoint-10")]
    checkpoint(tmp_path / "whole", 11, 1.0)
    assert resumes.compare_ends(tmp_path / "whole", tmp_path / "resumed") == [
        "it wrote no checkpoint-11, only checkpoint-10, checkpoint-2"
    ]


def test_paths_of_their_code_are_shown_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure, "own_folders", [tmp_path])
    (tmp_path / "a.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile("1 / 0", str(tmp_path / "a.py"), "exec"), {})
    assert failure.describe_error(raised.value)["where"] == "a.py:1"


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

    monkeypatch.setattr(resumes, "compare_checkpoints", compare)
    monkeypatch.setattr(scripts, "report_end", lambda _, result: result)
    runner.flow = Flow()  # type: ignore[assignment]
    (runner.copy / "train.py").write_text(SAVES)
    stage = {
        "name": "sft",
        "run": "python train.py {out}/sft",
        "resume": f"{value} {{out}}/sft/checkpoint-1",
        "keep": ["{out}/sft"],
        "after": [],
        "env": {},
        "seconds": 0,
    }
    runner.stages = [stage]
    runner.out.mkdir()
    runner.remember()
    runner.flow.run("sft", runner.work(stage), after=[])
    runner.again(stage, 60)
    results = runner.flow.results
    assert results["sft"].outcome == results["sft:again"].outcome == "passed"
    assert results["sft-resume"].outcome == outcome
    if outcome == "failed":
        error = results["sft-resume"].error or {}
        assert error["message"] == "the resumed run is not the uninterrupted one: whole became another"
    assert (runner.out / "sft" / "checkpoint-2" / "value").read_text() == "whole"
    kept = sorted(path.name for path in (runner.folder / scripts.KEPT / "sft").iterdir())
    assert kept == ["checkpoint-1", "checkpoint-2"]


def stage_of(run: str, name: str = "sft", **keys: Any) -> dict[str, Any]:
    return {"name": name, "run": run, "resume": "", "keep": [], "after": [], "env": {}, "seconds": 0, **keys}


@pytest.fixture(name="stages")
def _stages(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, WorkResult]]:
    """Runs stages of a repository of which each file is given, one after the other, with their repeats."""
    monkeypatch.setattr(scripts, "report_end", lambda name, result: reported.update({name: result}))
    reported: dict[str, WorkResult] = {}
    runner.flow = Flow()  # type: ignore[assignment]
    runner.out.mkdir()

    def run(*stages: dict[str, Any], **files: str) -> dict[str, WorkResult]:
        for name, text in files.items():
            (runner.copy / f"{name}.py").write_text(text)
        for stage in stages:
            runner.remember()
            if runner.flow.run(stage["name"], runner.work(stage), after=[]).outcome == "passed":
                runner.again(stage, 60)
        return {**runner.flow.results, **reported}

    return run


def message(result: WorkResult) -> str:
    return (result.error or {}).get("message", "")


def observing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scripts record numbers by ``import seen; seen.numbers[...] = ...``, as a trainer would."""

    def start(numbers: dict[str, Any]) -> None:
        sys.modules["seen"] = types.ModuleType("seen")
        vars(sys.modules["seen"])["numbers"] = numbers

    monkeypatch.setattr(observe, "start", start)


def test_a_second_run_finds_nothing_of_the_first(
    stages: Callable[..., dict[str, WorkResult]], runner: Runner
) -> None:
    text = (
        "import pathlib, sys\n"
        "for folder in ('outputs', sys.argv[1]):\n"
        "  print(pathlib.Path(folder, 'done').exists())\n"
        "  pathlib.Path(folder).mkdir(exist_ok=True)\n"
        "  pathlib.Path(folder, 'done').touch()\n"
    )
    results = stages(stage_of("python train.py {out}"), stage_of("python train.py {out}", "dpo"), train=text)
    assert {result.outcome for result in results.values()} == {"passed"}
    logs = {path.name: path.read_text().split() for path in runner.folder.glob("*.log")}
    assert logs["sft.log"] == logs["sft.again.log"] == ["False", "False"]
    assert logs["dpo.log"] == logs["dpo.again.log"] == ["True", "True"]


def test_two_runs_with_other_results_altogether_are_not_compared(
    stages: Callable[..., dict[str, WorkResult]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    observing(monkeypatch)
    text = (
        "import pathlib, seen\n"
        f"first = pathlib.Path({str(tmp_path)!r}, 'outside')\n"
        "seen.numbers.update(trainers=1, eval_loss=[1.0 + first.exists()])\n"
        "if not first.exists(): seen.numbers['loss'] = [1.0]\n"
        "first.touch()\n"
    )
    results = stages(stage_of("python train.py"), train=text)
    assert results["sft"].outcome == "passed"
    assert results["sft"].numbers["sft.trainers"] == 1
    assert results["sft:again"].outcome == "skipped"
    assert message(results["sft:again"]).endswith("nothing can be compared with them: loss")
    assert results["sft:again"].numbers == {"sft.noise": {"eval_loss": 1.0}}


def test_how_far_a_failed_run_got_is_no_number_of_its_own(
    stages: Callable[..., dict[str, WorkResult]],
) -> None:
    results = stages(stage_of("python train.py"), train="raise ValueError('x')")
    assert (results["sft"].outcome, results["sft"].numbers) == ("failed", {})


@pytest.mark.parametrize("command", ["python train.py", "sh -c 'python train.py'"])
def test_that_nothing_was_observed_is_recorded(
    command: str, stages: Callable[..., dict[str, WorkResult]]
) -> None:
    results = stages(stage_of(command), train="print(1)")
    assert results["sft"].numbers == {"sft.trainers": 0, "sft.trainings_started": 0, "sft.trainings_ended": 0}


def test_a_resume_that_trains_nothing_fails(
    stages: Callable[..., dict[str, WorkResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    observing(monkeypatch)
    monkeypatch.setattr(resumes, "compare_checkpoints", lambda *_: [])
    text = f"{SAVES}\nimport seen\nif '--resume' not in sys.argv: seen.numbers['trainings_ended'] = 1\n"
    results = stages(stage_of("python train.py {out}/sft", resume="whole --resume"), train=text)
    assert message(results["sft-resume"]).endswith("no Trainer trained in it")


def test_a_resume_without_a_path_starts_at_the_first_checkpoint(
    stages: Callable[..., dict[str, WorkResult]], runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumes, "compare_checkpoints", lambda *_: [])
    text = f"import os, sys\nprint(sorted(os.listdir(sys.argv[1])) if sys.argv[2:] else '')\n{SAVES}"
    results = stages(stage_of("python train.py {out}/sft", resume="--resume"), train=text)
    assert results["sft-resume"].outcome == "passed"
    assert (runner.folder / "sft-resume.log").read_text() == "['checkpoint-1']\n"


def test_a_resume_without_a_checkpoint_says_what_to_do(stages: Callable[..., dict[str, WorkResult]]) -> None:
    results = stages(
        stage_of("true", resume="--from {out}/sft/checkpoint-1"), stage_of("true", "dpo", resume="--resume")
    )
    assert message(results["sft-resume"]).startswith(
        "sft/checkpoint-1 is not there to resume from; make sft save after"
    )
    assert 'resume = "--resume_from_checkpoint {out}/dpo/checkpoint-1"' in message(results["dpo-resume"])


def test_a_folder_to_keep_that_is_not_there_is_named(stages: Callable[..., dict[str, WorkResult]]) -> None:
    results = stages(stage_of("mkdir {out}/exch", keep=["{out}/exhc"]))
    assert message(results["sft"]) == ("keep: the stage wrote no folder {out}/exhc; in {out} there is exch")


@pytest.mark.parametrize(("began", "outcome"), [(1, "passed"), (0, "failed")])
def test_a_run_that_ignores_the_other_stacks_checkpoint_fails(
    began: int,
    outcome: str,
    stages: Callable[..., dict[str, WorkResult]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    observing(monkeypatch)
    monkeypatch.setattr(resumes, "compare_checkpoints", lambda *_: [])
    checkpoint(tmp_path / "theirs" / scripts.KEPT / "sft", 1, 1.0)
    checkpoint(tmp_path / "theirs" / scripts.KEPT / "sft", 2, 1.0)
    monkeypatch.setenv("TUNEMATRIX_ARTIFACTS", str(tmp_path / "theirs"))
    text = (
        f"import os, sys\nprint(sorted(os.listdir(sys.argv[1])) if sys.argv[2:] else '')\n{SAVES}"
        "import seen\n"
        f"began = {began} if sys.argv[2:] else 0\n"
        "seen.numbers.update(trainings_ended=1, steps=2, began_at=began, steps_trained=2 - began)\n"
    )
    stage = stage_of("python train.py {out}/sft", resume="whole --from {out}/sft/checkpoint-1")
    result = stages(stage, train=text)["exchange:sft-resume"]
    assert result.outcome == outcome
    assert (tmp_path / "sft.exchange.log").read_text() == "['checkpoint-1']\n"
    assert result.numbers == {}
    if began == 0:
        assert message(result).endswith("checkpoint of step 1: it began at step 0")


def test_another_attempt_after_a_timeout_starts_like_the_first(
    stages: Callable[..., dict[str, WorkResult]], runner: Runner
) -> None:
    text = "import os, pathlib, time\nprint(os.listdir('.'))\npathlib.Path('left').touch()\ntime.sleep(60)"
    (runner.copy / "train.py").write_text(text)
    runner.remember()
    result = run_isolated(runner.work(stage_of("python train.py")), 1)
    assert (result.outcome, result.attempts) == ("timed_out", 2)
    assert (runner.folder / "sft.log").read_text() == "['train.py']\n"


def test_variables_before_a_command_count_from_its_start(
    stages: Callable[..., dict[str, WorkResult]], runner: Runner
) -> None:
    (runner.copy / "src").mkdir()
    (runner.copy / "src/inner.py").write_text("import os; print(os.environ['LEVEL'])")
    results = stages(stage_of("PYTHONPATH=src LEVEL=7 python train.py"), train="import inner")
    assert results["sft"].outcome == "passed"
    assert (runner.folder / "sft.log").read_text() == "7\n"
