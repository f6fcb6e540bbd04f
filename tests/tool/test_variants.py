"""Every option of the pipeline, in the oldest and the newest stack and in the one that changed DPO."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tool.conftest import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param("trl-0.12", marks=pytest.mark.nightly),
        pytest.param("trl-0.29", marks=pytest.mark.nightly),
        "latest",
    ],
)
def test_every_option_works_in(cell: str, tmp_path: Path) -> None:
    variants = Path(__file__).with_name("variants")
    command = [sys.executable, "-m", "tunematrix", "run", cell, "--model", "tiny-llama"]
    command += ["--workload", str(variants), "-k", "test_variants"]
    variables = {**os.environ, "TUNEMATRIX_RESULTS": str(tmp_path)}

    process = subprocess.run(command, cwd=ROOT, env=variables, check=False, capture_output=True, text=True)

    assert process.returncode == 0, process.stdout + process.stderr
    record = json.loads((tmp_path / "tiny-llama" / cell / "partial.json").read_text())
    assert len(record["probes"]) == 15
    assert {probe["outcome"] for probe in record["probes"]} == {"passed"}
