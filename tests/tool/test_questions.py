"""The questions before a bump, asked of toy releases with planted faults: real uv, real processes."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tool import toys
from tests.tool.conftest import NEEDS, TOOLS, Lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


class Project:
    """A toy project on an index of its own."""

    def __init__(self, lab: Lab, url: str, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.variables = {**lab.variables, "UV_DEFAULT_INDEX": url, "UV_CACHE_DIR": str(folder.parent / "uv")}
        lab.toy("base", "toy==1.0\ntoydep==1.0\n")
        toys.write_suite(folder / "suite")
        (folder / "project").mkdir()
        self.variables["TUNEMATRIX_SUITE"] = str(folder / "suite")

    def ask(self, *arguments: str) -> tuple[int, Any, str]:
        """The exit code, what ``--json`` printed, and what was told beside it."""
        command = self.lab.command(*arguments, "--model", "tiny-gpt2")
        done = subprocess.run(
            command,
            cwd=self.folder / "project",
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        answer = json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout
        return done.returncode, answer, done.stderr


@pytest.fixture(name="url", scope="module")
def _url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One index for all tests here: uv keeps what it fetches by address."""
    wheels = tmp_path_factory.mktemp("wheels")
    toys.write_wheels(wheels)
    with toys.index(wheels) as url:
        yield url


@pytest.fixture(name="project")
def _project(lab: Lab, tmp_path: Path, url: str) -> Project:
    return Project(lab, url, tmp_path)


def test_bisect_finds_what_was_planted(project: Project) -> None:
    code, found, told = project.ask(
        "bisect", "toy", "1.0", "1.8", "--metric", "align.loss", "--cell", "base", "--json"
    )
    assert (code, found["first_bad"]) == (0, "1.2"), told
    assert (
        len([step for step in found["steps"] if step["verdict"] != "untestable"])
        <= math.ceil(math.log2(9)) + 2
    )

    code, found, told = project.ask("bisect", "toy", "1.0", "1.6", "--cell", "base", "--json")
    assert (code, found["first_bad"], found["date"]) == (0, "1.4", "2026-01-05"), told

    code, found, told = project.ask("bisect", "toy", "1.4", "1.8", "--find-fix", "--cell", "base", "--json")
    assert (code, found["first_good"]) == (0, "1.7"), told
    code, shown, _ = project.ask("bisect", "toy", "1.4", "1.8", "--find-fix", "--cell", "base")
    assert "first fixed: toy 1.7, released 2026-01-08" in shown

    code, _, told = project.ask("bisect", "toy", "1.0", "1.1", "--cell", "base")
    assert (code, "nothing to bisect: 1.1 is good" in told) == (2, True)


def test_what_cannot_be_installed_is_untestable_and_the_answer_a_range(project: Project) -> None:
    code, found, told = project.ask("bisect", "toy", "1.5", "1.8", "--find-fix", "--cell", "base", "--json")
    assert (code, "1.5 is untestable" in told) == (2, True), found

    code, found, told = project.ask("bisect", "toy", "1.3", "1.6", "--cell", "base", "--json")
    assert (code, found["first_bad"]) == (0, "1.4"), told


def test_upgrade_has_one_answer_and_says_what_moves_along(project: Project) -> None:
    base = ("--baseline", "base", "--json")
    code, found, told = project.ask("upgrade", "toy==1.1", *base)
    assert (code, found["answer"], found["moved"]) == (0, "SAFE", {"toy": ["1.0", "1.1"]}), told

    code, found, _ = project.ask("upgrade", "toy==1.3", *base)
    assert (code, found["answer"]) == (0, "BEHAVIOUR CHANGES")
    assert [row["name"] for row in found["changes"]] == ["align.loss"]

    code, found, _ = project.ask("upgrade", "toy==1.6", *base)
    assert (code, found["answer"], found["breaks"]) == (1, "BREAKS", ["align"])
    assert found["moved"]["toydep"] == ["1.0", "2.0"]
    assert "bump toydep to 2.0 in the same change: toy asks for it" in found["advice"]

    code, found, _ = project.ask("upgrade", "toy==1.5", *base)
    assert (code, found["answer"]) == (3, "CANNOT TELL")
    code, found, _ = project.ask("upgrade", "toy==7", *base)
    assert (code, found["answer"], "toy==7" in found["reason"]) == (3, "CANNOT TELL", True)
    for wrong in (("toy=1",), (), ("toy==1.1", "--all")):
        code, _, told = project.ask("upgrade", *wrong, "--baseline", "base")
        assert (code, told.startswith("error:")) == (2, True), told


def test_upgrade_reads_a_lock_file_as_baseline(project: Project) -> None:
    lock = project.folder / "ours.txt"
    lock.write_text(TOOLS + NEEDS + "toy==1.2\ntoydep==2.0\n")

    code, found, told = project.ask("upgrade", "toy==1.3", "--baseline", str(lock), "--json")

    assert (code, found["answer"]) == (0, "SAFE"), told
    assert found["baseline"].startswith("ours-")


def test_bounds_are_the_widest_range_that_passes(project: Project) -> None:
    code, found, told = project.ask("bounds", "toy", "toydep", "--baseline", "base", "--json")

    assert code == 0, told
    toy = next(one for one in found["ranges"] if one["package"] == "toy")
    assert (toy["lowest"], toy["highest"], toy["above"]) == ("1.0", "1.3", "1.4")
    assert "planted" in toy["why_above"]
    assert found["highest"] == {"pins": {"toy": "1.3", "toydep": "2.0"}, "wrong": ""}
    code, shown, _ = project.ask("bounds", "toy", "--baseline", "base", "--no-drift")
    assert '    "toy>=1.0,<1.2",' in shown.splitlines()
