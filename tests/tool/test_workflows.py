"""The shell commands of the workflows fail when a part of them fails."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
WORKFLOWS = Path(__file__).parents[2] / ".github/workflows"
JOBS = '{"include": [{"cell": "latest"}]}'


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((*WORKFLOWS.glob("*.yml"), *WORKFLOWS.parent.glob("actions/*/action.yml"))):
        content = yaml.safe_load(path.read_text())
        for job in content["jobs"].values() if "jobs" in content else [content["runs"]]:
            yield from ((path.name, step) for step in job.get("steps", []) if "run" in step)


def run_plan(folder: Path, nox: str, tunematrix: str) -> tuple[int, str]:
    """Run the step that plans the jobs as GitHub does, with other programs of these names."""
    for name, script in (("nox", nox), ("tunematrix", tunematrix)):
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    (script,) = [step["run"] for _, step in steps() if step.get("id") == "plan"]
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(folder / "output")}
    completed = subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=variables, check=False)
    output = folder / "output"
    return completed.returncode, output.read_text() if output.exists() else ""


def test_the_plan_has_the_jobs(tmp_path: Path) -> None:
    assert run_plan(tmp_path, "echo sessions", f"echo '{JOBS}'") == (0, f"jobs={JOBS}\n")


@pytest.mark.parametrize(("nox", "tunematrix"), [("exit 1", f"echo '{JOBS}'"), ("echo sessions", "exit 2")])
def test_a_plan_with_a_part_that_fails_fails(tmp_path: Path, nox: str, tunematrix: str) -> None:
    code, output = run_plan(tmp_path, nox, tunematrix)

    assert (code != 0, output) == (True, "")


@pytest.mark.parametrize(("workflow", "step"), list(steps()))
def test_no_step_hides_a_failure_in_a_pipe_or_a_substitution(workflow: str, step: dict[str, Any]) -> None:
    """The shell fails for the last command of a pipe, and for none inside the arguments of another."""
    assert not re.search(r"(?<!\|)\|(?!\|)|\$\(|`", step["run"]), f"{workflow}: {step['run']}"
