"""``reads`` in a team's repository without trl: what its own scripts kept, resumed with a plain Trainer."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
ROOT: Final = Path(__file__).parents[2]
TEAM: Final = ROOT / "tests/data/plain"
TRL: Final = re.compile(r"(?m)^trl==.*\n(?:[ \t]+.*\n)*")


class Repository:
    """The repository of the team, with the cell ``plain``: the newest stack without trl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(TEAM, folder)
        (folder / "constraints").mkdir()
        lock, count = TRL.subn("", (ROOT / "constraints/latest.txt").read_text())
        assert count == 1
        (folder / "constraints/plain.txt").write_text(lock)
        shutil.copy(ROOT / "constraints/trl-0.26.txt", folder / "constraints/old.txt")
        self.kept = folder / "results/tiny-llama/plain/artifacts/kept"

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """The exit code of a command there, and its JSON."""
        command = [sys.executable, "-m", "tunematrix", *arguments, "--json"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUNEMATRIX_")}
        process = subprocess.run(
            command, cwd=self.folder, env=inherited, capture_output=True, text=True, check=False
        )
        assert process.returncode in (0, 1), process.stderr
        return process.returncode, json.loads(process.stdout)

    def reads(self) -> tuple[int, dict[str, dict[str, tuple[str, str]]]]:
        """The exit code, and by folder and part the outcome and its reason."""
        code, content = self.run("reads", "--cells", "plain")
        return code, {
            Path(answer["folder"]).name: {
                part["part"]: (part["outcome"], part["reason"]) for part in answer["cells"][0]["parts"]
            }
            for answer in content["folders"]
        }


def test_what_a_plain_trainer_saved_is_found_and_resumed(tmp_path: Path) -> None:
    team = Repository(tmp_path / "team")
    assert team.run("run", "plain")[1]["outcome"] == "passed"
    code, found = team.reads()
    assert code == 0
    assert {name: sorted(parts) for name, parts in found.items()} == {
        "full": ["checkpoint-3", "model", "tokenizer"],
        "lora": ["adapter", "checkpoint-3", "tokenizer"],
    }
    assert {outcome for parts in found.values() for outcome in parts.values()} == {("loads", "")}

    for name in ("full", "lora"):
        (team.kept / name / "checkpoint-3/optimizer.pt").unlink()

    code, found = team.reads()
    assert code == 1
    lost = ("differs", "steps of the schedule not as in the files: 3 -> 0")
    assert [found[name]["checkpoint-3"] for name in ("full", "lora")] == [lost, lost]


@pytest.mark.nightly
def test_an_upgrade_says_whether_one_can_go_back(tmp_path: Path) -> None:
    team = Repository(tmp_path / "team")
    code, answer = team.run("upgrade", "--baseline", "old", "--against", "constraints/plain.txt")
    assert (code, answer["answer"]) == (1, "BEHAVIOUR CHANGES")
    assert answer["rollback"] == {
        "same": [
            "full/tokenizer",
            "full/checkpoint-3",
            "lora/adapter",
            "lora/tokenizer",
            "lora/checkpoint-3",
        ],
        "differs": ["full/model"],  # transformers 5 writes the rotary embedding's base where 4 does not look
        "fails": [],
        "unavailable": [],
    }
    [back] = [each for each in answer["findings"] if each["id"].startswith("kept-")]
    assert (back["id"], back["severity"]) == ("kept-full-model-rollback", "info")
    assert back["title"].startswith("no way back for full/model: read otherwise, without an error,")
