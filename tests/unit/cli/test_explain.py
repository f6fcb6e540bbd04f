"""``explain`` and ``check``: cells, files and requests, and what is no environment."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.verdict.test_prediction import LADDER
from tunematrix.cli.explain import print_commands
from tunematrix.cli.main import main
from tunematrix.report import stack_changelog
from tunematrix.verdict import releases

ROOT = Path(__file__).parents[3]
DATA = ROOT / "src/tunematrix/verdict/rungs"


@pytest.fixture(name="folder", autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    matrix = 'schema = 1\n[defaults]\npython = "3.11"\n[[cell]]\nname = "old"\npins = {trl = "1.1"}\n'
    (tmp_path / "matrix.toml").write_text(matrix)
    (tmp_path / "old.txt").write_text("trl==1.1\nnumpy==2.0\ntransformers==5.23.0\npeft==0.18.1\n")
    (tmp_path / "ours.txt").write_text("trl==1.3\nnumpy==2.0\ntransformers==5.23.0\npeft==0.18.1\n")
    (tmp_path / "loose.txt").write_text("trl>=1.3\n")
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(releases, "load", lambda: LADDER)
    return tmp_path


def explain(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["explain", *arguments])
    return int(exit_.value.code or 0)


@pytest.mark.parametrize("after", ["ours.txt", "trl==1.3", "trl>=1.2,<1.4"])
def test_a_cell_is_compared_with_a_file_or_a_request(after: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("old", after, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["moved"] == {"trl": ["1.1", "1.3"]}
    assert [each["release"] for each in answer["found"]] == ["1.3", "1.2"]


@pytest.mark.parametrize("after", ["trl>=1.2", "trl", "TRL"])
def test_of_a_range_it_is_the_newest_release_of_the_ladder(
    after: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("old", after, "--json") == 0
    assert json.loads(capsys.readouterr().out)["moved"] == {"trl": ["1.1", "1.5"]}


def test_the_answer_is_for_people_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("ours.txt", "old") == 0
    assert "training     trl 1.3: undone: title 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["old", "nothing"], "nothing"),
        (["old", "ours.txt", "old"], "name one cell or file for B"),
        (["old", "loose.txt"], "loose.txt: pins no package to one version"),
        (["old", "trl==7.*"], "the ladder has no such release of trl"),
        (["old", "trl==1.0,>2"], "the ladder has no such release of trl"),
        (["old", "==1"], "not a request such as"),
        (["old", "numpy>=2"], "the ladder has no such release of numpy; name one: numpy==VERSION"),
        (["old", "trll==1.2"], "trll==1.2: old has no trll; did you mean 'trl'?"),
        (["missing.txt", "old"], "missing.txt"),
    ],
)
def test_bad_input_is_told_in_a_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(*arguments) == 2
    assert message in capsys.readouterr().err


def test_the_documented_answer_is_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(ROOT / "constraints"))
    monkeypatch.setattr(releases, "load", lambda: releases.read(DATA))
    assert explain("trl-1.6", "trl-1.12") == 0
    assert (
        f"$ tunematrix explain trl-1.6 trl-1.12\n{capsys.readouterr().out}```"
        in (ROOT / "docs/ladder.md").read_text()
    )


def test_the_changelog_is_made_from_the_data() -> None:
    lines = stack_changelog.lines(releases.read(DATA))
    assert (ROOT / "docs/stack-changelog.md").read_text() == "\n".join(lines)


@pytest.mark.parametrize(
    ("style", "expected"),
    [("text", "1 known problem"), ("json", '"id": "trl-1.3"'), ("github", "::error file=ours.txt")],
)
def test_check_tells_what_is_broken(
    style: str, expected: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = replace(LADDER[1], stages={"finetune": ("passed", "failed: KeyError")})
    monkeypatch.setattr(releases, "load", lambda: (broken,))
    with pytest.raises(SystemExit) as exit_:
        main(["check", "ours.txt", "--format", style])
    assert exit_.value.code == 1
    assert expected in capfd.readouterr().out
    with pytest.raises(SystemExit) as exit_:
        main(["check", "old", "--format", style])
    assert exit_.value.code == 0


def test_where_there_are_no_cells_a_name_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path / "missing"))
    with pytest.raises(SystemExit) as exit_:
        main(["check", "nope.txt"])
    assert exit_.value.code == 2
    assert "nope.txt: no such file, and here are no cells" in capsys.readouterr().err


def test_commands_come_out_at_once_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They pass by what cleans the output, so neither its flush nor its escapes reach them."""
    path = tmp_path / "output"
    with path.open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        print_commands(["::error file=é.txt::x"])
        assert path.read_text() == "::error file=\\xe9.txt::x\n"


def test_check_reads_the_installed_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = [("TRL", "1.1"), ("trl", "1.3"), ("peft", "0.2"), ("transformers", "5.23.0")]
    installed = [SimpleNamespace(metadata={"Name": name}, version=version) for name, version in versions]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: installed)
    broken = replace(LADDER[1], stages={"finetune": ("passed", "failed: KeyError")})
    monkeypatch.setattr(releases, "load", lambda: (broken,))
    with pytest.raises(SystemExit) as exit_:
        main(["check", "--installed"])
    assert exit_.value.code == 0
    assert "this environment: no known problems" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a cell or a file, or pass --installed"),
        (["old", "--installed"], "name a cell or a file, or pass --installed"),
        (["none.txt"], "none.txt: no exact version of transformers;"),
        (["loose.txt"], "loose.txt: pins no package to one version"),
        (["half.txt"], "half.txt: no exact version of trl; freeze your environment"),
    ],
)
def test_bad_input_of_check_is_told_in_a_line(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "none.txt").write_text("numpy==2.0\n")
    (folder / "half.txt").write_text("transformers==5.16.1\ntrl>=1.12\n")
    with pytest.raises(SystemExit) as exit_:
        main(["check", *arguments])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_an_environment_without_trl_can_be_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plain.txt").write_text("transformers==5.16.1\n")
    with pytest.raises(SystemExit) as exit_:
        main(["check", "plain.txt"])
    assert exit_.value.code == 0
    assert "plain.txt: no known problems" in capsys.readouterr().out
