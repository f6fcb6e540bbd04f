"""What the summary shows of a cell after its ``workload.toml`` was edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tool.scripts import Team

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_the_summary_shows_what_the_file_lists_and_says_what_to_run(tmp_path: Path) -> None:
    team = Team(tmp_path)
    team.set_scripts(first="print(1)", broken="1 / 0", last="print(3)")
    assert team.run("run", "toy")[0] == 1
    assert team.run("report")[0] == 1

    file = team.workload / "workload.toml"
    first, broken, last = (f"[[stage]]{text}" for text in file.read_text().split("[[stage]]")[1:])
    file.write_text(first + last)
    code, output = team.run("report")
    assert code == 0, "the stage that failed is gone"
    assert "left out, gone: broken" in " ".join(output.split())
    assert team.summary()["cells"][0]["stages"] == dict.fromkeys(("import", "first", "last"), "passed")

    file.write_text(first.replace("first.py", "first.py --more") + last + broken)
    code, output = team.run("report")
    assert code == 1, "a stage that failed and has not changed still fails"
    assert "other command: first" in " ".join(output.split())
    assert "run the cell again: nox -s 'e2e(toy)'" in " ".join(output.split())
    page = (team.results / "tiny-gpt2/summary.html").read_text()
    assert "out of date" in page

    file.write_text(first.replace("first.py", "first.py --more") + last)
    assert team.run("report")[0] == 3
    assert team.summary()["counts"] == {"outdated": 1}
    assert team.run("run", "toy")[0] == 0
    assert team.run("report")[0] == 0
    assert team.summary()["counts"] == {"passed": 1}
