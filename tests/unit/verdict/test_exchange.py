"""What an exchange means: groups, directions, the releases between which something happens, known issues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.report import summary as view
from tunematrix.verdict import exchange, ledger
from tunematrix.verdict.pairs import DIFFERS, FAILS, SAME, Pair, Side

OLD = Side(name="old", packages={"transformers": "4.46.3", "peft": "0.13.2", "trl": "0.12.2"})
MIDDLE = Side(name="middle", packages={"transformers": "4.57.6", "peft": "0.18.1", "trl": "0.26.2"})
NEW = Side(name="new", packages={"transformers": "5.23.0", "peft": "0.21.2", "trl": "1.16.0"})
SIDES = (OLD, MIDDLE, NEW)
UNKNOWN_KEY = {
    "type": "TypeError",
    "message": "LoraConfig got an unexpected keyword argument 'alora'",
    "where": "peft/config.py:1",
}
NOTHING = ledger.Ledger(path=Path("known-issues.toml"))


def pair(writer: Side, reader: Side, artifact: str = "lora", **fields: Any) -> Pair:
    outcome = FAILS if "error" in fields else DIFFERS if "difference" in fields else SAME
    return Pair(
        writer=writer.name,
        reader=reader.name,
        model="tiny-llama",
        artifact=artifact,
        **{"outcome": outcome, **fields},
    )


def off(name: str = "logits", size: float | None = 0.5) -> dict[str, Any]:
    return {"name": name, "size": size, "before": "a", "after": "b"}


def find(*pairs: Pair, issues: ledger.Ledger = NOTHING) -> Any:
    return exchange.find(pairs, SIDES, issues)


def test_nothing_differs() -> None:
    assert find(*(pair(writer, reader) for writer in SIDES for reader in SIDES)) == ()


def test_direction_is_that_of_the_reader() -> None:
    sides = {side.name: side for side in SIDES}
    assert pair(OLD, NEW).direction(sides) == "upgrade"
    assert pair(NEW, OLD).direction(sides) == "downgrade"
    assert pair(NEW, NEW).direction(sides) == "same"


def test_one_finding_for_an_error_that_names_other_arguments() -> None:
    second = {**UNKNOWN_KEY, "message": "LoraConfig got an unexpected keyword argument 'bias'"}
    [found] = find(pair(NEW, OLD, error=UNKNOWN_KEY), pair(MIDDLE, OLD, "dora", error=second), pair(OLD, OLD))
    assert (found.severity, found.id) == ("broken", "exchange-lora-fails-downgrade")
    assert found.title.startswith("lora, dora not read (writers since a peft between 0.13.2 and 0.21.2; ")
    assert "; peft 0.18.1 to 0.21.2 by 0.13.2): TypeError: LoraConfig got" in found.title
    assert found.fields == ("exchange.dora", "exchange.lora")


def test_upgrade_and_downgrade_are_two_findings() -> None:
    found = find(pair(NEW, OLD, "full", difference=off()), pair(OLD, NEW, "full", difference=off()))
    assert sorted(each.id for each in found) == [
        "exchange-full-differs-downgrade",
        "exchange-full-differs-upgrade",
    ]


def test_the_action_names_releases_that_were_seen_to_work() -> None:
    downgrade = [pair(NEW, OLD, error=UNKNOWN_KEY), pair(NEW, MIDDLE), pair(OLD, OLD), pair(NEW, NEW)]
    assert (
        find(*downgrade)[0].action
        == "read it with peft 0.18.1 or later, or write it with peft 0.13.2 or earlier"
    )
    upgrade = [pair(OLD, NEW, "full", difference=off()), pair(OLD, MIDDLE, "full"), pair(MIDDLE, NEW, "full")]
    action = find(*upgrade)[0].action
    ways = [
        "read it with transformers 4.57.6, and save it again",
        "write it with transformers 4.57.6 or later",
    ]
    assert action == ", or ".join(ways)


def test_an_action_does_not_name_what_was_not_seen() -> None:
    assert find(pair(NEW, OLD, error=UNKNOWN_KEY))[0].action.startswith("keep the stack that wrote it")


def test_how_a_run_goes_on_is_only_told() -> None:
    [found] = find(pair(OLD, NEW, "sft-goes-on", difference=off("loss")))
    assert found.severity == "info"
    assert "restored, then trained otherwise" in found.title


def test_a_run_that_does_not_resume_is_told_once() -> None:
    found = find(pair(NEW, OLD, "sft", error=UNKNOWN_KEY), pair(NEW, OLD, "sft-goes-on", error=UNKNOWN_KEY))
    assert [each.id for each in found] == ["exchange-sft-fails-downgrade"]


def test_the_error_that_hides_behind_another_is_the_reason() -> None:
    error = {"type": "ImportError", "message": "requires protobuf", "cause": "AttributeError: no keys"}
    assert pair(NEW, OLD, "tokenizer", error=error).reason == "AttributeError: no keys"


ENTRY = """
schema = 1
[[issue]]
id = "unknown-keys"
stages = ["exchange:*"]
when = ["peft<0.14"]
written_by = ["peft>=0.18"]
error = "unexpected keyword argument"
cause = "peft before 0.14 refuses keys that it does not know"
fix = "peft>=0.14"
expires = 2999-01-01
"""


def test_the_ledger_explains_pairs_of_both_sides(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_text(ENTRY)
    issues = ledger.load(tmp_path)
    known, new = pair(NEW, OLD, error=UNKNOWN_KEY), pair(NEW, MIDDLE, error=UNKNOWN_KEY)
    [found] = find(known, issues=issues)
    assert (found.accepted, found.action) == ("known: unknown-keys", "peft>=0.14")
    assert find(known, new, issues=issues)[0].accepted == "", "one pair of the two is new"
    other = {**UNKNOWN_KEY, "message": "another error"}
    assert find(pair(NEW, OLD, error=other), issues=issues)[0].accepted == ""
    older = pair(OLD, OLD, error=UNKNOWN_KEY)
    assert find(older, issues=issues)[0].accepted == "", "it was written by an older peft"


def test_conditions_on_the_writer_belong_to_an_exchange(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_text(ENTRY.replace("exchange:*", "finetune"))
    with pytest.raises(UsageError, match="written_by is for stages such as 'exchange:merged' alone"):
        ledger.load(tmp_path)


def test_a_summary_does_not_miss_entries_of_an_exchange(tmp_path: Path) -> None:
    (tmp_path / ledger.FILE).write_text(ENTRY)
    summary = view.Summary(model="m", rows=[], ledger=ledger.load(tmp_path))
    assert not list(summary.problems)
