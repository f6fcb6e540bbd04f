"""``upgrade``, ``bisect`` and ``bounds`` on toy releases with known faults: real uv, real processes."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tool import toys
from tests.tool.conftest import TOOL_DEPENDENCIES, TOOLS, Sandbox

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


class Project:
    """A toy project whose packages come from a toy index."""

    def __init__(self, sandbox: Sandbox, url: str, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        cache = str(folder.parent / "uv")
        self.variables = {**sandbox.variables, "UV_DEFAULT_INDEX": url, "UV_CACHE_DIR": cache}
        self.variables["UV_HTTP_RETRIES"] = "1"  # uv also repeats the download of a broken wheel
        sandbox.add_cell("base", "toy==1.0\ntoydep==1.0\n")
        toys.write_suite(folder / "suite")
        (folder / "project").mkdir()
        self.variables["TUNEMATRIX_SUITE"] = str(folder / "suite")

    def run(self, *arguments: str) -> tuple[int, Any, str]:
        """Run the program; returns the exit code, standard output (parsed if JSON) and standard error."""
        command = self.sandbox.command(*arguments, "--model", "tiny-gpt2")
        process = subprocess.run(
            command,
            cwd=self.folder / "project",
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        output = process.stdout
        return process.returncode, json.loads(output) if output.startswith("{") else output, process.stderr


@pytest.fixture(name="url", scope="module")
def _url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One index for all tests of this module, because uv caches packages by URL."""
    wheels = tmp_path_factory.mktemp("wheels")
    toys.write_wheels(wheels)
    with toys.index(wheels) as url:
        yield url


@pytest.fixture(name="project")
def _project(sandbox: Sandbox, tmp_path: Path, url: str) -> Project:
    return Project(sandbox, url, tmp_path)


def test_bisect_finds_the_planted_faults(project: Project) -> None:
    code, answer, stderr = project.run(
        "bisect", "toy", "1.0", "1.8", "--metric", "align.loss", "--cell", "base", "--json"
    )
    assert (code, answer["first_bad"]) == (0, "1.2"), stderr
    assert (
        len([step for step in answer["steps"] if step["verdict"] != "untestable"])
        <= math.ceil(math.log2(9)) + 2
    )

    code, answer, stderr = project.run("bisect", "toy", "1.0", "1.6", "--cell", "base", "--json")
    assert (code, answer["first_bad"], answer["date"]) == (0, "1.4", "2026-01-05"), stderr

    code, answer, stderr = project.run(
        "bisect", "toy", "1.4", "1.8", "--find-fix", "--cell", "base", "--json"
    )
    assert (code, answer["first_good"]) == (0, "1.7"), stderr
    code, output, _ = project.run("bisect", "toy", "1.4", "1.8", "--find-fix", "--cell", "base")
    assert "first fixed: toy 1.7, released 2026-01-08" in output

    code, _, stderr = project.run("bisect", "toy", "1.0", "1.1", "--cell", "base")
    assert (code, "nothing to bisect: 1.1 is good" in stderr) == (2, True)


def test_bisect_treats_uninstallable_releases_as_untestable(project: Project) -> None:
    code, answer, stderr = project.run(
        "bisect", "toy", "1.5", "1.8", "--find-fix", "--cell", "base", "--json"
    )
    assert (code, "1.5 is untestable" in stderr) == (2, True), answer

    code, answer, stderr = project.run("bisect", "toy", "1.3", "1.6", "--cell", "base", "--json")
    assert (code, answer["first_bad"]) == (0, "1.4"), stderr


def test_upgrade_answers_and_lists_the_packages_that_move(project: Project) -> None:
    base = ("--baseline", "base", "--json")
    code, answer, stderr = project.run("upgrade", "toy==1.1", *base)
    assert (code, answer["answer"], answer["moved"]) == (0, "SAFE", {"toy": ["1.0", "1.1"]}), stderr

    code, answer, _ = project.run("upgrade", "toy==1.3", *base)
    assert (code, answer["answer"]) == (1, "BEHAVIOUR CHANGES")
    assert [change["name"] for change in answer["changes"]] == ["align.loss"]
    assert [finding["fields"] for finding in answer["findings"]] == [["align.loss"]]
    name = answer["findings"][0]["id"]
    code, answer, stderr = project.run("upgrade", "toy==1.3", *base, "--accept", name, "--reason", "fine")
    assert (code, answer["findings"][0]["accepted"]) == (0, True), stderr
    assert project.run("upgrade", "toy==1.3", *base)[0] == 0

    code, answer, _ = project.run("upgrade", "toy==1.6", *base)
    assert (code, answer["answer"], answer["breaks"]) == (1, "BREAKS", ["align"])
    assert answer["moved"]["toydep"] == ["1.0", "2.0"]
    assert "bump toydep to 2.0 in the same change: required by toy" in answer["advice"]

    code, answer, _ = project.run("upgrade", "toy==1.5", *base)
    assert (code, answer["answer"]) == (3, "CANNOT TELL")
    code, answer, _ = project.run("upgrade", "toy==7", *base)
    assert (code, answer["answer"], "toy==7" in answer["reason"]) == (3, "CANNOT TELL", True)
    for arguments in (("toy=1",), (), ("toy==1.1", "--all"), ("toy",), ("toy==1.0",)):
        code, _, stderr = project.run("upgrade", *arguments, "--baseline", "base")
        assert (code, stderr.startswith("error:")) == (2, True), stderr


def test_upgrade_reads_a_lock_file_as_baseline(project: Project) -> None:
    lock = project.folder / "ours.txt"
    lock.write_text(TOOLS + TOOL_DEPENDENCIES + "toy==1.2\ntoydep==2.0\n")

    code, answer, stderr = project.run("upgrade", "toy==1.3", "--baseline", str(lock), "--json")

    assert (code, answer["answer"]) == (0, "SAFE"), stderr
    assert answer["baseline"].startswith("ours-")


def test_bounds_are_the_widest_range_that_passes(project: Project) -> None:
    code, answer, stderr = project.run("bounds", "toy", "toydep", "--baseline", "base", "--json")

    assert code == 0, stderr
    toy = next(entry for entry in answer["ranges"] if entry["package"] == "toy")
    assert (toy["lowest"], toy["highest"], toy["above"]) == ("1.0", "1.3", "1.4")
    assert "planted" in toy["why_above"]
    assert answer["highest"] == {"pins": {"toy": "1.3", "toydep": "2.0"}, "wrong": "", "works": True}
    code, output, _ = project.run("bounds", "toy", "--baseline", "base", "--no-drift")
    assert '    "toy>=1.0,<1.2",' in output.splitlines()
