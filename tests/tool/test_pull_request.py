"""The steps of the workflows for pull requests, run as GitHub runs them, against a local GitHub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pulls.conftest import ANSWER, write_event
from tests.pulls.github import REPOSITORY, TOKEN, GitHub, serving
from tests.pulls.test_upgrade import git, lock_of, write

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
GITHUB = Path(__file__).parents[2] / ".github"
UPGRADE = GITHUB / "workflows/pull-request.yml"
COMMENT = GITHUB / "workflows/pull-request-comment.yml"
ACTION = GITHUB / "actions/upgrade/action.yml"


def steps(path: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text())
    job = content["runs"] if "runs" in content else next(iter(content["jobs"].values()))
    return [step for step in job["steps"] if "run" in step]


@pytest.fixture(name="variables")
def _variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a job: no token, a ``pip`` that writes down what it is to install, a repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"pip": f'echo "$@" >> {tmp_path}/installed', "tunematrix": _program()}.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    inherited = {
        name: os.environ[name] for name in ("HOME", "UV_FIND_LINKS", "PIP_INDEX_URL") if name in os.environ
    }
    return {
        **inherited,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_BASE_REF": "main",
        "GITHUB_REF": "refs/pull/7/merge",
        "VERSION": "0.1.0",
        "MODEL": "",
    }


def _program() -> str:
    return f'exec {sys.executable} -m tunematrix "$@"'


def repository(base: str, head: str) -> None:
    git("init", "--quiet", "--initial-branch", "main")
    git("config", "user.name", "x")
    git("config", "user.email", "x@example.org")
    Path(".gitignore").write_text("/programs\n/installed\n/output\n/temp\n/summary\n")
    write({"requirements.txt": base})
    git("update-ref", "refs/remotes/origin/main", "main")
    write({"requirements.txt": head})


def run_step(step: dict[str, Any], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", [UPGRADE, ACTION], ids=["workflow", "action"])
def test_the_steps_without_a_token_leave_an_answer(path: Path, variables: dict[str, str]) -> None:
    repository(lock_of(), f"# a comment\n{lock_of()}")
    for step in steps(path):
        completed = run_step(step, variables)
        assert completed.returncode == 0, completed.stderr
    assert Path("installed").read_text() == "install tunematrix==0.1.0\n"
    answer = json.loads(Path("answer/answer.json").read_text())
    assert (answer["answer"], answer["pull_request"]) == ("NOTHING TO TEST", 7)


@pytest.mark.parametrize("path", [UPGRADE, ACTION], ids=["workflow", "action"])
def test_pins_that_cannot_be_read_fail_the_step_and_leave_an_answer(
    path: Path, variables: dict[str, str]
) -> None:
    repository(lock_of(), "trl = 1\n")
    *_, step = steps(path)
    assert run_step(step, {**variables, "MODEL": "tiny-gpt2"}).returncode == 2
    assert json.loads(Path("answer/answer.json").read_text())["answer"] == "CANNOT TELL"


def test_the_steps_with_a_token_write_the_comment(tmp_path: Path, variables: dict[str, str]) -> None:
    write_event()
    (tmp_path / "temp/answer").mkdir(parents=True)
    (tmp_path / "temp/answer/answer.json").write_text(json.dumps(ANSWER))
    with serving() as github:
        github.open_pull()
        github.add_answer()
        settings = {
            **variables,
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_API_URL": github.url,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        }
        for step in steps(COMMENT):
            assert ("GITHUB_TOKEN" in step.get("env", {})) == ("tunematrix pr" in step["run"])
            completed = run_step(step, settings)
            assert completed.returncode == 0, completed.stderr
            assert TOKEN not in completed.stdout + completed.stderr
        check(github)
    assert Path("installed").read_text() == "install --only-binary :all: tunematrix==0.1.0\n"
    assert Path("output").read_text() == "pull=7\nrun=100\n"


def check(github: GitHub) -> None:
    assert [comment["body"].startswith("**BREAKS**") for comment in github.comments] == [True]
    assert [status["state"] for _, status in github.statuses] == ["failure"]


def test_the_job_that_runs_packages_has_no_right_but_to_read_and_the_other_runs_nothing_else() -> None:
    upgrade, comment = (yaml.safe_load(path.read_text()) for path in (UPGRADE, COMMENT))
    assert (upgrade["permissions"], comment["permissions"]) == ({}, {})
    assert upgrade["jobs"]["upgrade"]["permissions"] == {"contents": "read"}
    assert "token" not in json.dumps(upgrade)
    assert "secrets" not in UPGRADE.read_text() + COMMENT.read_text() + ACTION.read_text()
    used = [step.get("uses", "").partition("@")[0] for step in comment["jobs"]["comment"]["steps"]]
    assert "actions/checkout" not in used
