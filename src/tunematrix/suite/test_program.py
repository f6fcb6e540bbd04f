"""The pipeline as a separate program; the stages call it in process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tunematrix.harness.endpoint import uses_embedded_hub
from tunematrix.harness.workflow import ensure_ready
from tunematrix.shared.stages import DEFAULT_MODEL

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_program(tmp_path: Path) -> None:
    """``python -m tunematrix.pipeline download`` downloads only the requested file and exits with 0."""
    ensure_ready()
    repo = os.environ.get("TUNEMATRIX_REPO", DEFAULT_MODEL)
    config = {"models": [{"repo": repo, "output_dir": str(tmp_path / "model"), "files": ["config.json"]}]}
    (tmp_path / "download.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "tunematrix.pipeline", "download", "--config", "download.yaml"]

    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    if process.returncode == 3 and not uses_embedded_hub():
        pytest.skip(process.stderr.splitlines()[-1])
    assert process.returncode == 0, process.stderr
    assert "1 files fetched, all verified" in process.stdout
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config.json"]
