"""Bisecting releases: which ones are tested, what counts as bad, and what the answer contains."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Store
from tunematrix.locks import releases
from tunematrix.locks.releases import Release
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import bisect, candidate
from tunematrix.questions.bisect import BY_DATE, Question
from tunematrix.questions.candidate import Baseline, Candidate
from tunematrix.report import answers
from tunematrix.run import keys
from tunematrix.run.options import Options
from tunematrix.shared.stages import STAGES

FIRST_RELEASE = datetime.date(2026, 1, 1)
TOY = tuple(
    Release(Version(version), FIRST_RELEASE + datetime.timedelta(days=days), yanked=version == "1.6")
    for days, version in enumerate(["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7a1", "1.7", "1.8"])
)


def toy_record(version: str) -> Record:
    """The record of a toy package: align fails from 1.4 on and is fixed in 1.7; its loss moves in 1.2."""
    bad = Version("1.4") <= Version(version) < Version("1.7")
    stages = tuple(
        Result(
            name=name,
            outcome="failed" if bad and name == "align" else "passed",
            error=Failure(type="KeyError", message="x") if bad and name == "align" else None,
        )
        for name in STAGES
    )
    loss = 1.0 if Version(version) < Version("1.2") else 2.0
    return Record(
        cell=version,
        outcome="failed" if bad else "passed",
        stages=stages,
        fingerprint={"align.loss": [loss]},
        environment={"packages": {"toy": version}},
    )


@pytest.fixture(name="base")
def _base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Baseline:
    """A baseline with a fake resolver: it refuses 1.3, and moves another package from 1.4 on."""

    def resolve(base: Baseline, requests: list[str], _: Store) -> Candidate:
        version = requests[0].partition("==")[2]
        if version == "1.3":
            raise UnresolvableError("no")
        packages = {"toy": version, "dep": "2" if Version(version) >= Version("1.4") else "1"}
        cell = Cell(name=version, pins={})
        return Candidate(cell=cell, matrix=base.matrix, requests=tuple(requests), packages=packages, moved={})

    monkeypatch.setattr(releases, "releases", lambda _: TOY)
    monkeypatch.setattr(candidate, "resolve", resolve)
    monkeypatch.setattr(candidate, "install", lambda *_: None)

    def run(resolved: Candidate, *_: object) -> Record:
        RUNS.append(resolved.cell.name)
        return toy_record(resolved.cell.name)

    monkeypatch.setattr(candidate, "run", run)
    monkeypatch.setattr(keys, "source_folders", list)
    RUNS.clear()
    matrix = Matrix(folder=tmp_path, cells=())
    return Baseline(cell=Cell(name="base"), matrix=matrix, store=Store(tmp_path), packages={"toy": "1.0"})


RUNS: list[str] = []


def find_first(base: Baseline, *ends: str, **options: Any) -> bisect.Answer:
    question = Question(package="toy", first=ends[0], last=ends[1], **options)
    return bisect.find_first(base, question, Options(model="tiny-gpt2"), base.store, lambda _: None)


def test_the_answer_has_the_suspects_their_date_and_the_other_moved_packages(base: Baseline) -> None:
    answer = find_first(base, "1.0", "1.5")

    assert answer.result.suspects == ["1.3", "1.4"]  # 1.3 cannot be resolved, so it may be the first bad one
    assert answer.result.untestable == ["1.3"]
    assert answer.date == datetime.date(2026, 1, 5)
    assert answer.changed_with_it == {"dep": ("1", "2")}
    lines = "\n".join(answers.bisect_lines(answer))
    assert "first bad: one of toy 1.3, 1.4" in lines
    assert "also moved: dep 1 -> 2" in lines
    assert answers.bisect_json(answer)["first_bad"] == ["1.3", "1.4"]


def test_a_metric_is_compared_within_its_tolerance(base: Baseline) -> None:
    answer = find_first(base, "1.0", "1.8", metric="align.loss")

    assert answer.result.suspects == ["1.2"]
    assert answers.bisect_json(answer)["first_bad"] == "1.2"
    assert {step["version"]: step["verdict"] for step in answers.bisect_json(answer)["steps"]}["1.8"] == "bad"


def test_find_fix_finds_the_release_that_fixes_a_stage(base: Baseline) -> None:
    answer = find_first(base, "1.4", "1.8", find_fix=True, stage="align")

    assert answer.result.suspects == ["1.7"]
    content = answers.bisect_json(answer)
    assert (content["first_good"], content["good"], content["bad"]) == ("1.7", "1.8", "1.4")
    assert "first fixed: toy 1.7, released 2026-01-09" in "\n".join(answers.bisect_lines(answer))
    assert {step["version"]: step["verdict"] for step in content["steps"]}["1.4"] == "bad"


def test_yanked_releases_and_prereleases_are_not_tested(base: Baseline) -> None:
    find_first(base, "1.4", "1.8", find_fix=True)

    assert not {"1.6", "1.7a1"} & set(RUNS)


def test_an_interrupted_search_continues(base: Baseline) -> None:
    find_first(base, "1.0", "1.5")
    RUNS.clear()
    answer = find_first(base, "1.0", "1.5")

    assert answer.result.suspects == ["1.3", "1.4"]
    assert set(RUNS) <= {"1.0", "1.2", "1.4", "1.5"}
    assert answer.known_issues == ()


@pytest.mark.parametrize(
    ("ends", "options", "message"),
    [
        (("1.0", "1.1"), {}, "nothing to bisect: 1.1 is good, expected bad"),
        (("1.0", "9"), {}, "toy has no release 9; the newest are"),
        (("1.0", "1.0"), {}, "the same release"),
        (("x", "1.0"), {}, "name two releases of toy"),
        (("1.0", "9" * 5000), {}, "name two releases of toy"),
        (("1.0", "1.4"), {"stage": "align", "metric": "align.loss"}, "not both"),
        (("1.7", "1.8"), {"find_fix": True}, "1.7 is good, expected bad"),
    ],
)
def test_a_question_without_an_answer_is_an_error(
    base: Baseline, ends: tuple[str, str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        find_first(base, *ends, **options)


def test_a_stage_that_did_not_run_is_untestable_not_bad() -> None:
    reference = toy_record("1.0")
    question = Question(package="toy", first="1.0", last="1.8", stage="align-resume")
    stages = tuple(
        replace(stage, outcome="not_run") if stage.name == "align-resume" else stage
        for stage in reference.stages
    )

    assert bisect.matches(question, replace(reference, stages=stages), reference) is None
    assert bisect.matches(question, reference, reference) is True
    metric = Question(package="toy", first="1.0", last="1.8", metric="align.loss")
    assert bisect.matches(metric, replace(reference, fingerprint={}), reference) is None


def test_the_error_of_a_measure_and_the_effect_of_an_option_can_be_searched_for() -> None:
    question = Question(package="toy", first="1.0", last="1.8", metric="a.b.error")
    fine = replace(toy_record("1.0"), fingerprint={"a.b.loss": 1.0})
    raising = replace(fine, fingerprint={"a.b.error": "ValueError"})
    assert bisect.matches(question, fine, fine) is True
    assert bisect.matches(question, raising, fine) is False
    assert bisect.matches(question, replace(fine, fingerprint={}), fine) is None

    name = "tiny-llama.sweep.SFTConfig.packing"
    effects = [{"True": {"loss": shift}} for shift in (0.1, 0.100001, 0.2)]
    records = [replace(fine, fingerprint={name: effect}) for effect in effects]
    option = replace(question, metric=name)
    assert [bisect.matches(option, record, records[0]) for record in records] == [True, True, False]


def test_a_search_by_date_finds_the_package_that_breaks(
    base: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two packages move on one date; only one of them breaks a stage."""
    cell = Cell(name="base", pins={"toy": "1.0"})
    base = replace(base, cell=cell)

    def resolve(cell: Cell, *_: Any) -> str:
        late = cell.as_of is not None and cell.as_of >= datetime.date(2026, 1, 20)
        return f"toy==1.0\nharmless=={2 if late else 1}\nbroken=={2 if late else 1}\n"

    def run(dated: Candidate, *_: Any) -> Record:
        return toy_record("1.4" if dated.packages["broken"] == "2" else "1.0")

    monkeypatch.setattr("tunematrix.locks.lock.resolve", resolve)
    monkeypatch.setattr(candidate, "run", run)
    question = Question(package=BY_DATE, first="2026-01-01", last="2026-03-01")
    answer = bisect.find_first(base, question, Options(model="tiny-gpt2"), base.store, lambda _: None)

    assert answer.result.suspects == ["2026-01-20"]
    assert answer.culprits == ("broken",)
    assert "  caused by: broken 1 -> 2" in list(answers.bisect_lines(answer))
    for ends in (("2026-03-01", "2026-01-01"), ("yesterday", "2026-01-01")):
        with pytest.raises(UsageError, match="--by-date"):
            bisect.find_first(
                base,
                Question(package=BY_DATE, first=ends[0], last=ends[1]),
                Options(),
                base.store,
                lambda _: None,
            )
