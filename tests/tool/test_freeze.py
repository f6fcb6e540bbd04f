"""A real cell is frozen: refused when the tree is not clean, written twice alike, read as it was written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.nightly, pytest.mark.timeout(1800)]
ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Path:
    """A repository of a team with one lock; this program's code lies in none, as that of a wheel."""
    repository = tmp_path / "repository"
    (repository / "constraints").mkdir(parents=True)
    shutil.copyfile(ROOT / "constraints/latest.txt", repository / "constraints/ours.txt")
    shutil.copytree(ROOT / "src/tunematrix", tmp_path / "code/tunematrix")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        names = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", "-C", str(repository), *names, *command], check=True)
    return repository


def exchange(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "PYTHONPATH": str(repository.parent / "code"),
        "TUNEMATRIX_RESULTS": str(repository.parent / "results"),
    }
    command = [sys.executable, "-m", "tunematrix", "exchange", *arguments]
    return subprocess.run(command, cwd=repository, env=variables, capture_output=True, text=True, check=False)


def test_a_cell_is_frozen_once_and_reads_what_it_froze(repository: Path) -> None:
    other = repository / "other.txt"
    other.write_text("")
    refused = exchange(repository, "--freeze", "ours")
    assert (refused.returncode, "not as committed: other.txt" in refused.stderr) == (2, True)
    other.unlink()

    frozen = exchange(repository, "--freeze", "ours")

    assert frozen.returncode == 0, frozen.stderr
    assert "ours: wrote the same" in frozen.stderr
    folder = repository / "constraints/frozen/ours"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000
    again = exchange(repository, "--freeze", "ours")
    assert (again.returncode, "is frozen already" in again.stderr) == (2, True)
    pairs = json.loads(exchange(repository, "ours", "--json").stdout)["pairs"]
    kept = {pair["artifact"]: pair for pair in pairs if pair["writer"] == "ours (frozen)"}
    assert len(kept) > 20
    assert {name for name, pair in kept.items() if pair["outcome"] != "same"} <= {"experts-by-name"}
