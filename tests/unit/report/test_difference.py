"""The comparison of two records as text, Markdown and JSON: complete, and breakages first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Store
from tunematrix.cli import main as cli
from tunematrix.report import difference
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.diff import SURFACE_PROBE, compare

WARNING = {
    "category": "FutureWarning",
    "message": "`x` is deprecated and will be removed in v6",
    "module": "trl.x",
    "count": 3,
}


def record(cell: str, **outcomes: str) -> Record:
    def stage(name: str) -> Result:
        outcome = outcomes.get(name.replace("-", "_"), "passed")
        error = Failure(type="KeyError", message="'x'", where="trl/x.py:1") if outcome == "failed" else None
        return Result(name=name, outcome=outcome, error=error)

    return Record(
        cell=cell,
        outcome="passed",
        model={"name": "tiny-gpt2"},
        stages=tuple(stage(name) for name in STAGES),
        probes=(Result(name=SURFACE_PROBE, outcome="passed"),),
    )


BEFORE = replace(
    record("old", generate="failed"),
    fingerprint={"finetune.training_loss": 2.0, "t.sft.text.entropy": 1.0, "t.sft.text.rows": 1},
    defaults={"SFTConfig": {"lr": 1}},
    signatures={"trl.DPOTrainer": ["beta"]},
    call_sites=({"call": "trl.SFTConfig", "argument": "max_length", "use": "max_seq_length"},),
    environment={"packages": {"trl": "1.0"}},
)
AFTER = replace(
    record("new", align="failed", align_resume="not_run"),
    fingerprint={"finetune.training_loss": 3.0, "t.sft.text.rows": 1},
    defaults={"SFTConfig": {"lr": 2}},
    signatures={"trl.DPOTrainer": []},
    warnings=(WARNING,),
    environment={"packages": {"trl": "2.0"}},
)
EXPECTED = """old -> new: REGRESSED: something that worked no longer works

What broke (1)
  align: passed -> failed [api] KeyError: 'x' (trl/x.py:1)

What did not run on both sides (1)
  align-resume: passed -> not_run

What was fixed (1)
  generate: failed -> passed [other] KeyError: 'x' (trl/x.py:1)

Numbers that moved (2)
  finetune.training_loss: 2.0 -> 3.0 (relative 0.5; tolerance 1e-06)
  t.sft.text.entropy: 1.0 -> <absent>

Defaults that changed (1)
  SFTConfig.lr: 1 -> 2

Edits needed (2)
  trl.SFTConfig(max_seq_length=...) -> max_length=
  if you use trl.DPOTrainer(beta): removed

New warnings (1)
  trl.x: `x` is deprecated and will be removed in v6

Will break (1)
  in 6: trl.x: `x` is deprecated and will be removed in v6 (3 times)

Packages that moved (1)
  trl 1.0 -> 2.0"""


def test_the_most_important_sections_come_first() -> None:
    text = "\n".join(difference.diff_lines(BEFORE, AFTER, compare(BEFORE, AFTER)))

    assert text == EXPECTED.replace("[api]", "[other]")


def test_long_sections_are_shortened_on_the_terminal() -> None:
    before = replace(BEFORE, fingerprint={f"n{number}": number for number in range(30)})
    after = replace(BEFORE, fingerprint={f"n{number}": number + 1 for number in range(30)})
    lines = list(difference.diff_lines(before, after, compare(before, after), 20))

    assert "Numbers that moved (30)" in lines
    assert "  ... and 10 more" in lines


def test_markdown_links_the_cause() -> None:
    comparison = compare(BEFORE, AFTER)
    change = replace(comparison.changes[0], why="because", link="https://example.org")
    text = difference.diff_markdown(BEFORE, AFTER, replace(comparison, changes=(change,)))

    assert text.startswith("# old -> new: REGRESSED")
    assert "tolerance 1e-06)`: [because](https://example.org)" in text


@pytest.fixture(name="cells")
def _cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    for name in ("old", "new"):
        (tmp_path / f"{name}.txt").write_text("trl==1.0\n")
    for saved in (BEFORE, AFTER):
        Store(tmp_path / "results").save(saved)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(["diff", *arguments])
    captured = capsys.readouterr()
    return caught.value.code, captured.out + captured.err


def test_cells_and_files_are_compared_and_the_verdict_sets_the_exit_code(
    cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(cells / "results" / "old.json")

    assert run(capsys, "old", "new")[0] == 1
    assert run(capsys, path, "new") == run(capsys, "old", "new")
    code, out = run(capsys, path, path)
    assert (code, out) == (0, "old -> old: SAME: nothing changed\n")
    assert run(capsys, "new", "new")[0] == 3  # a stage did not run, so the verdict is unknown


def test_json_has_the_documented_format(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(run(capsys, "old", "new", "--json")[1])

    assert content["verdict"] == "regressed"
    assert content["stages"]["align"] == {"before": "passed", "after": "failed", "verdict": "regressed"}
    assert content["packages"] == {"trl": ["1.0", "2.0"]}
    assert content["changes"][0] == {
        "kind": "fingerprint", "name": "finetune.training_loss", "before": 2.0, "after": 3.0, "since": "old",
    }  # fmt: skip
    assert [change["edit"] for change in content["changes"] if "edit" in change] == [
        "trl.SFTConfig(max_seq_length=...) -> max_length="
    ]
    assert "## What broke" in run(capsys, "old", "new", "--markdown")[1]


def test_show_prints_one_record_with_its_failures(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["show", "old"])

    lines = capsys.readouterr().out.splitlines()
    assert caught.value.code == 0
    assert lines[0].startswith("old: passed, tiny-gpt2")
    assert "  generate                     failed      0.0 s" in lines
    assert "  generate [other]: KeyError: 'x' (trl/x.py:1)" in lines
    assert "  adapted: trl.SFTConfig(max_length) -> max_seq_length" in lines


def test_records_that_cannot_be_compared_are_an_error(
    cells: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store().save(replace(AFTER, model={"name": "smollm2-135m"}))

    for arguments, message in (
        (("old", "new"), "ran with model name tiny-gpt2, new with smollm2-135m"),
        (("old", "newer"), "no cell 'newer'"),
        (("old", str(cells / "x.json")), "no such record"),
    ):
        code, out = run(capsys, *arguments)
        assert (code, message in out) == (2, True), out
