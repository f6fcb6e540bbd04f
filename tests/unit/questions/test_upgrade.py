"""Questions before a bump: evaluated with stand-ins for runs, and rendered on one screen."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.unit.verdict.test_answer import GOOD, NOTHING, failed
from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.base.record import Failure, Record, Result
from tunematrix.base.store import Store
from tunematrix.code.uses import Code
from tunematrix.locks import imported, releases
from tunematrix.locks.imported import ImportedLock
from tunematrix.locks.releases import Release
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import bounds, candidate, files, kept, requests, upgrade
from tunematrix.questions import plan as plans
from tunematrix.questions.bounds import Bounds, Corner, Prober, Range
from tunematrix.questions.candidate import Baseline, Candidate
from tunematrix.questions.files import Files
from tunematrix.questions.upgrade import Answer, Upgrader
from tunematrix.report import answers
from tunematrix.report import upgrade as report
from tunematrix.run.options import Options
from tunematrix.verdict import answer as words
from tunematrix.verdict import ledger
from tunematrix.verdict.answer import Judgement, Knowledge, judge
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.releases import Rung

WHOLE = replace(GOOD, environment={"packages": dict.fromkeys(files.STACK, "1.0")})
ALL_READ = Files(rollback=dict.fromkeys(("same", "differs", "fails", "unavailable"), ()))


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
        packages={"trl": "2.0"},
        moved={
            "trl": ("1.0", "2.0"),
            "accelerate": ("1.0", "1.5"),
            "pytest": ("9.0", "8.0"),
            "rich": (None, "1"),
        },
        required_by={"accelerate": ("trl",), "pytest": ("trl",), "rich": ("trl",)},
    )


ISSUE = """schema = 1
[[issue]]
id = "lost"
stages = ["align-resume"]
when = ["trl>=2", "transformers<6"]
error = "Mismatch"
cause = "the adapter is lost"
fix = "transformers>=6"
expires = 2999-01-01
"""


@pytest.fixture(name="runs")
def _runs(base: Baseline, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Upgrader]:
    """An ``Upgrader`` whose runs give the records that a test says: of the baseline, and by request."""

    def make(
        before: Record,
        after: dict[str, Record],
        knowledge: Knowledge = NOTHING,
        exchanged: Files = ALL_READ,
    ) -> Upgrader:
        def resolve(_: Baseline, requests: Sequence[str], __: Store) -> Candidate:
            found = trl_candidate(base)
            return replace(found, requests=tuple(requests), cell=Cell(name=" ".join(requests)))

        monkeypatch.setattr(candidate, "resolve", resolve)
        monkeypatch.setattr(candidate, "run_baseline", lambda *_: before)
        monkeypatch.setattr(candidate, "run", lambda found, *_: after[found.cell.name])
        monkeypatch.setattr(files, "swap", lambda *_: exchanged)
        return Upgrader(
            base=base, options=Options(), store=base.store, progress=lambda _: None, knowledge=knowledge
        )

    return make


def test_of_a_teams_scripts_each_stack_reads_what_they_keep(
    runs: Callable[..., Upgrader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Finding(id="kept-sft-adapter-fails", severity="broken", title="lost", fields=("kept.sft/adapter",))
    rollback = {"same": ["sft/adapter"], "differs": [], "fails": [], "unavailable": []}
    found: list[Files | None] = [Files(rollback=rollback), Files(findings=(lost,), rollback=rollback), None]
    monkeypatch.setattr(kept, "swap", lambda *_: found.pop(0))
    (tmp_path / "workload.toml").write_text('[[stage]]\nname = "sft"\nrun = "python train.py"\n')
    upgrader = runs(GOOD, {"trl==2.0": GOOD})  # a stack without peft, say: nothing of ours is needed
    upgrader = replace(upgrader, options=Options(workload=tmp_path / "workload.toml"))
    answers = [upgrader.evaluate(["trl==2.0"]) for _ in range(3)]
    assert [each.answer for each in answers] == [words.SAFE, words.BREAKS, words.SAFE]
    assert "rollback     the old stack reads 1 of 1 kinds" in "\n".join(report.upgrade_lines(answers[0]))


def test_a_known_fix_is_tried_before_it_is_advised(runs: Callable[..., Upgrader], tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_text(ISSUE)
    packages = {"packages": {"trl": "2.0", "transformers": "5.0"}}
    broken = replace(failed("align-resume", "Mismatch"), environment=packages)
    upgrader = runs(
        GOOD,
        {"trl==2.0": broken, "trl==2.0 transformers>=6": GOOD},
        replace(NOTHING, ledger=ledger.load(tmp_path)),
    )

    answer = upgrader.evaluate(["trl==2.0"])

    assert answer.answer == words.BREAKS
    assert answer.fix is not None
    assert (answer.fix.requests, answer.fix.judgement.answer) == (("transformers>=6",), words.SAFE)
    text = "\n".join(report.upgrade_lines(answer))
    assert "tried        with transformers>=6: SAFE" in text
    assert "next         tunematrix upgrade trl==2.0 'transformers>=6'" in text


LOST = Finding(
    id="exchange-full-differs-upgrade", severity="wrong", title="full of 4 read otherwise", fields=()
)


def test_what_the_new_stack_reads_otherwise_breaks_an_upgrade(runs: Callable[..., Upgrader]) -> None:
    rollback = {"same": ["sft", "lora"], "differs": ["full"], "fails": ["tokenizer"], "unavailable": ["dpo"]}
    upgrader = runs(WHOLE, {"trl==2.0": WHOLE}, NOTHING, Files(findings=(LOST,), rollback=rollback))

    answer = upgrader.evaluate(["trl==2.0"])

    assert (answer.answer, answer.judgement.findings) == (words.BREAKS, (LOST,))
    text = "\n".join(report.upgrade_lines(answer))
    assert "wrong        full of 4 read otherwise" in text
    told = " ".join(text.partition("rollback")[2].split())
    assert told.startswith(
        "the old stack reads 2 of 4 kinds of files of the new one as they were; not: tokenizer; otherwise,"
        " without an error: full"
    )
    assert report.upgrade_json(answer)["rollback"] == rollback


def test_code_that_cannot_be_read_is_told(runs: Callable[..., Upgrader]) -> None:
    code = Code(uses=(), files=2, unreadable=("old.py: invalid syntax", "b.py: invalid syntax"))
    upgrader = runs(WHOLE, {"trl==2.0": WHOLE}, replace(NOTHING, code=code))
    text = " ".join("\n".join(report.upgrade_lines(upgrader.evaluate(["trl==2.0"]))).split())
    assert "not read so what it uses is not told: old.py: invalid syntax and 1 more" in text


def test_there_is_no_exchange_without_the_stack_or_with_other_tests(
    runs: Callable[..., Upgrader], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs(GOOD, {"trl==2.0": GOOD}).evaluate(["trl==2.0"]).files is None
    assert runs(WHOLE, {"trl==2.0": WHOLE}).evaluate(["trl==2.0"]).files is not None
    monkeypatch.setenv("TUNEMATRIX_SUITE", "elsewhere")
    assert runs(WHOLE, {"trl==2.0": WHOLE}).evaluate(["trl==2.0"]).files is None


def test_the_way_back_is_told_and_does_not_decide(runs: Callable[..., Upgrader]) -> None:
    rollback = {"same": [], "differs": [], "fails": ["tokenizer"], "unavailable": []}

    answer = runs(WHOLE, {"trl==2.0": WHOLE}, NOTHING, Files(rollback=rollback)).evaluate(["trl==2.0"])

    assert answer.answer == words.SAFE


def test_a_stack_that_takes_no_part_in_the_exchange_says_why(runs: Callable[..., Upgrader]) -> None:
    absent = Files(absent={"c": "its process ended early"})

    answer = runs(WHOLE, {"trl==2.0": WHOLE}, NOTHING, absent).evaluate(["trl==2.0"])

    assert answer.answer == words.CANNOT_TELL
    assert "rollback     not tried: its process ended early" in "\n".join(report.upgrade_lines(answer))


def test_with_a_package_that_moves_and_is_no_release_the_rest_runs_and_is_never_safe(
    runs: Callable[..., Upgrader], base: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = {"flash-attn": ("git+https://host/f@abc", "git+https://host/f@def")}
    upgrader = runs(WHOLE, {"as in new.txt": WHOLE})
    found = replace(trl_candidate(base), cell=Cell(name="as in new.txt"), unreleased=commits)
    monkeypatch.setattr(candidate, "from_file", lambda *_: found)

    answer = upgrader.evaluate(["the packages of new.txt"], against=Path("new.txt"))

    assert (answer.answer, answer.judgement.exit_code) == (words.CANNOT_TELL, 3)
    assert answer.after == WHOLE
    text = " ".join("\n".join(report.upgrade_lines(answer)).split())
    assert "not tested flash-attn git+https://host/f@abc -> git+https://host/f@def: not a release" in text


@pytest.mark.parametrize(
    ("text", "requested", "expected"),
    [
        ("transformers>=5.23", "trl==1", [("transformers>=5.23",)]),
        ("trl>=0.23, or transformers<5", "trl==1", [("transformers<5",)]),
        ("pyarrow<26, or transformers>=4.45 with numpy>=2", "trl==1",
         [("pyarrow<26",), ("transformers>=4.45", "numpy>=2")]),
        ("ask upstream", "trl==1", []),
    ],
)  # fmt: skip
def test_the_alternatives_of_a_fix_are_requests(
    text: str, requested: str, expected: list[tuple[str, ...]]
) -> None:
    assert list(requests.fix_requests(text, [requested])) == expected


def test_a_request_that_asks_for_nothing_new_is_an_error(base: Baseline) -> None:
    same = replace(trl_candidate(base), requests=("trl",), moved={})

    with pytest.raises(UsageError, match=r"trl asks for nothing new: base has trl 1\.0 already"):
        requests.nothing_moves(same, base)


def test_a_file_that_pins_what_the_baseline_pins_is_an_answer(base: Baseline) -> None:
    """A pull request that changes a comment in the pins once ended with a traceback."""
    cell = replace(base.cell, imported_from="before.txt")
    same = replace(trl_candidate(base), requests=("as in after.txt",), moved={})

    reason = requests.nothing_moves(same, replace(base, cell=cell))

    assert reason == "nothing moves: after.txt pins what before.txt pins"


def test_where_nothing_moves_nothing_runs_and_the_answer_is_whole(
    runs: Callable[..., Upgrader], base: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It also says what the files list and the environments lack."""
    found = ImportedLock(packages=base.packages, added=(), moved={}, left_out=("flash-attn",))
    monkeypatch.setattr(imported, "import_lock", lambda *_: found)
    monkeypatch.setattr(candidate, "run", None)
    upgrader = runs(GOOD, {})
    upgrader = replace(upgrader, base=replace(base, notes=("baseline: left out",)))
    answer = upgrader.evaluate(("the packages of new.lock",), against=tmp_path / "new.lock")

    assert (answer.answer, answer.judgement.exit_code) == (words.NOTHING_TO_TEST, 0)
    left_out = "candidate: left out, not releases for a CPU: flash-attn"
    assert report.upgrade_lines(answer) == [
        f"NOTHING TO TEST: nothing moves: {tmp_path}/new.lock pins what base pins",
        "pins         baseline: left out",
        f"pins         {left_out}",
    ]
    assert report.upgrade_json(answer)["notes"] == ["baseline: left out", left_out]
    assert f"- {left_out}" in report.upgrade_markdown(answer)


def test_a_model_that_cannot_be_had_is_an_error(runs: Callable[..., Upgrader]) -> None:
    names = ("import", "finetune", "finetune-resume", "align", "align-resume", "generate")
    stages = [Result(name=name, outcome="not_run") for name in names]
    error = Failure(type="Skipped", message="no such repository")
    skipped = replace(
        GOOD, outcome="skipped", stages=(*stages, Result(name="download", outcome="skipped", error=error))
    )

    with pytest.raises(UsageError, match=r"cannot be had: no such repository"):
        runs(skipped, {}).evaluate(["trl==2.0"])
    silent = replace(error, message="the Hub does not answer")
    unreachable = replace(skipped, stages=(*stages, Result(name="download", outcome="skipped", error=silent)))
    with pytest.raises(InfrastructureError):
        runs(unreachable, {}).evaluate(["trl==2.0"])


def test_what_failed_on_both_sides_comes_first(runs: Callable[..., Upgrader]) -> None:
    broken = failed("finetune", "ConfigError", message="warmup_ratio: unknown key")

    answer = runs(broken, {"trl==2.0": broken}).evaluate(["trl==2.0"])

    assert answer.judgement.exit_code == 3
    lines = report.upgrade_lines(answer)
    assert lines[0] == "CANNOT TELL: base with trl 1.0 -> 2.0"
    assert lines[2].startswith(
        "not tested   finetune: failed in both: ConfigError: warmup_ratio: unknown key"
    )


def test_the_nearest_release_that_does_not_break_is_named(
    runs: Callable[..., Upgrader], base: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorded(version: str, record: Record) -> Record:
        return replace(record, environment={"packages": {**base.packages, "trl": version}})

    others = [recorded("1.5", GOOD), recorded("1.7", GOOD), recorded("1.8", failed("align"))]
    monkeypatch.setattr(Store, "records", lambda _: others)
    upgrader = runs(GOOD, {"trl==2.0": failed("align")})
    monkeypatch.setattr(upgrade, "requested_packages", lambda *_: ["trl"])
    monkeypatch.setattr(
        candidate, "resolve", lambda *_: replace(trl_candidate(base), packages={"trl": "2.0"})
    )
    monkeypatch.setattr(candidate, "run", lambda *_: failed("align"))

    assert upgrader.evaluate(["trl==2.0"]).nearest == ("trl 1.7", words.SAFE)


def test_the_answer_is_cannot_tell_if_the_resolver_refuses(
    runs: Callable[..., Upgrader], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Candidate:
        raise UnresolvableError("Because trl 2 requires torch 99")

    upgrader = runs(GOOD, {})
    monkeypatch.setattr(candidate, "resolve", refuse)
    answer = upgrader.evaluate(["trl==2.0"])

    assert report.upgrade_lines(answer)[:2] == [
        "CANNOT TELL: base with trl==2.0",
        "  Because trl 2 requires torch 99",
    ]
    assert answer.judgement.exit_code == 3
    assert report.upgrade_json(answer)["candidate"] is None


def test_the_screen_holds_many_findings(runs: Callable[..., Upgrader]) -> None:
    """Fifty causes: the worst come whole, the rest is counted."""

    def many(value: float) -> Record:
        differences = {f"m{place}.x_difference": value for place in range(30)}
        return replace(GOOD, fingerprint=differences | {f"s{place}.y.loss": value + 1 for place in range(30)})

    before, after = many(0.0), many(1.0)
    answer = runs(before, {"trl==2.0": after}).evaluate(["trl==2.0"])
    lines = report.upgrade_lines(answer)

    assert len(lines) <= 40
    # Commands and paths are never cut.
    uncut = ("details", "unexplained")
    assert [line for line in lines if len(line) > 100 and not line.startswith(uncut)] == []
    assert any("more; --details shows them" in line for line in lines)
    assert len(report.upgrade_lines(answer, everything=True)) > 60


@pytest.mark.parametrize("request_", ["trl=1", "", "trl==1==2"])
def test_a_malformed_request_is_an_error(base: Baseline, request_: str) -> None:
    with pytest.raises(UsageError, match="is not a request such as"):
        candidate.resolve(base, [request_], base.store)


def judged(word: str, after: Record = GOOD) -> Judgement:
    return replace(judge(GOOD, after, NOTHING), answer=word)


def test_the_plan_shows_what_moves_with_each_bump_and_the_order(base: Baseline) -> None:
    def answer(word: str, request: str, found: Candidate | None = None, after: Record = GOOD) -> Answer:
        return Answer(judgement=judged(word, after), baseline="base", requests=(request,), candidate=found)

    alone = {
        "trl": answer(words.BREAKS, "trl==2.0", trl_candidate(base), failed("import")),
        "peft": answer(words.SAFE, "peft==2.0"),
    }
    order = [("peft", alone["peft"])]
    plan = plans.Plan(alone=alone, together=answer(words.BREAKS, "all"), order=order, blocked=["trl"])

    assert list(report.plan_lines(plan)) == [
        "BREAKS             trl==2.0 alone; also moves accelerate 1.0 -> 1.5",
        "SAFE               peft==2.0 alone",
        "BREAKS             all together",
        "",
        "1. peft==2.0 (SAFE)",
        "-  trl: blocked; alone: the packages no longer import together: KeyError: x",
    ]
    assert report.plan_json(plan)["order"] == ["peft==2.0"]


def test_bumps_are_ordered_so_that_every_step_works(
    runs: Callable[..., Upgrader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """trl changes behaviour, accelerate works only after trl, and peft never works."""
    evaluated: list[tuple[str, ...]] = []

    def evaluate(_: Upgrader, requests: list[str], **__: Any) -> Answer:
        evaluated.append(tuple(requests))
        bad = "peft==2" in requests or ("accelerate==2" in requests and "trl==2" not in requests)
        word = words.BREAKS if bad else words.BEHAVIOUR_CHANGES
        return Answer(judgement=judged(word), baseline="base", requests=tuple(requests))

    monkeypatch.setattr(Upgrader, "evaluate", evaluate)
    newest = {"accelerate": "2", "peft": "2", "trl": "2"}
    monkeypatch.setattr(plans, "outdated", lambda _: newest)

    plan = plans.plan(runs(GOOD, {}))

    assert [name for name, _ in plan.order] == ["trl", "accelerate"]
    assert plan.blocked == ["peft"]
    assert plan.together.answer == words.BREAKS
    assert ("trl==2", "accelerate==2") in evaluated


def test_a_plan_without_anything_outdated_is_an_error(
    runs: Callable[..., Upgrader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "outdated", lambda _: {})

    with pytest.raises(UsageError, match="nothing to upgrade"):
        plans.plan(runs(GOOD, {}))


TOY = ["1.0.0", "1.0.1", "1.1.0", "1.1.1", "1.2.0", "1.2.1", "1.3.0", "1.3.1"]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({"1.3.0", "1.3.1"}, ">=1.0.0,<1.3.0"),  # not <1.3.1, of which bisect says that 1.3.0 is bad
        ({"1.3.1"}, ">=1.0.0,<1.3.1"),
        ({"1.0.0", "1.0.1", "1.1.0"}, ">=1.1.1"),  # an early patch release of a good minor version
        ({"1.0.0"}, ">=1.0.1"),
        (set(), ">=1.0.0"),
        ({"1.0.0", "1.0.1", "1.3.1"}, ">=1.1.0,<1.3.1"),
    ],
)
def test_a_range_ends_at_the_first_bad_release(
    base: Baseline, monkeypatch: pytest.MonkeyPatch, bad: set[str], expected: str
) -> None:
    known = tuple(Release(Version(text), datetime.date(2026, 1, 1)) for text in TOY)
    monkeypatch.setattr(releases, "releases", lambda _: known)
    monkeypatch.setattr(bounds, "upstream_errors", lambda *_: [])
    base = replace(base, packages={**base.packages, "toy": "1.2.0"})
    prober = Prober(base=base, options=Options(), store=base.store, progress=lambda _: None)
    prober.reference = GOOD
    monkeypatch.setattr(Prober, "failure", lambda _, pins: "bad" if set(pins.values()) & bad else "")

    (found,) = bounds.find_bounds(base, ["toy"], prober).ranges

    assert found.specifier == expected


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
        "# Every stage of the pipeline of tunematrix passes in these ranges.\n[project]\ndependencies = [\n"
        "    # 0.22.2: import: KeyError\n    # 0.27.2: align: TypeError\n"
        '    "trl>=0.23.1,<0.27.2",\n    "peft>=0.13.2",\n]\n'
    )
    text = "\n".join(answers.bounds_lines(answer))
    assert "\nlowest together: trl 0.23.1, peft 0.13.2: works\n" in text
    assert (
        "\nhighest together: trl 0.26.2, peft 0.21.2: works; narrowed, since the ends together: align: x\n"
    ) in text
    assert text.endswith(answer.upstream[0])


def test_the_baseline_runs_once_for_all_requests(
    runs: Callable[..., Upgrader], monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrader = runs(GOOD, {"trl==2.0": GOOD, "trl==3.0": GOOD})
    baselines: list[Record] = []

    def run_baseline(*_: object) -> Record:
        baselines.append(GOOD)
        return GOOD

    monkeypatch.setattr(candidate, "run_baseline", run_baseline)
    for request in ("trl==2.0", "trl==3.0"):
        upgrader.evaluate([request])

    assert len(baselines) == 1


def test_the_ladder_says_what_to_expect_and_the_run_what_of_it_came(runs: Callable[..., Upgrader]) -> None:
    loss, other = "tiny-llama.sft.text.training_loss", "tiny-llama.dpo.text.training_loss"

    def rung(after: str, before: str, field: str, severity: str) -> Rung:
        finding = {"id": "f", "severity": severity, "title": f"{field} moves", "fields": [field]}
        return Rung(
            day="2026-01-01",
            package="trl",
            before=before,
            after=after,
            changes={field: (1, 2)},
            findings=(finding,),
        )

    ladder = (rung("1.5", "1.0", loss, "training"), rung("2.0", "1.5", "gone", "broken"))
    said: list[str] = []
    before, after = (replace(GOOD, fingerprint={loss: value, other: value}) for value in (2.0, 3.0))
    upgrader = runs(before, {"trl==2.0": after}, replace(NOTHING, rungs=ladder))
    answer = replace(upgrader, progress=said.append).evaluate(["trl==2.0"])
    assert said[0] == "expected: 1 broken, 1 train otherwise, such as trl 2.0: gone moves"
    row = " ".join("\n".join(report.upgrade_lines(answer)).split("foreseen")[1].split())
    assert row.startswith("1 of 2 findings; not: DPO")
    assert "expected in vain: gone moves (trl 2.0)" in row
    assert [each["release"] for each in report.upgrade_json(answer)["prediction"]["found"]] == ["2.0", "1.5"]


@pytest.mark.parametrize(
    ("rungs", "words_"),
    [
        ((), "nothing is known"),
        ((Rung(day="d", package="trl", before="1.0", after="2.0"),), "change nothing"),
    ],
)
def test_nothing_known_is_not_nothing_to_expect(
    runs: Callable[..., Upgrader], rungs: tuple[Rung, ...], words_: str
) -> None:
    said: list[str] = []
    upgrader = runs(GOOD, {"trl==2.0": GOOD}, replace(NOTHING, rungs=rungs))
    answer = replace(upgrader, progress=said.append).evaluate(["trl==2.0"])
    assert words_ in said[0]
    lines = "\n".join(report.upgrade_lines(answer))
    assert ("foreseen     that nothing changes" in lines) == bool(rungs)


@pytest.mark.parametrize("path", ["", "train.py"])
def test_fix_makes_the_edits_and_runs_the_changed_code(
    path: str, runs: Callable[..., Upgrader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.py"
    script.write_text("from trl import DPOConfig\nDPOConfig(beta=0.1, max_prompt_length=8)\n")
    before = replace(
        GOOD,
        defaults={"DPOConfig": {"max_prompt_length": 512, "other": 1}},
        signatures={"trl.DPOConfig": ["max_prompt_length", "other"]},
    )
    after = replace(before, defaults={"DPOConfig": {}}, signatures={"trl.DPOConfig": []})
    knowledge = replace(NOTHING, code=upgrade.read_code(tmp_path / path, Options()))
    upgrader = runs(before, {"trl==2.0": after}, knowledge)
    answer = upgrader.evaluate(["trl==2.0"])
    edits = [one.title for one in answer.judgement.findings if one.severity == "edit"]
    assert edits == ["train.py:2: DPOConfig(max_prompt_length=) is gone"]

    ran: list[str] = []

    def run(*_: object) -> Record:
        ran.append(script.read_text())
        return after

    monkeypatch.setattr(candidate, "run", run)
    fixed = upgrader.fix(replace(answer, files=replace(ALL_READ, findings=(LOST,))), tmp_path / path)
    assert LOST in fixed.judgement.findings, "edits change nothing about files"
    assert ran == ["from trl import DPOConfig\nDPOConfig(beta=0.1)\n"]
    assert list(fixed.fixed) == ["train.py"]
    assert not [one for one in fixed.judgement.findings if one.severity == "edit"]
    assert "fixed        train.py: -DPOConfig(beta=0.1, max_prompt_length=8); +DPOConfig(beta=0.1)" in (
        "\n".join(report.upgrade_lines(fixed))
    )
    assert upgrader.fix(fixed, tmp_path / path).fixed == fixed.fixed  # there is nothing left to change
    assert len(ran) == 1


def test_what_the_changed_scripts_keep_is_read_again(
    runs: Callable[..., Upgrader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text("from trl import DPOConfig\nDPOConfig(max_prompt_length=8)\n")
    (tmp_path / "workload.toml").write_text('[[stage]]\nname = "dpo"\nrun = "python train.py"\n')
    before = replace(GOOD, signatures={"trl.DPOConfig": ["max_prompt_length", "other"]})
    options = Options(workload=tmp_path / "workload.toml")
    knowledge = replace(NOTHING, code=upgrade.read_code(tmp_path, options))
    upgrader = runs(before, {"trl==2.0": replace(before, signatures={"trl.DPOConfig": []})}, knowledge)
    upgrader = replace(upgrader, options=options)
    found = [replace(ALL_READ, findings=(LOST,)), ALL_READ]
    monkeypatch.setattr(kept, "swap", lambda *_: found.pop(0))
    answer = upgrader.evaluate(["trl==2.0"])
    assert LOST in answer.judgement.findings
    assert LOST not in upgrader.fix(answer, tmp_path).judgement.findings


def test_a_file_of_pins_is_the_candidate(
    runs: Callable[..., Upgrader], base: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = {"trl": "1.1", "accelerate": "1.0", "pytest": "9.0"}
    found = ImportedLock(packages=packages, added=(), moved={}, left_out=())
    monkeypatch.setattr(imported, "import_lock", lambda *_: found)
    upgrader = runs(GOOD, {})
    seen: list[Candidate] = []

    def run(made: Candidate, *_: object) -> Record:
        seen.append(made)
        return GOOD

    monkeypatch.setattr(candidate, "run", run)
    answer = upgrader.evaluate(("the packages of new.lock",), against=tmp_path / "new.lock")
    assert answer.answer == words.SAFE
    assert seen[0].packages == packages
    assert seen[0].moved == {"trl": ("1.0", "1.1")}
    assert report.upgrade_lines(answer)[0] == "SAFE: base with trl 1.0 -> 1.1"


def test_numbers_that_are_noise_are_told(runs: Callable[..., Upgrader]) -> None:
    noisy = replace(
        GOOD, options={"stages": "sft"}, fingerprint={"sft.loss": [1.0], "sft.noise": {"loss": 0.5}}
    )
    noisy = replace(noisy, stages=(Result(name="sft", outcome="passed"),))
    answer = runs(noisy, {"trl==2.0": replace(noisy, fingerprint={"sft.loss": [1.4]})}).evaluate(["trl==2.0"])
    assert answer.answer == words.SAFE
    told = "noise        not equal when run twice, so compared with that: sft (loss)"
    assert told in report.upgrade_lines(answer)
