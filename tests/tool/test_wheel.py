"""The built wheel, installed alone: it runs a real cell in a folder that contains only one lock."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tool.wheel import _program  # noqa: F401  # the fixture "program"

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


def test_the_wheel_runs_a_cell_in_a_folder_with_one_lock(program: Path, tmp_path: Path) -> None:
    (tmp_path / "constraints").mkdir()
    shutil.copy(ROOT / "constraints/latest.txt", tmp_path / "constraints/ours.txt")
    # The cell must import the package, not a folder of the same name in the current folder.
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").write_text("raise RuntimeError('imported from the current folder')")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUNEMATRIX_")}

    process = subprocess.run(
        [str(program), "run", "ours", "--model", "tiny-gpt2"],
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stdout + process.stderr
    (path,) = (tmp_path / "results").rglob("ours.json")
    record = json.loads(path.read_text())
    assert {stage["outcome"] for stage in record["stages"]} == {"passed"}
    assert "tiny-gpt2.sft.text.eval_loss" in record["fingerprint"]


def test_the_wheel_knows_what_is_known(program: Path, tmp_path: Path) -> None:
    """In a folder that knows nothing of this project: the ledger, and the rungs of the ladder."""
    (tmp_path / "requirements.txt").write_text("transformers==5.19.0\npeft==0.21.2\ntrl==1.15.0\n")
    command = [str(program), "check", "requirements.txt", "--format", "json"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stdout + process.stderr
    found = {problem["id"]: problem for problem in json.loads(process.stdout)}
    assert found.keys() == {"dpo-resume-loses-adapter", "trl-1.15.0"}
    assert found["trl-1.15.0"]["fix"] == "trl>=1.16.0 or trl<=1.14.2"
    command = [str(program), "explain", "requirements.txt", "trl==1.16.0"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "trl 1.15.0 -> 1.16.0" in process.stdout
