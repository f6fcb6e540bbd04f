"""``scan``: places to edit are counted, and what ``--fix`` leaves to a person is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from tunematrix.cli import scan
from tunematrix.questions import candidate
from tunematrix.verdict import prediction, releases
from tunematrix.verdict.diff import ABSENT
from tunematrix.verdict.releases import Rung

CODE = """\
from trl import DPOConfig
DPOConfig(output_dir="x", gone=1)
DPOConfig(gone=2, warmup=0.1)
KEYS = {"gone": 1}
DPOConfig(**KEYS)
"""
CHANGES: dict[str, tuple[Any, Any]] = {
    "DPOConfig.gone": (1, ABSENT),
    "trl.DPOConfig(gone)": ("gone", ""),
    "tiny.sweep.DPOConfig.gone": ("#0", ABSENT),
    "TrainingArguments.warmup": (0.0, ABSENT),
    "tiny.sweep.TrainingArguments.warmup": ("#1", ABSENT),
    "DPOConfig.beta": (0.1, 0.2),
}


@pytest.fixture(autouse=True)
def _changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"trl": "1.0"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    found = SimpleNamespace(packages={"trl": "2.0"}, moved={"trl": ("1.0", "2.0")}, requests=("trl==2.0",))
    monkeypatch.setattr(candidate, "load_baseline", lambda *_: SimpleNamespace(packages=packages))
    monkeypatch.setattr(candidate, "resolve", lambda *_: found)
    monkeypatch.setattr(prediction, "net_changes", lambda *_: CHANGES)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.py").write_text(CODE)


def run(*arguments: str, code: int = 1) -> str:
    result = CliRunner().invoke(
        scan.scan_command, ["mine", "--to", "trl==2.0", *arguments], standalone_mode=False
    )
    assert result.exception is None, result.output
    assert result.return_value == code
    return " ".join(result.output.split())


def test_places_are_counted_and_each_change_is_told_once() -> None:
    output = run()
    assert "4 to edit, 1 defaults" in output
    assert output.count("a.py:2, a.py:3, a.py:4: DPOConfig(gone=) is gone; without it, training") == 1
    assert (
        "a.py:3: TrainingArguments(warmup=) is gone; without it, training changes: edit it by hand" in output
    )
    assert "a.py:2, a.py:3, a.py:5: DPOConfig(beta=) is not set" in output


def test_fix_tells_what_it_leaves() -> None:
    output = run("--fix")
    text = Path("mine/a.py").read_text()
    assert text == CODE.replace(", gone=1)", ")").replace("gone=2, ", "")
    assert "not fixed a.py:3: warmup: without it, training changes" in output
    assert "not fixed a.py:4: gone: it is in a dictionary that other calls may use" in output


def test_the_answer_for_programs_says_the_same() -> None:
    places = json.loads(run("--json"))["places"]
    assert {(each["name"], each["by_hand"], each["changes_training"]) for each in places} == {
        ("DPOConfig.gone", None, True),
        ("TrainingArguments.warmup", "without it, training changes", True),
        ("DPOConfig.beta", None, False),
    }


RUNG = Rung(
    day="2026-01-01",
    package="trl",
    before="1.0",
    after="2.0",
    changes={
        **CHANGES,
        "DPOConfig.strategy": (ABSENT, 1),
        "tiny.sweep.DPOConfig.strategy": (ABSENT, "#2"),
        "DPOConfig.logger": (ABSENT, "x"),
        "tiny.sweep.DPOConfig.logger": (ABSENT, {}),
    },
)


def test_what_came_in_place_of_an_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "load", lambda: (RUNG,))
    told = "DPOConfig(gone=) is gone; without it, training changes, since trl 2.0"
    assert f"{told} (2026-01-01), which brought strategy a" in run()


def test_a_move_beyond_the_ladder_is_not_called_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "load", lambda: (replace(RUNG, before="1.5"),))
    monkeypatch.setattr(prediction, "net_changes", lambda *_: {})
    output = run(code=3)
    assert output.startswith("nothing that is known to edit")
    assert "not known releases of trl before 1.5" in output
    assert "4 to edit" in run_with(monkeypatch, CHANGES)


def run_with(monkeypatch: pytest.MonkeyPatch, changes: dict[str, tuple[Any, Any]]) -> str:
    monkeypatch.setattr(prediction, "net_changes", lambda *_: changes)
    return run()
