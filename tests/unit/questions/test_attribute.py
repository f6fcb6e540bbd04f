"""Which of several moved packages brought a change, with stand-ins for runs and for the resolver."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from tests.unit.verdict.test_answer import GOOD, NOTHING
from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks import releases, uv
from tunematrix.locks.releases import Release
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import attribute, candidate
from tunematrix.questions.candidate import Baseline, Candidate
from tunematrix.questions.upgrade import Answer, Upgrader
from tunematrix.run.options import Options
from tunematrix.verdict.answer import judge

LOSS = "tiny-llama.sft.text.training_loss"
OLD = {"trl": "1.0", "peft": "1.0", "transformers": "1.0", "tokenizers": "1.0", "numpy": "1.0", "torch": "2"}
NEW = {**OLD, "trl": "1.4", "peft": "1.1", "transformers": "1.1", "tokenizers": "1.1", "numpy": "1.1"}
Packages = Mapping[str, str]
Ask = Callable[..., tuple[Answer, list[str]]]


@pytest.fixture(name="ask")
def _ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    def ask(loss: Callable[[Packages], float], fits: Callable[[Packages], bool]) -> tuple[Answer, list[str]]:
        matrix, store = Matrix(folder=tmp_path, cells=()), Store(tmp_path)
        direct = tuple(OLD)
        base = Baseline(cell=Cell(name="base"), matrix=matrix, store=store, packages=OLD, direct=direct)
        moved = {name: (OLD[name], NEW[name]) for name in OLD if OLD[name] != NEW[name]}
        wanted = Candidate(
            cell=Cell(name="new"), matrix=matrix, requests=("trl==1.4",), packages=NEW, moved=moved
        )
        ran: list[str] = []

        def record(packages: Packages) -> Record:
            environment = {"packages": dict(packages)}
            return replace(GOOD, fingerprint={LOSS: loss(packages)}, environment=environment)

        def run(found: Candidate, *_: object) -> Record:
            ran.append(" ".join(name for name in NEW if found.packages[name] != OLD[name]))
            return record(found.packages)

        def resolve(own: Baseline, requests: list[str], _: Store) -> Candidate:
            name, version = requests[0].split("==")
            return candidate.exactly(own, requests[0], {**own.packages, name: version}, store)

        def compile_over(packages: Packages, *_: object) -> str:
            if not fits(packages):
                raise UnresolvableError("no")
            return ""

        day = datetime.date(2026, 1, 1)
        known = [Release(version=Version(f"1.{minor}"), day=day) for minor in range(5)]
        monkeypatch.setattr(releases, "releases", lambda _: known)
        monkeypatch.setattr(releases, "day_of", lambda *_: day)
        monkeypatch.setattr(candidate, "run", run)
        monkeypatch.setattr(candidate, "resolve", resolve)
        monkeypatch.setattr(candidate, "install", lambda *_: None)
        monkeypatch.setattr(uv, "compile_over", compile_over)
        before, after = record(OLD), record(NEW)
        answer = Answer(
            baseline="base",
            requests=("trl==1.4",),
            judgement=judge(before, after, NOTHING),
            candidate=wanted,
            before=before,
            after=after,
        )
        upgrader = Upgrader(
            base=base, options=Options(), store=store, progress=lambda _: None, knowledge=NOTHING
        )
        return attribute.attribute(upgrader, answer), ran

    return ask


def always(_: Packages) -> bool:
    return True


def test_the_package_is_found_and_then_its_release(ask: Ask) -> None:
    answer, ran = ask(lambda packages: 2.0 + (packages["trl"] >= "1.3"), always)
    [finding] = answer.judgement.findings
    assert finding.cause
    assert (finding.cause.package, finding.cause.release, finding.cause.measured) == ("trl", "1.3", True)
    assert finding.action == "accept it, or stay on trl<=1.2"
    assert ran[0] == "tokenizers numpy"
    assert "trl" in ran
    # Of five groups: three halvings and trl alone; of five releases: the two ends and two between.
    assert len(ran) == 8


def test_a_change_that_needs_two_packages_names_both(ask: Ask) -> None:
    answer, _ = ask(lambda packages: 2.0 + (packages["trl"] == "1.4" and packages["peft"] == "1.1"), always)
    [finding] = answer.judgement.findings
    assert finding.cause is None
    assert finding.action.startswith("comes with trl together with tokenizers, peft, transformers, and not")


def test_packages_that_the_bounds_tie_move_together(ask: Ask) -> None:
    def fits(packages: Packages) -> bool:
        return packages["transformers"] == packages["tokenizers"]

    answer, ran = ask(lambda packages: 2.0 + (packages["tokenizers"] == "1.1"), fits)
    [finding] = answer.judgement.findings
    assert finding.action == "comes with tokenizers and peft and transformers"
    assert "tokenizers numpy" not in ran


def test_what_no_package_of_the_ladder_brought_is_told(ask: Ask) -> None:
    answer, _ = ask(lambda packages: 2.0 + (packages["numpy"] == "1.1"), always)
    assert answer.judgement.findings[0].action == "comes with the other packages"


def test_a_candidate_that_did_not_run_is_told(ask: Ask) -> None:
    answer, _ = ask(lambda _: 2.0, always)
    assert answer.judgement.findings == ()
    with pytest.raises(UsageError, match="did not run"):
        attribute.attribute(None, replace(answer, candidate=None))  # type: ignore[arg-type]
