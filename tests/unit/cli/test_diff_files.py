"""``tunematrix diff`` of two files that list packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.verdict.test_prediction import LADDER
from tunematrix.cli.main import main
from tunematrix.verdict import releases

OLD = "trl==1.1\nnumpy==2.0\nruff==0.1\nclick>=8\nours @ git+https://host/ours.git\n"
NEW = "trl==1.3\nnumpy==2.0\nclick==8.1\nmypy==1.0\n"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.txt").write_text(OLD)
    (tmp_path / "new.txt").write_text(NEW)
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["trl==1.3", "numpy>=2"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(releases, "load", lambda: LADDER)


def diff(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["diff", *arguments])
    return int(exit_.value.code or 0)


def test_what_moves_and_what_is_known_to_change_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert diff("old.txt", "new.txt") == 0
    out = capsys.readouterr().out
    assert out.startswith("expected BREAKS: old.txt -> new.txt\n")
    assert "broken       trl 1.3: title 3" in out
    assert "tunematrix upgrade --baseline old.txt --against new.txt\n" in out
    assert "changed      1: trl 1.1 -> 1.3\n" in out
    assert "new          1: mypy 1.0\n" in out
    assert "gone         2: ours git+https://host/ours.git, ruff 0.1\n" in out, (
        "click, which has a version on one side only, is not new"
    )
    assert "not compared in old.txt, without one version: 1: click>=8\n" in out


def test_as_json_and_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert diff("old.txt", "new.txt", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["moved"] == {"trl": ["1.1", "1.3"]}
    assert content["others"] == {
        "mypy": [None, "1.0"],
        "ours": ["git+https://host/ours.git", None],
        "ruff": ["0.1", None],
    }
    assert content["not_compared"] == {"old.txt": ["click>=8"], "new.txt": []}
    assert diff("old.txt", "new.txt", "--markdown") == 0
    out = capsys.readouterr().out
    assert out.startswith("# expected BREAKS: old.txt -&gt; new.txt\n\n```\n")
    assert out.endswith("\n```\n")


def test_the_dependencies_of_a_project_are_an_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert diff("old.txt", "pyproject.toml") == 0
    assert "not compared in pyproject.toml, without one version: 1: numpy>=2" in capsys.readouterr().out
    Path("pyproject.toml").write_text("[tool.poetry.dependencies]\ntrl = '1.3'\n")
    assert diff("old.txt", "pyproject.toml") == 2
    assert "pyproject.toml: has no list of [project] dependencies" in capsys.readouterr().err


def test_a_file_and_a_record_are_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert diff("old.txt", "latest") == 2
    assert "old.txt lists packages, and the other is a cell or a record" in capsys.readouterr().err
    Path("record").write_text(' {"schema": 1}')
    assert diff("record", "record") == 2, "a record is one also without .json"
    assert "record" in capsys.readouterr().err


def test_a_package_from_git_that_moves_is_named_and_nothing_is_expected_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, commit in (("old", "abc"), ("new", "def")):
        Path(f"{name}.txt").write_text(f"numpy==2.0\ntrl @ git+https://host/trl.git@{commit}\n")
    assert diff("old.txt", "new.txt") == 0
    out = capsys.readouterr().out
    assert out.startswith("expected CANNOT TELL: old.txt -> new.txt\n")
    assert "trl git+https://host/trl.git@abc -> git+https://host/trl.git@def" in out
    assert "scan" not in out
    with pytest.raises(SystemExit):
        main(["explain", "old.txt", "new.txt"])
    assert "expected CANNOT TELL: old.txt -> new.txt\n" in capsys.readouterr().out
