"""The one answer: what each planted difference means, and that SAFE needs every part on both sides."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Failure, Record, Result
from tunematrix.shared.stages import STAGES
from tunematrix.verdict import accepted, answer
from tunematrix.verdict.accepted import Accepted
from tunematrix.verdict.answer import Knowledge, judge
from tunematrix.verdict.causes import KnownChange
from tunematrix.verdict.diff import SURFACE_PROBE
from tunematrix.verdict.ledger import Ledger

TODAY = datetime.date(2026, 11, 24)
NOTHING = Knowledge(known=(), ledger=Ledger(path=Path("l")), accepted=Accepted(path=Path("a")), today=TODAY)
GOOD = Record(
    cell="base",
    outcome="passed",
    stages=tuple(Result(name=name, outcome="passed") for name in STAGES),
    probes=(Result(name=SURFACE_PROBE, outcome="passed"),),
    environment={"packages": {"trl": "1.0", "transformers": "4.0"}},
)


def failed(stage: str, error: str = "KeyError", outcome: str = "failed", message: str = "x") -> Record:
    def result(name: str) -> Result:
        failure = Failure(type=error, message=message)
        return Result(name=name, outcome=outcome, error=failure) if name == stage else GOOD.stage(name)

    return replace(GOOD, outcome=outcome, stages=tuple(result(name) for name in STAGES))


def numbers(record: Record = GOOD, **values: Any) -> Record:
    return replace(record, fingerprint={name.replace("__", "."): value for name, value in values.items()})


def defaults(**values: Any) -> Record:
    return replace(GOOD, defaults={"SFTConfig": values})


EDITED = replace(GOOD, call_sites=({"call": "trl.X", "argument": "new", "use": "old"},))
SIGNED = replace(GOOD, signatures={"trl.X": ["a", "b"]})
EXCHANGE = Result(name="exchange:load", outcome="failed", error=Failure(type="UnpicklingError", message="x"))
PROBED = replace(GOOD, probes=(*GOOD.probes, Result(name="merge", outcome="passed")))

NAN = float("nan")
TRAINS = Result(name="train", outcome="passed")
FAILS = Result(name="train", outcome="failed", error=Failure(type="ValueError", message="x"))
UNTRIED = replace(GOOD, stages=tuple(Result(name=name, outcome="unavailable") for name in STAGES))

CASES = {
    "nothing": (GOOD, GOOD, answer.SAFE, 0),
    "a stage fails": (GOOD, failed("align"), answer.BREAKS, 1),
    "a resume is silently wrong": (GOOD, failed("align-resume", "Mismatch"), answer.BREAKS, 1),
    "a checkpoint does not load": (GOOD, replace(GOOD, probes=(*GOOD.probes, EXCHANGE)), answer.BREAKS, 1),
    "a measure raises": (numbers(sft__packed__loss=1.0), numbers(sft__packed__error="E"), answer.BREAKS, 1),
    "a relation is lost": (numbers(a__x_difference=0.0), numbers(a__x_difference=0.5), answer.BREAKS, 1),
    "a ratio is lost": (numbers(a__ratio_2=1.0), numbers(a__ratio_2=2.0), answer.BREAKS, 1),
    "a loss is NaN": (numbers(sft__x__loss=1.0), numbers(sft__x__loss=float("nan")), answer.BREAKS, 1),
    "a loss is no longer NaN": (
        numbers(sft__x__loss=float("nan")),
        numbers(sft__x__loss=1.0),
        answer.SAFE,
        0,
    ),
    "a loss moves": (
        numbers(sft__text__loss=[1.0]),
        numbers(sft__text__loss=[2.0]),
        answer.BEHAVIOUR_CHANGES,
        1,
    ),
    "a default moves": (defaults(lr=1.0), defaults(lr=2.0), answer.BEHAVIOUR_CHANGES, 1),
    "a field is gone": (defaults(lr=1.0, old=1), defaults(lr=1.0), answer.SAFE_WITH_EDITS, 0),
    "a call is edited": (EDITED, GOOD, answer.SAFE_WITH_EDITS, 0),
    "an argument is gone": (SIGNED, replace(SIGNED, signatures={"trl.X": ["a"]}), answer.SAFE_WITH_EDITS, 0),
    "files differ": (numbers(x__files=["a"]), numbers(x__files=["b"]), answer.SAFE, 0),
    "the last digits differ": (
        numbers(sft__text__loss=[1.0]),
        numbers(sft__text__loss=[1.000015]),
        answer.SAFE,
        0,
    ),
    "a default becomes None": (defaults(lr=1.0), defaults(lr=None), answer.SAFE, 0),
    "a default becomes a list of itself": (defaults(x="a"), defaults(x=["a"]), answer.SAFE, 0),
    "both fail": (failed("finetune"), failed("finetune"), answer.CANNOT_TELL, 3),
    "both fail differently": (failed("align"), failed("align", "TypeError"), answer.CANNOT_TELL, 3),
    "one is skipped": (GOOD, failed("align", outcome="skipped"), answer.CANNOT_TELL, 3),
    "both are skipped": (
        failed("align", outcome="skipped"),
        failed("align", outcome="skipped"),
        answer.CANNOT_TELL,
        3,
    ),
    "not installed": (GOOD, replace(GOOD, outcome="uninstallable", stages=()), answer.CANNOT_TELL, 3),
    "NaN after a number": (
        numbers(a__loss=[1.0, 2.0]),
        numbers(a__loss=[1.0, float("nan")]),
        answer.BREAKS,
        1,
    ),
    "a test of one name in two files": (
        replace(GOOD, probes=(*GOOD.probes, TRAINS, TRAINS)),
        replace(GOOD, probes=(*GOOD.probes, FAILS, TRAINS)),
        answer.BREAKS,
        1,
    ),
    "a test leaves a trace only if it fails": (
        GOOD,
        replace(GOOD, outcome="failed", probes=(*GOOD.probes, FAILS)),
        answer.BREAKS,
        1,
    ),
    "no numbers at all": (numbers(a__b__loss=1.0), GOOD, answer.CANNOT_TELL, 3),
    "no fingerprint before": (replace(GOOD, probes=()), GOOD, answer.CANNOT_TELL, 3),
    "no packages": (GOOD, replace(GOOD, environment={}), answer.CANNOT_TELL, 3),
    "an outcome without a reason": (GOOD, replace(GOOD, outcome="crashed"), answer.CANNOT_TELL, 3),
    "no stage was tried": (UNTRIED, UNTRIED, answer.CANNOT_TELL, 3),
    "a probe did not run": (PROBED, GOOD, answer.CANNOT_TELL, 3),
    "what failed passes now": (failed("align"), GOOD, answer.BEHAVIOUR_CHANGES, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_each_planted_difference_has_its_answer_and_exit_code(name: str) -> None:
    before, after, expected, code = CASES[name]

    judgement = judge(before, after, NOTHING)

    assert (judgement.answer, judgement.exit_code) == (expected, code), judgement


@pytest.mark.parametrize(("before", "after"), [(None, GOOD), (GOOD, None), (None, None)])
def test_a_missing_record_is_never_safe(before: Record | None, after: Record | None) -> None:
    judgement = judge(before, after, NOTHING)

    assert (judgement.answer, judgement.exit_code) == (answer.CANNOT_TELL, 3)
    assert judgement.untested


def test_what_failed_in_both_is_named_with_its_error() -> None:
    broken = failed("finetune", "ConfigError", message="training.warmup_ratio: unknown key")

    judgement = judge(broken, broken, NOTHING)

    assert judgement.untested == (
        "finetune: failed in both: ConfigError: training.warmup_ratio: unknown key",
    )


def test_what_runs_and_is_wrong_is_worse_than_what_was_not_tested() -> None:
    before = failed("finetune")
    after = replace(before, stages=(*before.stages[:-1], replace(before.stages[-1], outcome="failed")))

    assert judge(before, after, NOTHING).answer == answer.BREAKS


def test_an_edit_that_was_tried_and_works_is_none() -> None:
    after = replace(SIGNED, signatures={"trl.X": ["a"]}, tried={"trl.X(b)": ""})

    assert judge(SIGNED, after, NOTHING).answer == answer.SAFE
    refused = replace(after, tried={"trl.X(b)": "TypeError: b"})
    assert judge(SIGNED, refused, NOTHING).answer == answer.SAFE_WITH_EDITS


CHANGE = KnownChange(
    id="loss-moves", fields=("sft.*",), package="trl", since=Version("2.0"), cause="the loss moves"
)


def changed() -> tuple[Record, Record, Knowledge]:
    after = replace(GOOD, environment={"packages": {"trl": "2.0", "transformers": "4.0"}})
    knowledge = replace(NOTHING, known=(CHANGE,))
    return numbers(sft__text__loss=[1.0]), numbers(after, sft__text__loss=[2.0]), knowledge


def test_an_accepted_finding_opens_the_gate_until_its_day(tmp_path: Path) -> None:
    before, after, knowledge = changed()
    judgement = judge(before, after, knowledge)
    assert [finding.id for finding in judgement.findings] == ["loss-moves"]

    accepted.add(tmp_path, "loss-moves", "measured, fine", judgement.findings, ["trl==2.0"])
    entries = accepted.load(tmp_path)
    gate = judge(before, after, replace(knowledge, accepted=entries))

    assert (gate.answer, gate.exit_code) == (answer.BEHAVIOUR_CHANGES, 0)
    assert gate.findings[0].accepted == "measured, fine"
    assert gate.problems == ()
    later = replace(
        knowledge, accepted=entries, today=entries.entries[0].expires + datetime.timedelta(days=1)
    )
    expired = judge(before, after, later)
    assert expired.exit_code == 1
    assert "expired on" in expired.problems[0]


def test_an_entry_that_matches_nothing_says_so(tmp_path: Path) -> None:
    before, after, knowledge = changed()
    accepted.add(tmp_path, "loss-moves", "fine", judge(before, after, knowledge).findings, ["trl==2.0"])

    unmoved = replace(before, fingerprint=after.fingerprint)
    gate = judge(unmoved, after, replace(knowledge, accepted=accepted.load(tmp_path)))

    assert "matches no finding" in gate.problems[0]
    other = judge(after, after, replace(knowledge, accepted=accepted.load(tmp_path)))
    assert other.problems == ()  # a step that the entry is not about


def test_a_finding_without_a_cause_is_accepted_as_it_was_seen(tmp_path: Path) -> None:
    before, after, _ = changed()
    found = judge(before, after, NOTHING).findings
    accepted.add(tmp_path, found[0].id, "fine", found, ["trl==2.0"])
    knowledge = replace(NOTHING, accepted=accepted.load(tmp_path))

    assert judge(before, after, knowledge).exit_code == 0
    more = {"sft.text.loss": [1.0], "sft.chat.loss": [1.0]}
    wider = replace(after, fingerprint={name: [2.0] for name in more})
    assert judge(replace(before, fingerprint=more), wider, knowledge).exit_code == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("loss-move", "did you mean 'loss-moves'"), ("broken-align", "can be accepted; hold the pin")],
)
def test_only_a_finding_that_is_there_and_harmless_can_be_accepted(
    tmp_path: Path, name: str, message: str
) -> None:
    before, after, knowledge = changed()
    found = (*judge(before, after, knowledge).findings, *judge(GOOD, failed("align"), NOTHING).findings)

    with pytest.raises(UsageError, match=message):
        accepted.add(tmp_path, name, "fine", found, ["trl==2.0"])
    assert not (tmp_path / accepted.FILE).exists()


ROWS = """schema = 1
[[accepted]]
id = "loss-moves"
when = ["trl>=2.0"]
reason = "old"
expires = 2030-01-01
[[accepted]]
id = "loss-moves"
when = ["trl==1.5"]
reason = "another stack"
expires = 2030-01-01
[[accepted]]
id = "unrelated"
when = ["trl>=2.0"]
reason = "stays"
expires = 2030-01-01
"""


def test_accepting_touches_no_other_entry(tmp_path: Path) -> None:
    before, after, knowledge = changed()
    (tmp_path / accepted.FILE).write_text(ROWS)
    found = judge(before, after, knowledge).findings
    accepted.add(tmp_path, "loss-moves", "new hf_AbcdefghijklmnopQrstuvwxyz01234567", found, ["trl==2.0"])

    reasons = [entry.reason for entry in accepted.load(tmp_path).entries]
    assert reasons[:2] == ["another stack", "stays"]
    assert "hf_Abcdefg" not in (tmp_path / accepted.FILE).read_text()


@pytest.mark.parametrize("text", ["schema = 1\naccepted = []\n", "schema = 1\naccepted = [{id = 'x'}]\n"])
def test_a_file_that_cannot_be_added_to_stays_as_it_is(tmp_path: Path, text: str) -> None:
    before, after, knowledge = changed()
    (tmp_path / accepted.FILE).write_text(text)

    with pytest.raises(UsageError, match=r"as \[\[accepted\]\]"):
        accepted.add(tmp_path, "loss-moves", "x", judge(before, after, knowledge).findings, ["trl==2.0"])
    assert (tmp_path / accepted.FILE).read_text() == text


@pytest.mark.parametrize("line", ['when = ["trl"]', 'when = ["trl @ https://x/y"]', 'reason = " "'])
def test_an_entry_that_says_too_little_is_an_error(tmp_path: Path, line: str) -> None:
    key = line.partition(" ")[0]
    lines = [row for row in ROWS.splitlines()[:6] if not row.startswith(key)]
    (tmp_path / accepted.FILE).write_text("\n".join([*lines, line]))

    with pytest.raises(UsageError, match=r"not conditions|needs a reason"):
        accepted.load(tmp_path)


def test_accepting_again_replaces_the_entry_and_keeps_the_rest_of_the_file(tmp_path: Path) -> None:
    before, after, knowledge = changed()
    found = judge(before, after, knowledge).findings
    (tmp_path / accepted.FILE).write_text("# ours\nschema = 1\n")
    for reason in ("one", "two"):
        accepted.add(tmp_path, "loss-moves", reason, found, ["trl==2.0"])

    assert [entry.reason for entry in accepted.load(tmp_path).entries] == ["two"]
    assert (tmp_path / accepted.FILE).read_text().startswith("# ours\n")
