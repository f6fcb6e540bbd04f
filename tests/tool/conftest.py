"""Tests of the installed program: real uv, real processes, nothing mocked.

The cells are toys: the in-cell test tools without a stack, so that ``import`` fails at once and the rest
of the machinery is seen in a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

collect_ignore = ["variants"]  # run in cells, as a workload
ROOT = Path(__file__).parents[2]
TOOLS = "pytest==9.0.2\npytest-timeout==2.4.0\npytest-reportlog==1.0.0\nclick==8.3.1\npyyaml==6.0.3\n"
NEEDS = "iniconfig==2.3.0\npackaging==25.0\npluggy==1.6.0\npygments==2.19.2\n"


class Lab:
    """A scratch folder of cells and results, and the program run on it."""

    def __init__(self, folder: Path) -> None:
        self.constraints = folder / "constraints"
        self.results = folder / "results"
        self.workload = folder / "workload"
        for made in (self.constraints, self.workload):
            made.mkdir()
        settings = {
            "TUNEMATRIX_CONSTRAINTS": str(self.constraints),
            "TUNEMATRIX_RESULTS": str(self.results),
            "TUNEMATRIX_CACHE": str(folder.parent / "cache"),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNEMATRIX_")}
        self.variables = {**kept, **settings}

    def toy(self, name: str = "toy", extra: str = "") -> None:
        (self.constraints / f"{name}.txt").write_text(TOOLS + NEEDS + extra)

    def test(self, source: str) -> None:
        """Give the cells one further test."""
        text = f"import os, signal, time, pytest\npytestmark = pytest.mark.integration\n{source}\n"
        (self.workload / "test_own.py").write_text(text)

    def command(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "tunematrix", *arguments]
        if arguments[0] == "run":
            command += ["--model", "tiny-gpt2", "--workload", str(self.workload)]
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
        return dict(json.loads((self.results / f"{cell}.json").read_text()))

    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.results / "summary.json").read_text()))


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
