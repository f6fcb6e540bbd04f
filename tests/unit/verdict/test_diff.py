"""Two records, one verdict; and no verdict where something is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Failure, Record, Result
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.diff import ABSENT, SURVEY, Change, check_comparable, compare, edit, removed_in
from tunematrix.verdict.tolerances import close


def record(
    *, numbers: dict[str, Any] | None = None, packages: dict[str, str] | None = None, **outcomes: str
) -> Record:
    stages = tuple(
        Result(name=name, outcome=outcomes.get(name.replace("-", "_"), "passed")) for name in STAGES
    )
    return Record(
        cell="a",
        outcome="",
        stages=stages,
        fingerprint=numbers or {},
        environment={"packages": packages or {}},
        probes=(Result(name=SURVEY, outcome="passed"),),
    )


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ("passed", "passed", "same"),
        ("passed", "failed", "regressed"),
        ("passed", "crashed", "regressed"),
        ("failed", "passed", "fixed"),
        ("failed", "failed", "same"),
        ("failed", "crashed", "changed"),
        ("passed", "skipped", "unknown"),
        ("not_run", "passed", "unknown"),
        ("unavailable", "unavailable", "same"),
    ],
)
def test_the_verdict_follows_the_stage_that_moved(before: str, after: str, verdict: str) -> None:
    found = compare(record(align=before), record(align=after))

    assert found.stages["align"] == (before, after, verdict)
    assert found.verdict == verdict


def test_a_missing_record_is_unknown_never_a_pass() -> None:
    assert compare(None, record()).verdict == "unknown"
    assert compare(record(), None).verdict == "unknown"


def test_another_error_in_the_same_stage_is_a_change() -> None:
    one, other = (
        Record(cell="a", outcome="failed", stages=(Result(name="align", outcome="failed", error=error),))
        for error in (Failure(type="KeyError", message=""), Failure(type="TypeError", message=""))
    )

    assert compare(one, other).stages["align"][2] == "changed"


@pytest.mark.parametrize(
    ("name", "before", "after", "equal"),
    [
        ("finetune.training_loss", 5.0, 5.0 * (1 + 5e-7), True),
        ("finetune.training_loss", 5.0, 5.0 * (1 + 5.8e-5), False),
        ("finetune.grad_norm", [5.287060260772705], [5.287059307098389], True),
        ("finetune.grad_norm", [5.287], [5.288], False),
        ("finetune.grad_norm", [5.287], [5.287, 1.0], False),
        ("finetune.loss", [5.976, 5.849], [5.976029396057129, 5.849038124084473], True),
        ("finetune.loss", [5.976], [5.9761], False),
        ("finetune.learning_rate", [0.02], [0.0200001], False),
        ("generate.new_ids", [1, 2], [1, 3], False),
        ("generate.text", "a", "b", False),
        ("finetune.loss", [1.0], "n/a", False),
    ],
)
def test_numbers_move_or_do_not(name: str, before: Any, after: Any, equal: bool) -> None:
    found = compare(record(numbers={name: before}), record(numbers={name: after}))

    expected = () if equal else (Change(kind="fingerprint", name=name, before=before, after=after),)
    assert found.changes == expected
    assert found.verdict == ("same" if equal else "changed")


def test_nan_is_not_equal_to_a_number() -> None:
    assert not close(float("nan"), 1.0, "x.training_loss")


def test_adaptations_that_went_are_edits() -> None:
    row = {"call": "trl.SFTConfig", "argument": "max_length", "use": "max_seq_length"}
    old = Record(cell="a", outcome="", call_sites=(row,))
    new = Record(cell="b", outcome="")

    edit = Change(
        kind="call_site", name="trl.SFTConfig(max_length)", before="max_seq_length", after="max_length"
    )
    assert compare(old, new).changes == (edit,)
    assert compare(new, old).changes[0].after == "max_seq_length"
    assert compare(old, old).changes == ()


def test_packages_that_moved_came_or_went_are_told() -> None:
    found = compare(record(packages={"a": "1", "b": "1"}), record(packages={"a": "2", "c": "1"}))

    assert found.packages == {"a": ("1", "2"), "b": ("1", None), "c": (None, "1")}


def names(found: Any) -> list[tuple[str, str, Any, Any]]:
    return [(one.kind, one.name, one.before, one.after) for one in found.changes]


def test_a_number_that_one_side_lacks_is_absent_not_equal() -> None:
    one = record(numbers={"tiny.sft.text.rows": 1, "tiny.sft.text.entropy": 2.0})
    other = record(numbers={"tiny.sft.text.rows": 1})

    assert names(compare(one, other)) == [("fingerprint", "tiny.sft.text.entropy", 2.0, ABSENT)]
    assert names(compare(other, one)) == [("fingerprint", "tiny.sft.text.entropy", ABSENT, 2.0)]
    assert compare(one, other).verdict == "changed"


def test_what_a_failed_stage_did_not_measure_is_the_stages_matter() -> None:
    one = record(numbers={"align.loss": [1.0], "align.step": 1})
    other = record(numbers={"align.step": 1}, align="failed")

    assert compare(one, other).changes == ()
    assert compare(one, other).verdict == "regressed"


def test_a_measure_that_raises_tells_its_error_and_the_loss_that_is_gone() -> None:
    one = record(numbers={"t.dpo.long.training_loss": 0.7, "t.dpo.long.grad_norm": 1.0})
    other = record(numbers={"t.dpo.long.error": "ValueError"})

    assert names(compare(one, other)) == [
        ("fingerprint", "t.dpo.long.error", ABSENT, "ValueError"),
        ("fingerprint", "t.dpo.long.training_loss", 0.7, ABSENT),
    ]


def surveyed(**defaults: Any) -> Record:
    return replace(record(), defaults=defaults)


def test_defaults_that_changed_came_or_went_are_told_once() -> None:
    one = surveyed(
        TrainingArguments={"optim": "a", "fp16": False}, SFTConfig={"optim": "a", "lr": 1, "old": 1}
    )
    other = surveyed(
        TrainingArguments={"optim": "b", "fp16": False}, SFTConfig={"optim": "b", "lr": 2, "new": None}
    )

    assert names(compare(one, other)) == [
        ("default", "TrainingArguments.optim", "a", "b"),
        ("default", "SFTConfig.lr", 1, 2),
        ("default", "SFTConfig.new", ABSENT, None),
        ("default", "SFTConfig.old", 1, ABSENT),
    ]


def test_a_declared_default_that_changes_nothing_else_is_told_too() -> None:
    one = surveyed(**{"SFTConfig": {"x": []}, "SFTConfig (declared)": {"x": None}})
    other = surveyed(**{"SFTConfig": {"x": []}, "SFTConfig (declared)": {"x": "none"}})

    assert names(compare(one, other)) == [("default", "SFTConfig.x (declared)", None, "none")]


def test_a_renamed_field_is_told_apart_from_one_that_is_gone() -> None:
    one = surveyed(SFTConfig={"max_seq_length": 1, "gone": 1})
    one = replace(one, renames={"SFTConfig": {"max_seq_length": "max_length"}})
    changes = compare(one, surveyed(SFTConfig={})).changes

    assert [(change.name, change.why) for change in changes] == [
        ("SFTConfig.gone", ""),
        ("SFTConfig.max_seq_length", "renamed to max_length"),
    ]


def test_arguments_and_names_that_went_are_told_new_ones_are_not() -> None:
    one = replace(
        record(),
        signatures={"trl.DPOTrainer": ["beta", "tokenizer"], "trl.Old": ["a"]},
        symbols={"trl": ["Old", "Other", "Same"]},
        renames={"DPOTrainer": {"tokenizer": "processing_class"}},
    )
    other = replace(
        record(),
        signatures={"trl.DPOTrainer": ["processing_class"], "trl.New": []},
        symbols={"trl": ["New", "Same"]},
    )

    assert names(compare(one, other)) == [
        ("signature", "trl.DPOTrainer(beta)", "beta", ABSENT),
        ("signature", "trl.DPOTrainer(tokenizer)", "tokenizer", "processing_class"),
        ("signature", "trl.Old", "present", ABSENT),
        ("signature", "trl.Other", "present", ABSENT),
    ]
    assert compare(one, replace(other, probes=())).changes == ()


def test_an_old_name_that_was_still_taken_and_no_longer_is_told() -> None:
    one = replace(
        record(),
        signatures={"trl.SFTTrainer": ["model", "processing_class"]},
        renames={"SFTTrainer": {"tokenizer": "processing_class"}},
    )
    other = replace(one, renames={})

    assert names(compare(one, other)) == [
        ("signature", "trl.SFTTrainer(tokenizer)", "tokenizer", "processing_class")
    ]
    assert compare(one, one).changes == ()
    assert compare(other, one).changes == ()


def test_only_new_warnings_are_told_and_they_change_no_verdict() -> None:
    old = {"module": "trl.x", "message": "a is deprecated, step 1", "category": "FutureWarning", "count": 1}
    new = {"module": "trl.x", "message": "b is deprecated", "category": "FutureWarning", "count": 1}
    one, other = (
        replace(record(), warnings=(old,)),
        replace(record(), warnings=({**old, "message": "a is deprecated, step 7"}, new)),
    )

    found = compare(one, other)

    assert names(found) == [("warning", "trl.x", ABSENT, "b is deprecated")]
    assert found.verdict == "same"


def test_a_probe_that_broke_regresses_and_one_that_is_new_says_nothing() -> None:
    one = replace(record(), probes=(Result(name="merge", outcome="passed"),))
    other = replace(
        record(), probes=(Result(name="merge", outcome="failed"), Result(name="new", outcome="failed"))
    )

    assert compare(one, other).stages["probe:merge"] == ("passed", "failed", "regressed")
    assert "probe:new" not in compare(one, other).stages
    assert compare(one, other).verdict == "regressed"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("max_seq_length", "max_length", "trl.SFTConfig(max_seq_length=...) -> max_length="),
        ("max_prompt_length", "", "trl.SFTConfig(max_prompt_length=...) -> remove it"),
        ("trl.DPOTrainer(beta=)", "beta", "trl.DPOTrainer(beta=) -> beta="),
        ("", "beta", "trl.SFTConfig: beta= is accepted now"),
    ],
)
def test_an_adaptation_reads_as_the_edit_to_make(before: str, after: str, expected: str) -> None:
    change = Change(kind="call_site", name="trl.SFTConfig(x)", before=before, after=after)

    assert edit(change) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`x` is deprecated and will be removed in v6. Use `y` instead.", "6"),
        ("`x` is deprecated and will be removed in version 0.29.0 of TRL", "0.29.0"),
        ("This will be removed from Transformers 5.2", "5.2"),
        ("`x` is deprecated since 4.1, use `y`", None),
        ("`tokenizer` is deprecated and will be removed in version 5.0.0 for `Trainer.__init__`", "5.0.0"),
    ],
)
def test_the_release_that_breaks_it_is_read_from_the_text(message: str, expected: str | None) -> None:
    assert removed_in(message) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model": {"name": "a"}}, {"model": {"name": "b"}}),
        ({"model": {"name": "a", "revision": "1"}}, {"model": {"name": "a", "revision": "2"}}),
        ({"options": {"workload": "1"}}, {}),
    ],
)
def test_records_of_different_models_or_options_are_refused(one: Any, other: Any) -> None:
    check_comparable(record(), record())
    with pytest.raises(UsageError, match="run one again"):
        check_comparable(replace(record(), **one), replace(record(), **other))


@pytest.mark.parametrize(
    ("after", "equal"),
    [
        ([1 + 4e-7] * 4, True),
        ([1 + 8e-7] * 4, False),  # each within 1e-6, but all to one side
        ([1 + 8e-7] * 3, True),  # too few to say
        ([1 + 8e-7, 1 - 8e-7, 1 + 8e-7, 1 - 8e-7], True),
        ([1 + 2e-6, 1, 1, 1], False),
    ],
)
def test_many_numbers_that_shift_to_one_side_are_seen(after: list[float], equal: bool) -> None:
    assert close([1.0] * len(after), after, "x.whole_training_losses") is equal
