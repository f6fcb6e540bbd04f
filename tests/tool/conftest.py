"""Tests of the installed program: real uv, real processes, nothing mocked.

The cells are toys: their locks hold the test tools but no stack, so the stage ``import`` fails at once and
a whole run takes a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

collect_ignore = ["variants"]  # runs in cells, as a workload
ROOT = Path(__file__).parents[2]
TOOLS = "pytest==9.0.2\npytest-timeout==2.4.0\npytest-reportlog==1.0.0\nclick==8.3.1\npyyaml==6.0.3\n"
TOOL_DEPENDENCIES = "iniconfig==2.3.0\npackaging==25.0\npluggy==1.6.0\npygments==2.19.2\n"


class Sandbox:
    """A temporary folder of cells, results and a workload, and the program run on it."""

    def __init__(self, folder: Path) -> None:
        self.constraints = folder / "constraints"
        self.results = folder / "results"
        self.workload = folder / "workload"
        for path in (self.constraints, self.workload):
            path.mkdir()
        settings = {
            "TUNEMATRIX_CONSTRAINTS": str(self.constraints),
            "TUNEMATRIX_RESULTS": str(self.results),
            "TUNEMATRIX_CACHE": str(folder.parent / "cache"),
        }
        others = ("TUNEMATRIX_", "CI")  # where there is one, the program shows less
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        self.variables = {**inherited, **settings}

    def add_cell(self, name: str = "toy", extra: str = "") -> None:
        """Write the lock of a cell: the test tools and the ``extra`` pins."""
        (self.constraints / f"{name}.txt").write_text(TOOLS + TOOL_DEPENDENCIES + extra)

    def set_test(self, source: str) -> None:
        """Make ``source`` the test of the workload, which every cell runs."""
        text = f"import os, signal, time, pytest\npytestmark = pytest.mark.integration\n{source}\n"
        (self.workload / "test_workload.py").write_text(text)

    def command(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "tunematrix", *arguments]
        if arguments[0] == "run":
            model = [] if "--model" in arguments else ["--model", "tiny-gpt2"]
            workload = ["--workload", str(self.workload)] if any(self.workload.iterdir()) else []
            command += [*model, *workload]
        return command

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=ROOT,
            env={**self.variables, **settings},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str, **settings: str) -> tuple[int, str]:
        process = self.start(*arguments, **settings)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def record(self, cell: str = "toy") -> dict[str, Any]:
        """The last complete record of a cell."""
        return dict(json.loads((self.results / f"tiny-gpt2/{cell}.json").read_text()))

    def interrupted(self, cell: str = "toy") -> dict[str, Any]:
        """The record of a later run that was interrupted."""
        return dict(json.loads((self.results / f"tiny-gpt2/{cell}/interrupted.json").read_text()))

    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.results / "summary.json").read_text()))


@pytest.fixture(name="sandbox")
def _sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)
