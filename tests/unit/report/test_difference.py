"""The comparison of two records as text, Markdown and JSON: complete, and breakages first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.verdict.test_answer import NOTHING
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Store
from tunematrix.cli import main as cli
from tunematrix.report import difference
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.answer import Judgement, judge
from tunematrix.verdict.diff import SURFACE_PROBE

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
EXPECTED = """BREAKS: old -> new
             not everything was tested, 1 broken, 2 train otherwise, 1 changed default, 2 edits
not tested   align-resume: did not run on both sides
broken       unexplained: DPO fails: KeyError: 'x' (trl/x.py:1)
             align passed -> failed: KeyError: 'x' (trl/x.py:1)
training     unexplained: SFT has a different loss on the same tokens: the fine-tuning stage
             finetune.training_loss 2 -> 3
             generate failed before and passes now
             generate failed: KeyError: 'x' (trl/x.py:1) -> passed
defaults     1 default changed: lr 1 -> 2 (SFTConfig)
             to keep the old ones: lr=1
edits        1 call to edit: trl.SFTConfig(max_seq_length=...) -> max_length=
             1 argument gone: trl.DPOTrainer(beta=)
unchanged    4 of 7 stages passed on both sides: import, download, finetune, finetune-resume
info         1 number is measured on one side; 1 new warning
details      --all shows every difference"""


def judged(before: Record, after: Record) -> Judgement:
    return judge(before, after, NOTHING)


def test_one_screen_shows_the_answer_and_the_findings_worst_first() -> None:
    assert "\n".join(difference.diff_lines(BEFORE, AFTER, judged(BEFORE, AFTER))) == EXPECTED


def test_all_shows_every_difference_too() -> None:
    lines = difference.diff_lines(BEFORE, AFTER, judged(BEFORE, AFTER), everything=True)

    assert "Numbers that moved (2)" in lines
    assert "  finetune.training_loss: 2.0 -> 3.0 (relative 0.5; tolerance 1e-06)" in lines
    assert "  in 6: trl.x: `x` is deprecated and will be removed in v6 (3 times)" in lines


def test_markdown_links_the_cause() -> None:
    judgement = judged(BEFORE, AFTER)
    change = replace(judgement.diff.changes[0], why="because", link="https://example.org")
    comparison = replace(judgement.diff, changes=(change,))
    text = difference.diff_markdown(BEFORE, AFTER, replace(judgement, diff=comparison))

    assert text.startswith("# BREAKS: old -> new\n")
    assert "tolerance 1e-06)`: [because](https://example.org)" in text
    assert "- **broken** DPO fails: KeyError: 'x' (trl/x.py:1)" in text


@pytest.fixture(name="cells")
def _cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    (tmp_path / "known-changes.toml").write_text("schema = 1\n")
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
    path = str(cells / "results/tiny-gpt2/old.json")

    assert run(capsys, "old", "new")[0] == 1
    assert run(capsys, path, "new") == run(capsys, "old", "new")
    code, out = run(capsys, path, path)
    assert (code, out.splitlines()[0]) == (3, "CANNOT TELL: old -> old")  # generate fails in both
    assert "not tested   generate: failed in both: KeyError: 'x' (trl/x.py:1)" in out
    assert run(capsys, "new", "new")[0] == 3


def test_json_has_the_documented_format(cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(run(capsys, "old", "new", "--json")[1])

    assert (content["verdict"], content["answer"]) == ("regressed", "BREAKS")
    assert content["findings"][0] == {
        "id": "broken-align",
        "severity": "broken",
        "title": "DPO fails: KeyError: 'x' (trl/x.py:1)",
        "cause": None,
        "evidence": [{"name": "align", "before": "passed", "after": "failed: KeyError: 'x' (trl/x.py:1)"}],
        "fields": ["align"],
        "action": (
            "unexplained; find the release: tunematrix bisect trl 1.0 2.0 --stage align "
            "--cell old --model tiny-gpt2"
        ),
        "accepted": False,
        "places": [],
    }
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
    paths = (str(cells / "results/tiny-gpt2/old.json"), str(cells / "results/smollm2-135m/new.json"))

    for arguments, message in (
        (paths, "ran with model name tiny-gpt2, new with smollm2-135m"),
        (("newer", "old"), "no cell 'newer'"),
        (("old", "new", "--model", "tiny-llama"), "no record of old with tiny-llama; run the cell first"),
        ((paths[0], str(cells / "x.json")), "no such record"),
    ):
        code, out = run(capsys, *arguments)
        assert (code, message in out) == (2, True), out
