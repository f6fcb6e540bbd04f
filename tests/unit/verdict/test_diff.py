"""Comparing two records: the verdict, the changes, and ``unknown`` where something is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Failure, Record, Result
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.deprecations import removed_in
from tunematrix.verdict.diff import (
    ABSENT,
    SURFACE_PROBE,
    Change,
    Diff,
    check_comparable,
    compare,
)
from tunematrix.verdict.edits import describe_edit
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
        probes=(Result(name=SURFACE_PROBE, outcome="passed"),),
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
def test_the_outcomes_of_a_stage_decide_the_verdict(before: str, after: str, verdict: str) -> None:
    comparison = compare(record(align=before), record(align=after))

    assert comparison.stages["align"] == (before, after, verdict)
    assert comparison.verdict == verdict


def test_a_missing_record_is_unknown() -> None:
    assert compare(None, record()).verdict == "unknown"
    assert compare(record(), None).verdict == "unknown"


def test_a_different_error_in_the_same_stage_is_a_change() -> None:
    before, after = (
        Record(cell="a", outcome="failed", stages=(Result(name="align", outcome="failed", error=error),))
        for error in (Failure(type="KeyError", message=""), Failure(type="TypeError", message=""))
    )

    assert compare(before, after).stages["align"][2] == "changed"


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
def test_only_numbers_outside_the_tolerance_are_changes(
    name: str, before: Any, after: Any, equal: bool
) -> None:
    comparison = compare(record(numbers={name: before}), record(numbers={name: after}))

    expected = () if equal else (Change(kind="fingerprint", name=name, before=before, after=after),)
    assert comparison.changes == expected
    assert comparison.verdict == ("same" if equal else "changed")


def test_nan_is_not_equal_to_a_number() -> None:
    assert not close(float("nan"), 1.0, "x.training_loss")


def test_removed_call_sites_are_edits() -> None:
    call_site = {"call": "trl.SFTConfig", "argument": "max_length", "use": "max_seq_length"}
    old = Record(cell="a", outcome="", call_sites=(call_site,))
    new = Record(cell="b", outcome="")

    edit = Change(
        kind="call_site", name="trl.SFTConfig(max_length)", before="max_seq_length", after="max_length"
    )
    assert compare(old, new).changes == (edit,)
    assert compare(new, old).changes[0].after == "max_seq_length"
    assert compare(old, old).changes == ()


def test_packages_that_changed_or_are_new_or_gone_are_listed() -> None:
    comparison = compare(record(packages={"a": "1", "b": "1"}), record(packages={"a": "2", "c": "1"}))

    assert comparison.packages == {"a": ("1", "2"), "b": ("1", None), "c": (None, "1")}


def changes(comparison: Diff) -> list[tuple[str, str, Any, Any]]:
    return [(change.kind, change.name, change.before, change.after) for change in comparison.changes]


def test_a_number_in_only_one_record_is_absent_not_equal() -> None:
    before = record(numbers={"tiny.sft.text.rows": 1, "tiny.sft.text.entropy": 2.0})
    after = record(numbers={"tiny.sft.text.rows": 1})

    assert changes(compare(before, after)) == [("fingerprint", "tiny.sft.text.entropy", 2.0, ABSENT)]
    assert changes(compare(after, before)) == [("fingerprint", "tiny.sft.text.entropy", ABSENT, 2.0)]
    assert compare(before, after).verdict == "changed"


def test_numbers_that_a_failed_stage_did_not_measure_are_no_changes() -> None:
    before = record(numbers={"align.loss": [1.0], "align.step": 1})
    after = record(numbers={"align.step": 1}, align="failed")

    assert compare(before, after).changes == ()
    assert compare(before, after).verdict == "regressed"


def test_a_measure_that_raises_shows_its_error_and_the_missing_loss() -> None:
    before = record(numbers={"t.dpo.long.training_loss": 0.7, "t.dpo.long.grad_norm": 1.0})
    after = record(numbers={"t.dpo.long.error": "ValueError"})

    assert changes(compare(before, after)) == [
        ("fingerprint", "t.dpo.long.error", ABSENT, "ValueError"),
        ("fingerprint", "t.dpo.long.training_loss", 0.7, ABSENT),
    ]


def record_with_defaults(**defaults: Any) -> Record:
    return replace(record(), defaults=defaults)


def test_changed_new_and_removed_defaults_are_reported_once() -> None:
    before = record_with_defaults(
        TrainingArguments={"optim": "a", "fp16": False}, SFTConfig={"optim": "a", "lr": 1, "old": 1}
    )
    after = record_with_defaults(
        TrainingArguments={"optim": "b", "fp16": False}, SFTConfig={"optim": "b", "lr": 2, "new": None}
    )

    assert changes(compare(before, after)) == [
        ("default", "TrainingArguments.optim", "a", "b"),
        ("default", "SFTConfig.lr", 1, 2),
        ("default", "SFTConfig.new", ABSENT, None),
        ("default", "SFTConfig.old", 1, ABSENT),
    ]


def test_a_default_that_changes_only_as_declared_is_reported() -> None:
    before = record_with_defaults(**{"SFTConfig": {"x": []}, "SFTConfig (declared)": {"x": None}})
    after = record_with_defaults(**{"SFTConfig": {"x": []}, "SFTConfig (declared)": {"x": "none"}})

    assert changes(compare(before, after)) == [("default", "SFTConfig.x (declared)", None, "none")]


def test_a_renamed_field_is_distinct_from_a_removed_one() -> None:
    before = record_with_defaults(SFTConfig={"max_seq_length": 1, "gone": 1})
    before = replace(before, renames={"SFTConfig": {"max_seq_length": "max_length"}})
    comparison = compare(before, record_with_defaults(SFTConfig={}))

    assert [(change.name, change.why) for change in comparison.changes] == [
        ("SFTConfig.gone", ""),
        ("SFTConfig.max_seq_length", "renamed to max_length"),
    ]


def test_removed_arguments_and_names_are_reported_but_new_ones_are_not() -> None:
    before = replace(
        record(),
        signatures={"trl.DPOTrainer": ["beta", "tokenizer"], "trl.Old": ["a"]},
        symbols={"trl": ["Old", "Other", "Same"]},
        renames={"DPOTrainer": {"tokenizer": "processing_class"}},
    )
    after = replace(
        record(),
        signatures={"trl.DPOTrainer": ["processing_class"], "trl.New": []},
        symbols={"trl": ["New", "Same"]},
    )

    assert changes(compare(before, after)) == [
        ("signature", "trl.DPOTrainer(beta)", "beta", ABSENT),
        ("signature", "trl.DPOTrainer(tokenizer)", "tokenizer", "processing_class"),
        ("signature", "trl.Old", "present", ABSENT),
        ("signature", "trl.Other", "present", ABSENT),
    ]
    assert compare(before, replace(after, probes=())).changes == ()


def test_environment_variables_that_nobody_reads_any_more_are_reported() -> None:
    before = replace(
        record(),
        signatures={"trl.Old": []},
        symbols={
            "transformers:environment": ["HF_HOME", "WANDB_DISABLED"],
            "huggingface_hub:environment": ["HF_TOKEN"],
            "huggingface_hub:commands": ["hf", "huggingface-cli"],
        },
    )
    symbols = {
        "transformers:environment": ["NEW_ONE"],
        "huggingface_hub:environment": ["HF_HOME", "HF_TOKEN"],
        "huggingface_hub:commands": ["hf"],
    }
    after = replace(before, symbols=symbols)

    assert changes(compare(before, after)) == [
        ("signature", "transformers:environment.WANDB_DISABLED", "present", ABSENT),
        ("signature", "huggingface_hub:commands.huggingface-cli", "present", ABSENT),
    ]
    without = {key: names for key, names in symbols.items() if not key.startswith("transformers")}
    assert changes(compare(before, replace(after, symbols=without))) == [
        ("signature", "huggingface_hub:commands.huggingface-cli", "present", ABSENT)
    ], "what was not looked for is not gone"


def test_an_old_name_that_is_no_longer_accepted_is_reported() -> None:
    before = replace(
        record(),
        signatures={"trl.SFTTrainer": ["model", "processing_class"]},
        renames={"SFTTrainer": {"tokenizer": "processing_class"}},
    )
    after = replace(before, renames={})

    assert changes(compare(before, after)) == [
        ("signature", "trl.SFTTrainer(tokenizer)", "tokenizer", "processing_class")
    ]
    assert compare(before, before).changes == ()
    assert compare(after, before).changes == ()


def test_only_new_warnings_are_reported_and_they_do_not_change_the_verdict() -> None:
    old = {"module": "trl.x", "message": "a is deprecated, step 1", "category": "FutureWarning", "count": 1}
    new = {"module": "trl.x", "message": "b is deprecated", "category": "FutureWarning", "count": 1}
    before, after = (
        replace(record(), warnings=(old,)),
        replace(record(), warnings=({**old, "message": "a is deprecated, step 7"}, new)),
    )

    comparison = compare(before, after)

    assert changes(comparison) == [("warning", "trl.x", ABSENT, "b is deprecated")]
    assert comparison.verdict == "same"


def test_a_broken_probe_regresses_and_a_new_probe_is_ignored() -> None:
    before = replace(record(), probes=(Result(name="merge", outcome="passed"),))
    after = replace(
        record(), probes=(Result(name="merge", outcome="failed"), Result(name="new", outcome="failed"))
    )

    assert compare(before, after).stages["probe:merge"] == ("passed", "failed", "regressed")
    assert "probe:new" not in compare(before, after).stages
    assert compare(before, after).verdict == "regressed"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("max_seq_length", "max_length", "trl.SFTConfig(max_seq_length=...) -> max_length="),
        ("max_prompt_length", "", "trl.SFTConfig(max_prompt_length=...) -> remove it"),
        ("trl.DPOTrainer(beta=)", "beta", "trl.DPOTrainer(beta=) -> beta="),
        ("", "beta", "trl.SFTConfig: beta= is accepted now"),
    ],
)
def test_describe_edit_shows_the_edit_to_make(before: str, after: str, expected: str) -> None:
    change = Change(kind="call_site", name="trl.SFTConfig(x)", before=before, after=after)

    assert describe_edit(change) == expected


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
def test_removed_in_reads_the_release_from_the_message(message: str, expected: str | None) -> None:
    assert removed_in(message) == expected


def test_records_of_different_depths_are_refused_with_what_to_type() -> None:
    quick = replace(record(), options={"depth": "quick"})
    check_comparable(quick, quick)
    with pytest.raises(UsageError, match=r"with --depth full.* with --depth quick; .* -- --depth full"):
        check_comparable(record(), quick)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"model": {"name": "a"}}, {"model": {"name": "b"}}),
        ({"model": {"name": "a", "revision": "1"}}, {"model": {"name": "a", "revision": "2"}}),
        ({"options": {"workload": "1"}}, {}),
    ],
)
def test_records_of_different_models_or_options_are_refused(before: Any, after: Any) -> None:
    check_comparable(record(), record())
    with pytest.raises(UsageError, match="run one again with the"):
        check_comparable(replace(record(), **before), replace(record(), **after))


@pytest.mark.parametrize(
    ("after", "equal"),
    [
        ([1 + 4e-7] * 4, True),
        ([1 + 8e-7] * 4, False),  # each within 1e-6, but all to one side
        ([1 + 8e-7] * 3, True),  # too few for a bias
        ([1 + 8e-7, 1 - 8e-7, 1 + 8e-7, 1 - 8e-7], True),
        ([1 + 2e-6, 1, 1, 1], False),
    ],
)
def test_many_numbers_that_shift_to_one_side_are_a_change(after: list[float], equal: bool) -> None:
    assert close([1.0] * len(after), after, "x.whole_training_losses") is equal
