"""``--json``: every command that answers has it, and prints nothing else on standard output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tunematrix.base.record import Record, Result, to_dict
from tunematrix.base.store import Store
from tunematrix.cli import main as cli
from tunematrix.run import cell as cells
from tunematrix.shared.stages import STAGES

RECORD = Record(
    cell="a",
    outcome="passed",
    started="2026-01-01T10:00:00Z",
    model={"name": "tiny-gpt2"},
    stages=tuple(Result(name=name, outcome="passed") for name in STAGES),
)
# Commands whose answer is files, or what a shell or a service reads.
WITHOUT = {"ci", "finish", "init", "jobs", "merge", "pr", "reuse"}
LONG = {"bisect", "bounds", "exchange", "ladder", "reads", "run", "scan", "upgrade"}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("CI", "")
    (tmp_path / "matrix.toml").write_text("schema = 1\n[[cell]]\nname = 'a'\n[cell.pins]\ntrl = '1.0'\n")
    (tmp_path / "a.txt").write_text("trl==1.0\ntransformers==5.0.0\npeft==0.18.0\n")
    Store(tmp_path / "results", "tiny-gpt2").save(RECORD)


def run(*arguments: str) -> tuple[Any, str]:
    """What a command prints, read as JSON, and what it prints on standard error."""
    result = CliRunner().invoke(cli.cli, list(arguments), standalone_mode=False)
    assert result.exception is None, result.exception
    return json.loads(result.stdout), result.stderr


@pytest.mark.parametrize("name", sorted(cli.COMMANDS.keys() - WITHOUT))
def test_every_command_that_answers_has_json_and_every_long_one_quiet(name: str) -> None:
    command = cli.cli.get_command(None, name)  # type: ignore[arg-type]  # it needs no context
    assert command is not None
    options = {option for parameter in command.params for option in parameter.opts}

    assert "--json" in options
    assert ("--quiet" in options) == (name in LONG)


def test_a_record() -> None:
    assert run("show", "a", "--json")[0] == json.loads(json.dumps(to_dict(RECORD)))


def test_the_summary() -> None:
    assert run("report", "--json")[0]["counts"] == {"passed": 1}


def test_a_report_of_another_model_than_the_workload_asks_for_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")
    stage = '[[stage]]\nname = "sft"\nrun = "python train.py"\n'
    (tmp_path / "workload.toml").write_text(f'model = "tiny-llama"\n{stage}')
    said = "workload.toml asks for tiny-llama; this is of tiny-gpt2, which ran last: nox -s e2e"

    assert said in run("report", "--json")[1]
    assert said not in run("report", "--json", "--model", "tiny-gpt2")[1]
    (tmp_path / "workload.toml").write_text(f'model = "tiny-gpt2"\n{stage}')
    assert said not in run("report", "--json")[1]


def test_stale_locks(tmp_path: Path) -> None:
    assert run("lock", "--check", "--json")[0] == {"checked": ["a"], "stale": {}}
    (tmp_path / "a.txt").unlink()
    assert run("lock", "--check", "--json")[0]["stale"].keys() == {"a"}


def test_known_problems() -> None:
    assert isinstance(run("check", "a", "--json")[0], list)
    assert isinstance(run("check", "a", "--format", "json")[0], list)


def test_a_run_with_its_progress_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "run", lambda *_: RECORD)

    content, progress = run("run", "a", "--json", "--model", "tiny-gpt2")
    assert (content["cell"], content["outcome"]) == ("a", "passed")
    assert "a: running; log: " in progress
    assert "a: running" not in run("run", "a", "--json", "--quiet", "--model", "tiny-gpt2")[1]


def test_the_last_line_of_a_run_names_what_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "run", lambda *_: RECORD)

    def last_line() -> str:
        arguments = ["run", "a", "--model", "tiny-gpt2"]
        return CliRunner().invoke(cli.cli, arguments, standalone_mode=False).stdout.splitlines()[-1]

    first, path, *_ = last_line().split()
    assert (first, Path(path).is_file()) == ("open:", True)
    monkeypatch.setenv("TUNEMATRIX_NOX", "1")
    Path(path).unlink()
    assert last_line() == "a: passed (0 s)", "nox names it after all cells"
    assert not Path(path).exists(), "and makes it once, not after each"
