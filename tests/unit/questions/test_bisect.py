"""Bisecting releases: which are asked for, what counts as bad, and what the end is told with."""

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
from tunematrix.questions.bisect import DAY, Question
from tunematrix.questions.candidate import Baseline, Candidate
from tunematrix.report import answers
from tunematrix.run import keys
from tunematrix.run.options import Options
from tunematrix.shared.stages import STAGES

DAY_ONE = datetime.date(2026, 1, 1)
TOY = tuple(
    Release(Version(version), DAY_ONE + datetime.timedelta(days=at), yanked=version == "1.6")
    for at, version in enumerate(["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7a1", "1.7", "1.8"])
)


def outcome(version: str) -> Record:
    """A toy package: align is bad from 1.4 to 1.5, fixed in 1.7; its loss moves in 1.2."""
    number = Version(version)
    bad = Version("1.4") <= number < Version("1.7")
    stages = tuple(
        Result(
            name=name,
            outcome="failed" if bad and name == "align" else "passed",
            error=Failure(type="KeyError", message="x") if bad and name == "align" else None,
        )
        for name in STAGES
    )
    loss = 1.0 if number < Version("1.2") else 2.0
    return Record(
        cell=version,
        outcome="failed" if bad else "passed",
        stages=stages,
        fingerprint={"align.loss": [loss]},
        environment={"packages": {"toy": version}},
    )


@pytest.fixture(name="base")
def _base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Baseline:
    """A baseline whose candidates are not resolved by uv: 1.3 is refused, 1.5 forces another package."""

    def make(base: Baseline, requests: list[str], _: Store) -> Candidate:
        version = requests[0].partition("==")[2]
        if version == "1.3":
            raise UnresolvableError("no")
        packages = {"toy": version, "dep": "2" if Version(version) >= Version("1.4") else "1"}
        cell = Cell(name=version, pins={})
        return Candidate(cell=cell, matrix=base.matrix, requests=tuple(requests), packages=packages, moved={})

    monkeypatch.setattr(releases, "releases", lambda _: TOY)
    monkeypatch.setattr(candidate, "resolve", make)
    monkeypatch.setattr(candidate, "install", lambda *_: None)

    def run(made: Candidate, *_: object) -> Record:
        RUNS.append(made.cell.name)
        return outcome(made.cell.name)

    monkeypatch.setattr(candidate, "run", run)
    monkeypatch.setattr(keys, "sources", lambda _: [])
    RUNS.clear()
    matrix = Matrix(folder=tmp_path, cells=())
    return Baseline(cell=Cell(name="base"), matrix=matrix, store=Store(tmp_path), packages={"toy": "1.0"})


RUNS: list[str] = []


def ask(base: Baseline, *ends: str, **options: Any) -> bisect.Answer:
    question = Question(package="toy", first=ends[0], last=ends[1], **options)
    return bisect.find_first(base, question, Options(model="tiny-gpt2"), base.store, lambda _: None)


def test_the_first_bad_release_comes_with_what_else_is_known(base: Baseline) -> None:
    found = ask(base, "1.0", "1.5")

    assert found.result.suspects == ["1.3", "1.4"]  # 1.3 cannot be resolved: it may be the one
    assert found.result.untestable == ["1.3"]
    assert found.day == datetime.date(2026, 1, 5)
    assert found.changed_with_it == {"dep": ("1", "2")}
    lines = "\n".join(answers.bisect_lines(found))
    assert "first bad: one of toy 1.3, 1.4" in lines
    assert "moved with it: dep 1 -> 2" in lines
    assert answers.bisect_json(found)["first_bad"] == ["1.3", "1.4"]


def test_a_metric_is_followed_with_its_tolerance(base: Baseline) -> None:
    found = ask(base, "1.0", "1.8", metric="align.loss")

    assert found.result.suspects == ["1.2"]
    assert answers.bisect_json(found)["first_bad"] == "1.2"
    assert {step["version"]: step["verdict"] for step in answers.bisect_json(found)["steps"]}["1.8"] == "bad"


def test_the_release_that_mends_is_found(base: Baseline) -> None:
    found = ask(base, "1.4", "1.8", find_fix=True, stage="align")

    assert found.result.suspects == ["1.7"]
    shown = answers.bisect_json(found)
    assert (shown["first_good"], shown["good"], shown["bad"]) == ("1.7", "1.8", "1.4")
    assert "first fixed: toy 1.7, released 2026-01-09" in "\n".join(answers.bisect_lines(found))
    assert {step["version"]: step["verdict"] for step in shown["steps"]}["1.4"] == "bad"


def test_yanked_and_prereleases_are_not_asked_for(base: Baseline) -> None:
    ask(base, "1.4", "1.8", find_fix=True)

    assert not {"1.6", "1.7a1"} & set(RUNS)


def test_an_interrupted_search_goes_on(base: Baseline) -> None:
    ask(base, "1.0", "1.5")
    RUNS.clear()
    found = ask(base, "1.0", "1.5")

    assert found.result.suspects == ["1.3", "1.4"]
    assert set(RUNS) <= {"1.0", "1.2", "1.4", "1.5"}
    assert found.known_issues == ()


@pytest.mark.parametrize(
    ("ends", "options", "message"),
    [
        (("1.0", "1.1"), {}, "nothing to bisect: 1.1 is good, where bad was expected"),
        (("1.0", "9"), {}, "toy has no release 9; the newest are"),
        (("1.0", "1.0"), {}, "the same release"),
        (("x", "1.0"), {}, "name two releases of toy"),
        (("1.0", "1.4"), {"stage": "align", "metric": "align.loss"}, "not both"),
        (("1.7", "1.8"), {"find_fix": True}, "1.7 is good, where bad was expected"),
    ],
)
def test_a_question_without_an_answer_is_told(
    base: Baseline, ends: tuple[str, str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ask(base, *ends, **options)


def test_a_stage_that_was_not_reached_is_untestable_not_bad() -> None:
    reference = outcome("1.0")
    question = Question(package="toy", first="1.0", last="1.8", stage="align-resume")
    stages = tuple(
        replace(one, outcome="not_run") if one.name == "align-resume" else one for one in reference.stages
    )

    assert bisect.matches(question, replace(reference, stages=stages), reference) is None
    assert bisect.matches(question, reference, reference) is True
    metric = Question(package="toy", first="1.0", last="1.8", metric="align.loss")
    assert bisect.matches(metric, replace(reference, fingerprint={}), reference) is None


def test_days_name_the_package_that_did_it(base: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day on which two packages moved: only one of them breaks it."""
    cell = Cell(name="base", pins={"toy": "1.0"})
    base = replace(base, cell=cell)

    def resolve(asked: Cell, *_: Any) -> str:
        late = asked.as_of is not None and asked.as_of >= datetime.date(2026, 1, 20)
        return f"toy==1.0\ninnocent=={2 if late else 1}\nguilty=={2 if late else 1}\n"

    def run(made: Candidate, *_: Any) -> Record:
        return outcome("1.4" if made.packages["guilty"] == "2" else "1.0")

    monkeypatch.setattr("tunematrix.locks.lock.resolve", resolve)
    monkeypatch.setattr(candidate, "run", run)
    question = Question(package=DAY, first="2026-01-01", last="2026-03-01")
    found = bisect.find_first(base, question, Options(model="tiny-gpt2"), base.store, lambda _: None)

    assert found.result.suspects == ["2026-01-20"]
    assert found.culprits == ("guilty",)
    assert "  by guilty 1 -> 2" in list(answers.bisect_lines(found))
    for ends in (("2026-03-01", "2026-01-01"), ("yesterday", "2026-01-01")):
        with pytest.raises(UsageError, match="--by-date"):
            bisect.find_first(
                base,
                Question(package=DAY, first=ends[0], last=ends[1]),
                Options(),
                base.store,
                lambda _: None,
            )
