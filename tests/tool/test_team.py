"""In a team's own repository, from the built wheel: its lock, its scripts, its lines of code.

The repository is ``tests/data/team``: SFT and DPO with argparse, a callback, a collator. What it pins, uv
locks when the test runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.tool.wheel import _program, run_uv  # noqa: F401  # the fixture "program"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
TEAM = Path(__file__).parents[1] / "data" / "team"
PROJECT = """\
[project]
name = "team"
version = "0"
requires-python = "==3.11.*"
dependencies = [
  "transformers==4.57.6", "peft==0.18.0", "trl==0.26.2",
  "accelerate==1.12.0", "datasets==4.4.1", "torch==2.13.0",
]
"""


def run(program: Path, folder: Path, *arguments: str, code: int = 0) -> str:
    """What a program of the wheel's environment prints in ``folder``, without anything of this project."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUNEMATRIX_")}
    process = subprocess.run(
        [str(program), *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == code, process.stdout + process.stderr
    return process.stdout


def finding(answer: dict[str, Any], severity: str) -> dict[str, Any]:
    return next(each for each in answer["findings"] if each["severity"] == severity)


def test_a_team_gets_the_answer_about_its_own_scripts(program: Path, tmp_path: Path) -> None:
    team = tmp_path / "team"
    shutil.copytree(TEAM, team)
    (team / "pyproject.toml").write_text(PROJECT)
    run_uv("lock", "--quiet", "--directory", str(team))
    before = (team / "train_dpo.py").read_text()
    line = next(number for number, text in enumerate(before.splitlines(), 1) if "max_prompt_length=" in text)

    plan = run(program, team, "init", "--yes")
    assert "baseline: uv.lock" in plan
    run(program.with_name("nox"), team, "-s", "e2e(ours)")
    record = json.loads((team / "results/tiny-llama/ours.json").read_text())
    assert {stage["name"]: stage["outcome"] for stage in record["stages"]} == dict.fromkeys(
        ("import", "sft", "sft-resume", "dpo", "dpo-resume"), "passed"
    )
    assert record["fingerprint"]["dpo.steps"] == record["fingerprint"]["dpo.steps_trained"] == 2
    assert (
        record["fingerprint"]["dpo-resume.began_at"] == record["fingerprint"]["dpo-resume.steps_trained"] == 1
    )
    counts = ("trainers", "trainings_started", "trainings_ended")
    assert [record["fingerprint"][f"sft.{name}"] for name in counts] == [1, 1, 1]
    assert not any(name.endswith(".noise") for name in record["fingerprint"]), "two runs of the same differ"

    answer = json.loads(run(program, team, "upgrade", "trl==0.29.0", "--json", code=1))
    assert answer["answer"] == "BREAKS"
    assert "max_prompt_length" in finding(answer, "broken")["title"]
    assert "(train_dpo.py:" in finding(answer, "broken")["title"]
    assert finding(answer, "edit")["title"] == f"train_dpo.py:{line}: DPOConfig(max_prompt_length=) is gone"

    answer = json.loads(run(program, team, "upgrade", "trl==0.29.0", "--fix", "--json", code=1))
    assert "max_prompt_length" not in (team / "train_dpo.py").read_text()
    assert list(answer["fixed"]) == ["train_dpo.py"]
    assert finding(answer, "wrong")["fields"] == ["dpo-resume"]
    assert not any(each["severity"] in ("broken", "edit") for each in answer["findings"])
    new = {path.name for path in team.iterdir()} - {path.name for path in TEAM.iterdir()} - {"__pycache__"}
    assert sorted(new) == [
        ".nox",
        "constraints",
        "noxfile.py",
        "pyproject.toml",
        "results",
        "uv.lock",
        "workload.toml",
    ]


@pytest.mark.nightly
def test_a_repository_of_requirements_and_a_configuration_alone(program: Path, tmp_path: Path) -> None:
    """Nothing is set up, there is no Python: one command line of trl, in one command line of ours."""
    pins = [line.strip(' ",') for line in PROJECT.split("[\n")[1].replace(", ", "\n").splitlines()]
    (tmp_path / "requirements.txt").write_text("".join(f"{pin}\n" for pin in pins if "==" in pin))
    (tmp_path / "chat").mkdir()
    shutil.copy(TEAM / "data/chat.jsonl", tmp_path / "chat/train.jsonl")
    settings = ("dataset_name: chat", "max_steps: 1", "logging_steps: 1", "use_peft: true", "report_to: none")
    (tmp_path / "sft.yaml").write_text("".join(f"{line}\n" for line in settings))
    command = "trl sft --config sft.yaml --model_name_or_path {model} --output_dir {out}/sft"

    arguments = ("upgrade", "peft==0.18.1", "--run", command, "--model", "tiny-llama", "--json")
    answer = json.loads(run(program, tmp_path, *arguments))
    assert answer["answer"] == "SAFE"
    assert answer["stages"]["run"]["after"] == "passed"
    assert (tmp_path / ".tunematrix" / ".gitignore").read_text() == "*\n"
    (record,) = (tmp_path / ".tunematrix").rglob("requirements-*-peft-0.18.1-*.json")
    assert json.loads(record.read_text())["fingerprint"]["run.steps"] == 1
