"""Findings: one for each cause, each number in one of them, in sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.unit.verdict.test_answer import GOOD, NOTHING, failed, numbers
from tunematrix.base.record import Record
from tunematrix.verdict import causes, ledger
from tunematrix.verdict.answer import judge
from tunematrix.verdict.causes import KnownChange
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.topics import topic

NEWER = replace(GOOD, environment={"packages": {"trl": "2.0", "transformers": "5.0"}})
CONSTRAINTS = Path(__file__).parents[3] / "constraints"


def known(name: str, *fields: str, package: str = "trl", since: str = "2.0", **options: Any) -> KnownChange:
    return KnownChange(
        id=name, fields=fields, package=package, since=Version(since), cause=f"cause {name}", **options
    )


def found(before: Record, after: Record, *changes: KnownChange) -> dict[str, Finding]:
    judgement = judge(before, after, replace(NOTHING, known=changes))
    return {finding.id: finding for finding in judgement.findings}


def test_the_most_specific_cause_gets_the_number_and_only_once() -> None:
    before = numbers(dpo__text__loss=1.0, dpo__long__loss=1.0)
    after = numbers(NEWER, dpo__text__loss=2.0, dpo__long__loss=2.0)

    findings = found(before, after, known("broad", "*"), known("dpo", "dpo.*"), known("long", "dpo.long.*"))

    assert findings["dpo"].fields == ("dpo.text.loss",)
    assert findings["long"].fields == ("dpo.long.loss",)
    assert "broad" not in findings
    assert findings["long"].cause is not None
    assert (findings["long"].cause.package, findings["long"].cause.release) == ("trl", "2.0")


def test_settings_are_edits() -> None:
    names = ["CACHE_DIR", "WANDB_DISABLED"]
    before = replace(GOOD, symbols={"transformers:environment": names, "trl:commands": ["chat"]})
    after = replace(NEWER, symbols={"transformers:environment": [], "trl:commands": []})

    assert sorted((each.severity, each.title) for each in found(before, after).values()) == [
        ("edit", "1 command gone: chat"),
        ("edit", "2 environment variables no longer read: CACHE_DIR, WANDB_DISABLED"),
    ]


def test_a_known_change_says_what_to_set_instead() -> None:
    before = replace(GOOD, symbols={"transformers:environment": ["OLD_CACHE", "USE_FLAX"]})
    after = replace(NEWER, symbols={"transformers:environment": []})
    change = known("cache", "transformers:environment.*_CACHE", action="set HF_HOME")

    findings = found(before, after, change)
    assert findings["cache"].title == "1 environment variable no longer read: OLD_CACHE"
    assert (findings["cache"].severity, findings["cache"].action) == ("edit", "set HF_HOME")
    assert findings["edit-environment"].fields == ("transformers:environment.USE_FLAX",)


def test_the_id_of_a_known_change_stays_as_it_is_written() -> None:
    findings = found(numbers(a__loss=1.0), numbers(NEWER, a__loss=2.0), known("Team_A: our change", "*"))

    assert set(findings) == {"Team_A: our change"}


def test_effects_follow_the_first_cause_in_the_same_run() -> None:
    before = numbers(sft__text__input_ids=[1], sft__text__loss=1.0, sft__text__grad_norm=1.0)
    after = numbers(NEWER, sft__text__input_ids=[2], sft__text__loss=2.0, sft__text__grad_norm=2.0)

    findings = found(before, after, known("tokens", "sft.*.input_ids"))

    assert set(findings) == {"tokens"}
    assert set(findings["tokens"].fields) == {"sft.text.input_ids", "sft.text.loss", "sft.text.grad_norm"}


def test_a_later_stage_follows_the_one_it_starts_from() -> None:
    before = numbers(finetune__loss=[1.0], align__loss=[1.0])
    after = numbers(NEWER, finetune__loss=[2.0], align__loss=[2.0])

    assert set(found(before, after, known("sft", "finetune.*"))) == {"sft"}


def test_unexplained_numbers_are_grouped_by_what_was_measured() -> None:
    before = numbers(sft__text__loss=1.0, sft__chat__loss=1.0, dpo__text__chosen_input_ids=[1])
    after = numbers(NEWER, sft__text__loss=2.0, sft__chat__loss=2.0, dpo__text__chosen_input_ids=[2])

    findings = found(before, after)

    assert findings["sft-loss"].title == "SFT has a different loss on the same tokens: chats, text"
    assert findings["dpo-tokens"].title == "DPO sees different tokens: text pairs"
    assert findings["sft-loss"].action.startswith(
        "unexplained; find the release: tunematrix bisect trl 1.0 2.0"
    )


def test_a_measure_that_fails_as_a_stage_does_is_no_finding_of_its_own() -> None:
    before = numbers(dpo__text__loss=1.0, dpo__text__x=1)
    after = replace(failed("align", "AttributeError"), fingerprint={"dpo.text.error": "AttributeError"})

    findings = found(before, after)

    assert set(findings) == {"broken-align"}
    assert findings["broken-align"].title == "DPO fails: AttributeError: x"


def test_a_known_change_can_say_what_it_means() -> None:
    before, after = numbers(sft__text__entropy=1.0), numbers(NEWER, sft__text__entropy=2.0)

    findings = found(before, after, known("logged", "*.entropy", severity="info"))

    assert (findings["logged"].severity, findings["logged"].title) == ("info", "cause logged")


def test_defaults_that_classes_share_are_one_finding() -> None:
    old = {"A": {"steps": 500}, "B": {"steps": 500, "other": 1}}
    new = {"A": {"steps": 10}, "B": {"steps": 10, "other": 2}}

    findings = found(replace(GOOD, defaults=old), replace(NEWER, defaults=new))

    assert findings["defaults"].title == "3 defaults changed: steps 500 -> 10 (A, B), other 1 -> 2 (B)"
    assert findings["defaults"].action == "to keep the old ones: steps=500, other=1"


def test_a_known_issue_gives_a_failure_its_cause_and_fix(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_text(
        'schema = 1\n[[issue]]\nid = "lost"\nstages = ["align-resume"]\n'
        'when = ["trl>=1.5", "transformers<6"]\n'
        'error = "Mismatch"\ncause = "the adapter is lost"\nfix = "transformers>=6"\nexpires = 2030-01-01\n'
    )
    after = replace(failed("align-resume", "Mismatch"), environment=NEWER.environment)

    judgement = judge(GOOD, after, replace(NOTHING, ledger=ledger.load(tmp_path)))

    (finding,) = judgement.findings
    assert (finding.id, finding.severity) == ("lost", "wrong")
    assert finding.title == "a resumed DPO run is not the uninterrupted one"
    assert finding.cause is not None
    assert (finding.cause.package, finding.cause.release) == ("trl", "1.5.0")
    assert finding.action == "the adapter is lost; fixed by transformers>=6"


def test_going_back_undoes_a_change() -> None:
    before, after = numbers(NEWER, sft__text__loss=2.0), numbers(sft__text__loss=1.0)

    assert found(before, after, known("x", "sft.*"))["x"].title == "undone by going back: cause x"


@pytest.mark.parametrize(
    ("name", "family", "subject", "quantity"),
    [
        ("tiny-llama.sft.packed.labels", "SFT", "packed text", "tokens"),
        ("sft.prompts_chat.grad_norm", "SFT", "chat prompts and completions", "gradient"),
        ("tiny-gpt2.resume.sft.later_epoch_training_losses", "SFT resume", "in a later epoch", "loss"),
        ("align-resume.new_ids", "DPO", "the resumed DPO stage", "output"),
        ("generate.finetuned.text", "SFT", "the fine-tuning stage", "output"),
        ("something.new.here", "something", "new", "other"),
        ("tiny-", "tiny-", "tiny-", "other"),
    ],
)
def test_fields_have_words(name: str, family: str, subject: str, quantity: str) -> None:
    found_topic = topic(name)

    assert (found_topic.family, found_topic.subject, found_topic.quantity) == (family, subject, quantity)


def test_every_known_change_that_ships_has_an_id_of_its_own_and_a_date() -> None:
    shipped = causes.load(CONSTRAINTS)

    assert len({change.id for change in shipped}) == len(shipped)
    assert all(change.date for change in shipped)
