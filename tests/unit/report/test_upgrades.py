"""Upgrades of the shipped baseline, from the records of real runs on SmolLM2: what a person reads.

The expected texts lie beside the records. To write them again after a change of wording, and then read them:
``python -m tests.unit.report.test_upgrades``.
"""

from __future__ import annotations

import datetime
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record, from_dict
from tunematrix.base.store import Store
from tunematrix.locks import lock, table
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import candidate
from tunematrix.questions.candidate import Baseline, Candidate
from tunematrix.questions.requests import advise, nothing_moves
from tunematrix.questions.upgrade import Answer, Fix, Upgrader
from tunematrix.report import upgrade as report
from tunematrix.run.options import Options
from tunematrix.verdict.answer import BEHAVIOUR_CHANGES, BREAKS, SAFE_WITH_EDITS, Knowledge, judge

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests/data/upgrades"
# The gate's answer, and an effect that the answer must name.
EXPECTED = {
    "trl-1.16.0": (BREAKS, "dpo-resume-loses-adapter"),
    "trl-0.29.1": (BREAKS, "dpo-resume-loses-adapter"),
    "transformers-5.1.0": (BREAKS, "broken-align"),
    "peft-0.21.2": (SAFE_WITH_EDITS, "edit-names"),
    "against-latest": (BREAKS, "dpo-rewritten"),
}


def load(name: str) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes())))


def knowledge() -> Knowledge:
    return Knowledge.load(ROOT / "constraints", today=datetime.date(2026, 11, 24))


def answer(name: str) -> Answer:
    """The answer that ``upgrade`` gives for the stored runs."""
    matrix, store = table.load(ROOT / "constraints"), Store(Path("results"))
    cell = matrix.cell("trl-0.26")
    before, content = replace(from_dict(load("trl-0.26")["record"]), reused=False), load(name)
    base = Baseline(
        cell=cell,
        matrix=matrix,
        store=store,
        packages=lock.read_versions(matrix.lock_path(cell)),
        direct=(*cell.pins, *lock.WORKFLOW_PACKAGES),
    )
    made, after = _candidate(base, content, content["requests"], store)
    fix = None
    if "fix" in content:
        extra = content["fix"]["requests"]
        fixed, record = _candidate(base, content["fix"], [*content["requests"], *extra], store)
        fix = Fix(requests=tuple(extra), judgement=judge(before, record, knowledge()), moved=fixed.moved)
    return Answer(
        baseline=cell.name,
        requests=tuple(content["requests"]),
        judgement=judge(before, after, knowledge()),
        candidate=made,
        before=before,
        after=after,
        fix=fix,
        advice=tuple(advise(base, made)),
        details=Path("results/candidates/smollm2-135m") / made.cell.name / "changes.md",
    )


def _candidate(
    base: Baseline, content: dict[str, Any], requests: list[str], store: Store
) -> tuple[Candidate, Record]:
    made, _ = candidate.describe(base, requests, content["lock"], store)
    return made, from_dict(content["record"])


def text(name: str) -> str:
    return "\n".join(report.upgrade_lines(answer(name))) + "\n"


@pytest.mark.parametrize("name", EXPECTED)
def test_the_answer_fits_one_screen_and_says_what_is_expected(name: str) -> None:
    shown = text(name)

    assert shown == (DATA / f"{name}.txt").read_text(encoding="utf-8")
    assert len(shown.splitlines()) <= 40


@pytest.mark.parametrize("name", EXPECTED)
def test_the_gate_and_the_finding_that_matters(name: str) -> None:
    word, finding = EXPECTED[name]
    judgement = answer(name).judgement

    assert judgement.answer == word
    assert judgement.exit_code == int(word in (BREAKS, BEHAVIOUR_CHANGES))
    assert finding in {one.id for one in judgement.findings}
    assert sum(one.loud for one in judgement.findings) <= 15
    fields = [field for one in judgement.findings for field in one.fields]
    assert len(fields) == len(set(fields)), "a difference belongs to two findings"


@pytest.mark.parametrize(("page", "name"), [("README.md", "trl-1.16.0"), ("docs/upgrade.md", "trl-0.29.1")])
def test_the_pages_show_what_a_run_prints(page: str, name: str) -> None:
    assert text(name) in (ROOT / page).read_text(encoding="utf-8")


def test_the_tried_fix_repairs_the_resume() -> None:
    fixed = answer("trl-1.16.0").fix

    assert fixed is not None
    assert "dpo-resume-loses-adapter" not in {one.id for one in fixed.judgement.findings}


def test_what_did_not_run_in_the_tried_fix_is_not_called_fixed() -> None:
    told = answer("trl-1.16.0")
    assert told.fix is not None
    assert "fixes 1 (" in " ".join(text("trl-1.16.0").split())
    judgement = told.fix.judgement
    stages = {name: (old, "not_run", "") for name, (old, _, _) in judgement.diff.stages.items()}
    unrun = replace(judgement, diff=replace(judgement.diff, stages=stages))
    lines = " ".join(
        " ".join(report.upgrade_lines(replace(told, fix=replace(told.fix, judgement=unrun)))).split()
    )
    assert "does not help" in lines
    assert "1 not tried again, since its stage did not run" in lines


def test_the_next_command_has_what_the_last_one_was_given() -> None:
    given = replace(answer("trl-0.29.1"), given=("--run", "python train.py"))
    lines = [line for line in report.upgrade_lines(given) if "tunematrix " in line]
    assert lines
    assert all("--run 'python train.py'" in line for line in lines)


def test_a_release_that_the_baseline_has_already_is_no_upgrade() -> None:
    """``upgrade accelerate==1.15.0`` once answered SAFE, and moved nothing."""
    matrix = table.load(ROOT / "constraints")
    packages = lock.read_versions(matrix.lock_path(matrix.cell("trl-0.26")))
    base = Baseline(cell=matrix.cell("trl-0.26"), matrix=matrix, store=Store(Path("x")), packages=packages)
    same = "".join(f"{name}=={version}\n" for name, version in packages.items())
    made, _ = candidate.describe(base, ["accelerate==1.15.0"], same, base.store)

    with pytest.raises(UsageError) as caught:
        nothing_moves(made, base)
    assert str(caught.value) == (
        "accelerate==1.15.0 asks for nothing new: trl-0.26 has accelerate 1.15.0 already; "
        "name another release, such as 'accelerate==...'"
    )


def test_causes_and_fixes_hold_for_a_baseline_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the constraints folder, not beside the scratch lock of somebody's file."""
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(ROOT / "constraints"))
    base = Baseline(cell=Cell(name="ours"), matrix=Matrix(folder=tmp_path, cells=()), store=Store(tmp_path))
    upgrader = Upgrader(base=base, options=Options(), store=base.store, progress=lambda _: None)

    assert upgrader.knowledge.known
    assert upgrader.knowledge.ledger.issues


if __name__ == "__main__":
    for each in EXPECTED:
        (DATA / f"{each}.txt").write_text(text(each), encoding="utf-8")
