"""The workflows in docs/your-repository.md call those of this project, with the rights that these need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tunematrix import __version__
from tunematrix.pulls.lookup import ARTIFACT, LABEL

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/your-repository.md").read_text(encoding="utf-8")
FENCED = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
BLOCKS = [block for block in FENCED if "/workflows/tunematrix" in block]


def job(content: dict[str, Any]) -> dict[str, Any]:
    (found,) = content["jobs"].values()
    return dict(found)


def test_they_are_under_20_lines_together() -> None:
    assert len(BLOCKS) == 2
    lines = [line for block in BLOCKS for line in block.splitlines() if not line.startswith("#")]
    assert len(lines) < 20
    assert f"two files in your repository, {len(lines)}" in TEXT


def test_they_give_the_rights_that_the_called_workflow_uses_and_no_others() -> None:
    for block in BLOCKS:
        content = yaml.safe_load(block)
        path = job(content)["uses"].partition("tunematrix/")[2].partition("@")[0]
        called = yaml.safe_load((ROOT / path).read_text())
        given = job(content).get("permissions", content.get("permissions"))
        assert given == job(called)["permissions"]
        assert "workflow_call" in called[True]


def test_names_are_those_of_the_program() -> None:
    assert f'gh label create "{LABEL}"' in TEXT
    for name in ("pull-request.yml", "pull-request-comment.yml"):
        assert f"name: {ARTIFACT}\n" in (ROOT / ".github/workflows" / name).read_text()
    (upgrade, comment) = map(yaml.safe_load, BLOCKS)
    assert comment[True]["workflow_run"]["workflows"] == [upgrade["name"]]


def test_the_action_installs_this_release() -> None:
    (path,) = re.findall(r"uses: OWNER/tunematrix/(\.github/actions/\S+)@SHA", TEXT)
    action = yaml.safe_load((ROOT / path / "action.yml").read_text())
    assert action["inputs"]["version"]["default"] == __version__
