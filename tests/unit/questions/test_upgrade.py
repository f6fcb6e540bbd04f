"""One answer to a bump: what counts as a break, as a change of behaviour, and as nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Store
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import bounds, candidate, upgrade
from tunematrix.questions.bounds import Bounds, Corner, Range
from tunematrix.questions.candidate import Baseline, Candidate
from tunematrix.questions.upgrade import Answer
from tunematrix.report import answers
from tunematrix.run.options import Options
from tunematrix.shared.stages import STAGES
from tunematrix.verdict import ledger
from tunematrix.verdict.diff import ABSENT, Change, compare

GOOD = Record(
    cell="base", outcome="passed", stages=tuple(Result(name=name, outcome="passed") for name in STAGES)
)


def failed(stage: str, error: str = "KeyError", outcome: str = "failed") -> Record:
    def result(name: str) -> Result:
        wrong = Failure(type=error, message="x")
        return Result(name=name, outcome=outcome, error=wrong) if name == stage else GOOD.stage(name)

    return replace(GOOD, outcome=outcome, stages=tuple(result(name) for name in STAGES))


def with_numbers(**values: Any) -> Record:
    return replace(GOOD, fingerprint={name.replace("__", "."): value for name, value in values.items()})


EDIT = replace(GOOD, call_sites=({"call": "trl.X", "argument": "new", "use": "old"},))
PROBE = Result(name="exchange:load", outcome="failed", error=Failure(type="UnpicklingError", message="x"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (GOOD, GOOD, upgrade.SAFE),
        (GOOD, failed("align"), upgrade.BREAKS),
        (GOOD, failed("align-resume", "Mismatch"), upgrade.CHANGES),
        (GOOD, failed("align", outcome="skipped"), upgrade.UNKNOWN),
        (GOOD, replace(GOOD, outcome="uninstallable", stages=()), upgrade.UNKNOWN),
        (GOOD, replace(GOOD, probes=(PROBE,)), upgrade.BREAKS),
        (failed("align"), GOOD, upgrade.SAFE),
        (failed("align"), failed("align"), upgrade.SAFE),
        (EDIT, GOOD, upgrade.EDITS),
        (with_numbers(x__loss=[1.0]), with_numbers(x__loss=[2.0]), upgrade.CHANGES),
        (with_numbers(x__files=["a"]), with_numbers(x__files=["b"]), upgrade.SAFE),
    ],
)
def test_the_answer_is_the_worst_that_holds(before: Record, after: Record, expected: str) -> None:
    assert upgrade.judge(before, after, compare(before, after)) == expected


@pytest.mark.parametrize(
    ("kind", "name", "before", "after", "expected"),
    [
        ("fingerprint", "t.sft.text.training_loss", 1.0, 2.0, True),
        ("fingerprint", "t.sft.text.training_loss", 1.0, ABSENT, True),
        ("fingerprint", "t.sft.text.entropy", ABSENT, 1.0, False),
        ("fingerprint", "t.dpo.stacked.error", ABSENT, "ValueError", True),
        ("fingerprint", "t.dpo.stacked.error", "ValueError", ABSENT, False),
        ("fingerprint", "t.sft.accumulation.grad_norm_ratio_2", 0.5, 1.0, False),
        ("fingerprint", "t.sft.accumulation.grad_norm_ratio_2", 1.0, 0.5, True),
        ("fingerprint", "t.resume.dpo.first_epoch_difference", 0.02, 0.0, False),
        ("fingerprint", "t.adapter.tied.merged_reload_equal", False, True, False),
        ("fingerprint", "t.adapter.tied.merged_reload_equal", True, False, True),
        ("default", "SFTConfig.lr", 1, 2, True),
        ("default", "SFTConfig.lr (declared)", 1, 2, False),
        ("default", "SFTConfig.new", ABSENT, None, False),
        ("signature", "trl.X", "present", ABSENT, False),
        ("warning", "trl.x", ABSENT, "deprecated", False),
    ],
)
def test_what_came_went_or_was_mended_is_no_change_of_behaviour(
    kind: str, name: str, before: Any, after: Any, expected: bool
) -> None:
    assert upgrade.changes_behaviour(Change(kind=kind, name=name, before=before, after=after)) is expected


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Baseline:
    matrix = Matrix(folder=tmp_path, cells=())
    packages = {"trl": "1.0", "accelerate": "1.0", "pytest": "9.0"}
    return Baseline(
        cell=Cell(name="base"),
        matrix=matrix,
        store=Store(tmp_path),
        packages=packages,
        direct=("trl", "accelerate", "pytest"),
    )


def moved(base: Baseline) -> Candidate:
    return Candidate(
        cell=Cell(name="c"),
        matrix=base.matrix,
        requests=("trl==2.0",),
        packages={},
        moved={
            "trl": ("1.0", "2.0"),
            "accelerate": ("1.0", "1.5"),
            "pytest": ("9.0", "8.0"),
            "rich": (None, "1"),
        },
        required_by={"accelerate": ("trl",), "pytest": ("trl",), "rich": ("trl",)},
    )


def test_the_advice_is_the_known_fix_what_to_hold_and_what_to_bump_along(
    base: Baseline, tmp_path: Path
) -> None:
    entry = (
        'schema = 1\n[[issue]]\nid = "i"\nstages = ["import"]\nwhen = ["trl>=2"]\nerror = "x"\n'
        'cause = "c"\nfix = "trl<2"\nexpires = 2999-01-01\n'
    )
    (tmp_path / ledger.FILE).write_text(entry)
    after = replace(failed("import"), environment={"packages": {"trl": "2.0"}})
    known = ledger.load(tmp_path)

    lines = list(upgrade.advise(base, moved(base), after, compare(GOOD, after), known))
    assert lines == ["c; fix: trl<2", "bump accelerate to 1.5 in the same change: trl asks for it"]
    after = failed("align")
    lines = list(upgrade.advise(base, moved(base), after, compare(GOOD, after), known))
    assert lines[0] == "hold trl==1.0: align broke, and the ledger knows no fix"


def test_where_a_stage_broke_its_fingerprint_needs_no_telling() -> None:
    probe = Result(name="fingerprint:surface", outcome="passed")
    before = replace(GOOD, probes=(probe,))
    after = replace(failed("import"), probes=(replace(probe, outcome="failed"),))

    assert upgrade.broken(after, compare(before, after)) == ["import"]
    only = replace(GOOD, probes=after.probes)
    assert upgrade.broken(only, compare(before, only)) == ["probe:fingerprint:surface"]


def test_what_the_resolver_refuses_nobody_can_tell(base: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Candidate:
        raise UnresolvableError("Because trl 2 wants the moon")

    monkeypatch.setattr(candidate, "resolve", refuse)
    answer = upgrade.evaluate(base, ["trl==2.0"], Options(), base.store, lambda _: None)

    assert list(answers.upgrade_lines(answer)) == [
        "CANNOT TELL: base -> trl==2.0", "  Because trl 2 wants the moon",
    ]  # fmt: skip
    assert answers.upgrade_code(answer.answer) == 3
    assert answers.upgrade_json(answer)["candidate"] is None


@pytest.mark.parametrize("request_", ["trl=1", "", "trl==1==2"])
def test_a_request_that_is_none_is_told(base: Baseline, request_: str) -> None:
    with pytest.raises(UsageError, match="is not a request such as"):
        candidate.resolve(base, [request_], base.store)


def test_the_plan_tells_what_each_takes_along_and_the_order(base: Baseline) -> None:
    def answer(word: str, request: str, made: Candidate | None = None) -> Answer:
        return Answer(answer=word, baseline="base", requests=(request,), candidate=made)

    alone = {
        "trl": answer(upgrade.BREAKS, "trl==2.0", moved(base)),
        "peft": answer(upgrade.SAFE, "peft==2.0"),
    }
    alone["trl"] = replace(alone["trl"], breaks=("import",))
    order = [("peft", alone["peft"])]
    plan = upgrade.Plan(alone=alone, together=answer(upgrade.BREAKS, "all"), order=order, left=["trl"])

    assert list(answers.plan_lines(plan)) == [
        "BREAKS             trl==2.0 alone; takes along accelerate 1.0 -> 1.5",
        "SAFE               peft==2.0 alone",
        "BREAKS             all together",
        "",
        "1. peft==2.0 (SAFE)",
        "-  trl: cannot follow; alone it breaks import",
    ]
    assert answers.plan_json(plan)["order"] == ["peft==2.0"]


def test_each_bump_is_tried_and_ordered_so_that_every_step_is_green(
    base: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accelerate only works once trl is bumped, which changes behaviour; peft never does."""
    asked: list[tuple[str, ...]] = []

    def ask(_: Baseline, requests: list[str], *__: Any) -> Answer:
        asked.append(tuple(requests))
        bad = "peft==2" in requests or ("accelerate==2" in requests and "trl==2" not in requests)
        word = upgrade.BREAKS if bad else upgrade.CHANGES
        return Answer(answer=word, baseline="base", requests=tuple(requests))

    monkeypatch.setattr(upgrade, "evaluate", ask)
    newest = {"accelerate": "2", "peft": "2", "trl": "2"}
    monkeypatch.setattr(upgrade, "outdated", lambda _: newest)

    plan = upgrade.plan(base, Options(), base.store, lambda _: None)

    assert [name for name, _ in plan.order] == ["trl", "accelerate"]
    assert plan.left == ["peft"]
    assert plan.together.answer == upgrade.BREAKS
    assert ("trl==2", "accelerate==2") in asked


def test_bounds_read_as_a_fragment_of_pyproject() -> None:
    found = Bounds(
        ranges=[
            Range(package="trl", lowest="0.23.1", highest="0.26.2", below="0.22.2", above="0.27.2",
                  why_below="import: KeyError", why_above="align: TypeError"),
            Range(package="peft", lowest="0.13.2", highest="0.21.2"),
        ],
        lowest=Corner(pins={"trl": "0.23.1", "peft": "0.13.2"}),
        highest=Corner(pins={"trl": "0.26.2", "peft": "0.21.2"}, wrong="align: x"),
        upstream=["trl 0.26.2 allows peft 0.8, but its floor does not hold: import: x"],
    )  # fmt: skip

    assert bounds.fragment(found) == (
        "[project]\ndependencies = [\n    # 0.22.2: import: KeyError\n    # 0.27.2: align: TypeError\n"
        '    "trl>=0.23.1,<0.27.2",\n    "peft>=0.13.2",\n]\n'
    )
    lines = list(answers.bounds_lines(found))
    assert lines[1] == "lowest together: trl 0.23.1, peft 0.13.2: verified"
    assert lines[2] == "highest together: trl 0.26.2, peft 0.21.2: verified; wider was align: x"
    assert lines[3] == found.upstream[0]
