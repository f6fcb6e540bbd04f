"""Answers about upgrades: what counts as a break, as a change of behaviour, or as safe."""

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
        failure = Failure(type=error, message="x")
        return Result(name=name, outcome=outcome, error=failure) if name == stage else GOOD.stage(name)

    return replace(GOOD, outcome=outcome, stages=tuple(result(name) for name in STAGES))


def with_numbers(**values: Any) -> Record:
    return replace(GOOD, fingerprint={name.replace("__", "."): value for name, value in values.items()})


EDITED = replace(GOOD, call_sites=({"call": "trl.X", "argument": "new", "use": "old"},))
BROKEN_EXCHANGE = Result(
    name="exchange:load", outcome="failed", error=Failure(type="UnpicklingError", message="x")
)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (GOOD, GOOD, upgrade.SAFE),
        (GOOD, failed("align"), upgrade.BREAKS),
        (GOOD, failed("align-resume", "Mismatch"), upgrade.BEHAVIOUR_CHANGES),
        (GOOD, failed("align", outcome="skipped"), upgrade.CANNOT_TELL),
        (GOOD, replace(GOOD, outcome="uninstallable", stages=()), upgrade.CANNOT_TELL),
        (GOOD, replace(GOOD, probes=(BROKEN_EXCHANGE,)), upgrade.BREAKS),
        (failed("align"), GOOD, upgrade.SAFE),
        (failed("align"), failed("align"), upgrade.SAFE),
        (EDITED, GOOD, upgrade.SAFE_WITH_EDITS),
        (with_numbers(x__loss=[1.0]), with_numbers(x__loss=[2.0]), upgrade.BEHAVIOUR_CHANGES),
        (with_numbers(x__files=["a"]), with_numbers(x__files=["b"]), upgrade.SAFE),
    ],
)
def test_the_answer_is_the_worst_that_applies(before: Record, after: Record, expected: str) -> None:
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
def test_new_removed_and_fixed_values_do_not_change_behaviour(
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


def trl_candidate(base: Baseline) -> Candidate:
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


def test_the_advice_names_known_fixes_pins_to_hold_and_packages_to_bump(
    base: Baseline, tmp_path: Path
) -> None:
    entry = (
        'schema = 1\n[[issue]]\nid = "i"\nstages = ["import"]\nwhen = ["trl>=2"]\nerror = "x"\n'
        'cause = "c"\nfix = "trl<2"\nexpires = 2999-01-01\n'
    )
    (tmp_path / ledger.FILE).write_text(entry)
    after = replace(failed("import"), environment={"packages": {"trl": "2.0"}})
    issues = ledger.load(tmp_path)

    lines = list(upgrade.advise(base, trl_candidate(base), after, compare(GOOD, after), issues))
    assert lines == ["c; fix: trl<2", "bump accelerate to 1.5 in the same change: required by trl"]
    after = failed("align")
    lines = list(upgrade.advise(base, trl_candidate(base), after, compare(GOOD, after), issues))
    assert lines[0] == "hold trl==1.0: the upgrade breaks align, and the ledger has no fix"


def test_a_fingerprint_is_left_out_when_a_stage_breaks() -> None:
    probe = Result(name="fingerprint:surface", outcome="passed")
    before = replace(GOOD, probes=(probe,))
    after = replace(failed("import"), probes=(replace(probe, outcome="failed"),))

    assert upgrade.find_breaks(after, compare(before, after)) == ["import"]
    fingerprint_only = replace(GOOD, probes=after.probes)
    assert upgrade.find_breaks(fingerprint_only, compare(before, fingerprint_only)) == [
        "probe:fingerprint:surface"
    ]


def test_the_answer_is_cannot_tell_if_the_resolver_refuses(
    base: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Candidate:
        raise UnresolvableError("Because trl 2 requires torch 99")

    monkeypatch.setattr(candidate, "resolve", refuse)
    answer = upgrade.evaluate(base, ["trl==2.0"], Options(), base.store, lambda _: None)

    assert list(answers.upgrade_lines(answer)) == [
        "CANNOT TELL: base -> trl==2.0", "  Because trl 2 requires torch 99",
    ]  # fmt: skip
    assert answers.upgrade_exit_code(answer.answer) == 3
    assert answers.upgrade_json(answer)["candidate"] is None


@pytest.mark.parametrize("request_", ["trl=1", "", "trl==1==2"])
def test_a_malformed_request_is_an_error(base: Baseline, request_: str) -> None:
    with pytest.raises(UsageError, match="is not a request such as"):
        candidate.resolve(base, [request_], base.store)


def test_the_plan_shows_what_moves_with_each_bump_and_the_order(base: Baseline) -> None:
    def answer(word: str, request: str, candidate: Candidate | None = None) -> Answer:
        return Answer(answer=word, baseline="base", requests=(request,), candidate=candidate)

    alone = {
        "trl": answer(upgrade.BREAKS, "trl==2.0", trl_candidate(base)),
        "peft": answer(upgrade.SAFE, "peft==2.0"),
    }
    alone["trl"] = replace(alone["trl"], breaks=("import",))
    order = [("peft", alone["peft"])]
    plan = upgrade.Plan(alone=alone, together=answer(upgrade.BREAKS, "all"), order=order, blocked=["trl"])

    assert list(answers.plan_lines(plan)) == [
        "BREAKS             trl==2.0 alone; also moves accelerate 1.0 -> 1.5",
        "SAFE               peft==2.0 alone",
        "BREAKS             all together",
        "",
        "1. peft==2.0 (SAFE)",
        "-  trl: blocked; alone it breaks import",
    ]
    assert answers.plan_json(plan)["order"] == ["peft==2.0"]


def test_bumps_are_ordered_so_that_every_step_works(base: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    """trl changes behaviour, accelerate works only after trl, and peft never works."""
    evaluated: list[tuple[str, ...]] = []

    def evaluate(_: Baseline, requests: list[str], *__: Any) -> Answer:
        evaluated.append(tuple(requests))
        bad = "peft==2" in requests or ("accelerate==2" in requests and "trl==2" not in requests)
        word = upgrade.BREAKS if bad else upgrade.BEHAVIOUR_CHANGES
        return Answer(answer=word, baseline="base", requests=tuple(requests))

    monkeypatch.setattr(upgrade, "evaluate", evaluate)
    newest = {"accelerate": "2", "peft": "2", "trl": "2"}
    monkeypatch.setattr(upgrade, "outdated", lambda _: newest)

    plan = upgrade.plan(base, Options(), base.store, lambda _: None)

    assert [name for name, _ in plan.order] == ["trl", "accelerate"]
    assert plan.blocked == ["peft"]
    assert plan.together.answer == upgrade.BREAKS
    assert ("trl==2", "accelerate==2") in evaluated


def test_bounds_are_shown_as_a_fragment_of_pyproject_toml() -> None:
    answer = Bounds(
        ranges=[
            Range(package="trl", lowest="0.23.1", highest="0.26.2", below="0.22.2", above="0.27.2",
                  why_below="import: KeyError", why_above="align: TypeError"),
            Range(package="peft", lowest="0.13.2", highest="0.21.2"),
        ],
        lowest=Corner(pins={"trl": "0.23.1", "peft": "0.13.2"}),
        highest=Corner(pins={"trl": "0.26.2", "peft": "0.21.2"}, wrong="align: x"),
        upstream=["trl 0.26.2 allows peft 0.8, but its lower bound is wrong: import: x"],
    )  # fmt: skip

    assert bounds.pyproject_fragment(answer) == (
        "[project]\ndependencies = [\n    # 0.22.2: import: KeyError\n    # 0.27.2: align: TypeError\n"
        '    "trl>=0.23.1,<0.27.2",\n    "peft>=0.13.2",\n]\n'
    )
    lines = list(answers.bounds_lines(answer))
    assert lines[1] == "lowest together: trl 0.23.1, peft 0.13.2: verified"
    assert lines[2] == "highest together: trl 0.26.2, peft 0.21.2: verified; wider ranges failed: align: x"
    assert lines[3] == answer.upstream[0]
