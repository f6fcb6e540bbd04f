"""Effects of options, compared: stopped, other, raises, and what a moved base run hides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.verdict.test_answer import GOOD, failed
from tests.unit.verdict.test_findings import NEWER, found, known
from tunematrix.verdict import answer, diff, effects

OPTION = "tiny-llama.sweep.SFTConfig.packing"
BASE = "tiny-llama.sweep.SFTConfig.base."
PACKED = {"loss": -0.04, "batch_length": 10}


def moved(old: Any, new: Any, **base: tuple[Any, Any]) -> tuple[Any, Any] | None:
    """What the comparison of two records says about one option; None for the same."""
    sides = [
        replace(
            GOOD,
            fingerprint={OPTION: effect}
            | {f"{BASE}{name}": pair[side] for name, pair in base.items() if pair[side] is not None},
        )
        for side, effect in enumerate((old, new))
    ]
    changes = [change for change in diff.compare(*sides).changes if change.name == OPTION]
    return (changes[0].before, changes[0].after) if changes else None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (PACKED, "no effect", "stopped"),
        ("no effect", PACKED, "other"),
        (PACKED, {"loss": 0.04, "batch_length": 10}, "other"),
        (PACKED, "raises ValueError", "raises"),
        ("raises ValueError", PACKED, "works"),
        ("raises ValueError", "raises TypeError", "details"),
        (PACKED, "not tried: needs a package that is not here", "details"),
        ({"logged": ["+entropy"]}, "no effect", "details"),
        ({"eval_loss": 0.04}, "no effect", "other"),
    ],
)
def test_what_happened_to_an_option_is_told_apart(old: Any, new: Any, expected: str) -> None:
    sides = moved({"True": old}, {"True": new})
    assert sides is not None
    assert effects.transition(*sides) == expected


def test_the_worst_of_several_values_counts() -> None:
    sides = moved(
        {"1": PACKED, "2": PACKED, "3": PACKED}, {"1": "raises ValueError", "2": "no effect", "3": PACKED}
    )
    assert sides is not None
    assert set(sides[1]) == {"1", "2"}
    assert effects.transition(*sides) == "stopped"


def test_rounding_is_no_other_effect_and_a_value_of_one_side_is_not_compared() -> None:
    assert moved({"True": {"loss": 0.1}}, {"True": {"loss": 0.10005}}) is None
    assert moved({"True": {"loss": 0.1}}, {"True": {"loss": 0.1}, "False": PACKED}) is None
    assert moved({"True": {"learning_rate": [0.01, 0.005]}}, {"True": {"learning_rate": [0.01, 0.006]}})


def test_a_base_run_with_another_loss_does_not_move_the_options() -> None:
    other = {"True": {"loss": -0.06, "batch_length": 10}}
    assert moved({"True": PACKED}, other) is not None
    assert moved({"True": PACKED}, other, loss=(5.0, 6.0)) is None
    assert moved({"True": PACKED}, other, content=("a", "b")) is None
    assert moved({"True": PACKED}, {"True": "no effect"}, loss=(5.0, 6.0)) is not None


def test_a_base_run_that_hardly_moved_hides_hardly_anything() -> None:
    bit = {"loss": (5.0, 5.00001), "eval_loss": (4.0, 4.00001)}
    assert moved({"True": PACKED}, {"True": {"loss": 0.9, "batch_length": 10}}, **bit) is not None
    assert moved({"True": PACKED}, {"True": {"loss": -0.04001, "batch_length": 10}}, **bit) is None
    coarse = {"loss": (5.0, 5.01)}
    assert moved({"True": {"loss": -0.1}}, {"True": {"loss": 0.1}}, **coarse) is not None
    assert moved({"True": {"loss": -0.1}}, {"True": {"loss": -0.11}}, **coarse) is None


def test_an_effect_that_is_gone_is_seen_whatever_else_is_left_or_moved() -> None:
    for base in ({}, {"loss": (5.0, 6.0)}, {"content": ("a", "b")}, {"logged": (["x"], ["y"])}):
        for left in ("no effect", {"logged": ["+x"]}, {"loss": 1.1e-5}):
            sides = moved({"True": {**PACKED, "weights": 0.5}}, {"True": left}, **base)
            assert sides is not None
            assert effects.transition(*sides) == "stopped"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"trainable": 16544}, {"trainable": 16560}),
        ({"steps": 3}, {"steps": 4}),
        ({"evaluations": 0, "loss": 0.5}, {"loss": 0.5}),
        ({"loss": 0.5}, {"loss": "nan"}),
    ],
)
def test_counts_and_facts_are_compared_exactly(old: Any, new: Any) -> None:
    assert moved({"True": old}, {"True": new}) is not None


def test_a_field_that_only_one_release_passes_to_the_model_hides_only_itself() -> None:
    labels: dict[str, Any] = {"labelled": (None, 31)}
    other = {"loss": 0.5, "batch_length": 10, "batch_labelled": 3}
    sides = moved({"True": PACKED}, {"True": other}, **labels)
    assert sides == ({"True": {"loss": -0.04}}, {"True": {"loss": 0.5}})


def test_an_effect_on_other_rows_rests_on_the_run_on_those() -> None:
    prefix = OPTION.rpartition(".")[0]
    sides = [
        replace(GOOD, fingerprint={OPTION: {"True on prompts": {"loss": loss}}, f"{prefix}.{run}.loss": own})
        for run in ("prompts",)
        for loss, own in ((0.1, 5.0), (0.12, 6.0))
    ]
    assert OPTION not in {change.name for change in diff.compare(sides[0], sides[1]).changes}
    others = [replace(side, fingerprint={OPTION: side.fingerprint[OPTION]}) for side in sides]
    assert OPTION in {change.name for change in diff.compare(others[0], others[1]).changes}


def test_a_value_that_an_enumeration_has_lost_is_refused() -> None:
    names = dict.fromkeys(("adamw_hf", "sgd", "adagrad"), PACKED)
    sides = moved(names, dict.fromkeys(("sgd", "adagrad"), PACKED))
    assert sides is not None
    assert effects.transition(*sides) == "raises"
    assert moved({"True": PACKED}, {"False": PACKED}) is None


def test_a_lost_value_is_refused_whatever_values_came() -> None:
    """Over many releases, an enumeration loses some values and gains others; the default is never tried."""
    old = {"adamw_hf": PACKED, "fused": PACKED, "sgd": PACKED, "lost": "raises ValueError"}
    before, after = effects.differences(old, {"sgd": PACKED, "torch": PACKED}, defaults=["fused"])
    assert (before, after) == ({"adamw_hf": PACKED}, {"adamw_hf": effects.GONE})

    option = replace(GOOD, fingerprint={OPTION: old}, defaults={"SFTConfig": {"packing": "torch"}})
    new = replace(option, fingerprint={OPTION: {"sgd": PACKED, "torch": PACKED}})
    new = replace(new, defaults={"SFTConfig": {"packing": "fused"}})
    [change] = [change for change in diff.compare(option, new).changes if change.name == OPTION]
    assert change.after == {"adamw_hf": effects.GONE}


def test_numbers_that_follow_the_default_are_not_lost() -> None:
    numbers = {"2": PACKED, "4": PACKED, "8 on chats": PACKED}
    assert effects.differences(numbers, {"4": PACKED, "16": PACKED}) == ({}, {})


def test_what_does_not_rest_on_the_moved_part_of_the_base_is_still_compared() -> None:
    shorter = {"True": {"loss": -0.06, "batch_length": 2}}
    assert moved({"True": PACKED}, shorter, loss=(5.0, 6.0)) == (
        {"True": {"batch_length": 10}},
        {"True": {"batch_length": 2}},
    )


def test_options_become_findings_of_their_severity() -> None:
    names = {"packing": "no effect", "max_length": {"batch_length": -3}, "padding_free": "raises ValueError"}
    prefix = OPTION.rpartition(".")[0]
    before = replace(GOOD, fingerprint={f"{prefix}.{name}": {"True": PACKED} for name in names})
    after = replace(
        NEWER, fingerprint={f"{prefix}.{name}": {"True": effect} for name, effect in names.items()}
    )
    findings = found(before, after)
    assert {name: (finding.severity, finding.title) for name, finding in findings.items()} == {
        "sftconfig-no-effect": (
            "wrong",
            "options of SFTConfig are accepted and have no effect any more: packing",
        ),
        "sftconfig-option": ("training", "options of SFTConfig have another effect: max_length"),
        "sftconfig-options": ("edit", "1 option now refused: padding_free"),
    }


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("list[2] int", "tuple[2] int", ("edit", "1 call with another result: adapters.size")),
        ("list[2] int", {"raises": "TypeError"}, ("edit", "1 call now raising: adapters.size")),
        (
            {"raises": "TypeError"},
            "list[2] int",
            ("info", "1 thing that was wrong works now: a call on adapters.size"),
        ),
        ({"raises": "TypeError"}, {"raises": "ValueError"}, ("info", "1 detail of files, logs or names")),
        ({"unavailable": "no"}, "list[2] int", ("info", "1 number is measured on one side")),
        (
            {"keys": {"a": "int"}},
            {"keys": {"a": "int", "b": "int"}},
            ("info", "1 detail of files, logs or names"),
        ),
        (
            {"keys": {"a": "int"}},
            {"keys": {"b": "int"}},
            ("edit", "1 call with another result: adapters.size"),
        ),
        (["a.bin"], ["a.bin", "b.bin"], ("info", "1 detail of files, logs or names")),
    ],
)
def test_a_call_with_another_result_is_an_edit(old: Any, new: Any, expected: tuple[str, str]) -> None:
    name = "tiny-llama.call.adapters.size"
    [finding] = found(
        replace(GOOD, fingerprint={name: old}), replace(NEWER, fingerprint={name: new})
    ).values()
    assert (finding.severity, finding.title) == expected


def test_an_option_that_leaks_now_is_wrong_and_one_that_no_longer_does_is_right() -> None:
    name = f"{BASE}leaking_options"
    tried = {f"{BASE.removesuffix('base.')}bf16": {"True": {"loss": 0.1}}}
    records = [
        replace(base, fingerprint={name: leaking, **tried})
        for base, leaking in ((GOOD, []), (NEWER, ["bf16=True"]))
    ]
    [finding] = found(records[0], records[1]).values()
    assert (finding.severity, finding.title) == (
        "wrong",
        "bf16=True changes later runs of the same process: text",
    )
    [finding] = found(records[1], records[0]).values()
    assert finding.severity == "info"
    elsewhere = replace(
        records[0], fingerprint={name: [], "x.sweep.XConfig.base.leaking_options": ["bf16=True"]}
    )
    assert all(finding.severity == "info" for finding in found(elsewhere, records[1]).values())


def test_a_relation_that_does_not_hold_any_more_is_wrong() -> None:
    name = "tiny-llama.relation.padding.logits_equal"
    sides = [replace(base, fingerprint={name: value}) for base, value in ((GOOD, True), (NEWER, False))]
    [finding] = found(sides[0], sides[1]).values()
    assert (finding.severity, finding.title) == ("wrong", "results that must be equal differ: padding")


def test_a_cause_counts_for_an_option_only_if_it_is_about_options() -> None:
    sides = [
        replace(base, fingerprint={f"{OPTION}": {"True": effect}})
        for base, effect in ((GOOD, PACKED), (NEWER, {"loss": 0.5, "batch_length": 10}))
    ]
    [finding] = found(sides[0], sides[1], known("default", "*.packing")).values()
    assert finding.cause is None
    [finding] = found(sides[0], sides[1], known("effect", "*.sweep.SFTConfig.packing")).values()
    assert finding.id == "effect-options"
    assert finding.title == "options of SFTConfig have another effect: packing"
    assert finding.cause is not None


def test_another_error_of_a_wrong_use_is_a_detail() -> None:
    name = "tiny-llama.call.adapters.wrong_folder"
    sides = [
        replace(base, fingerprint={name: {"raises": error}})
        for base, error in ((GOOD, "OSError"), (NEWER, "ValueError"))
    ]
    [finding] = found(sides[0], sides[1]).values()
    assert finding.severity == "info"


@pytest.mark.parametrize(
    ("after", "missing"),
    [
        ({"tiny.trainer.rloo.loss": 1.0}, False),
        ({"tiny.trainer.rloo.unavailable": "trl has none"}, False),
        ({"tiny.trainer.rloo.x.unavailable": "logs none"}, True),
        ({"tiny.trainer.rloo.error": "ValueError"}, False),
        ({"tiny.trainer.kto.loss": 1.0}, True),
    ],
)
def test_a_measure_without_a_result_is_told_only_if_nothing_says_why(
    after: dict[str, Any], missing: bool
) -> None:
    before = replace(
        GOOD, fingerprint={"tiny.trainer.rloo.loss": 1.0, "tiny.trainer.rloo.x.unavailable": "no"}
    )
    assert bool(answer._lost_measures(before, replace(GOOD, fingerprint=after))) is missing


@pytest.mark.parametrize(
    ("field", "package"),
    [
        ("tiny-llama.adapter.oft.loss", "peft"),
        ("tiny-llama.format.dtype.dtype", "transformers"),
        ("tiny-llama.trainer.kto.loss", "trl"),
    ],
)
def test_the_search_starts_with_the_package_that_the_field_is_about(field: str, package: str) -> None:
    packages = {"trl": "1.0", "transformers": "4.0", "peft": "0.1"}
    newer = {"trl": "2.0", "transformers": "5.0", "peft": "0.2"}
    sides = [
        replace(GOOD, fingerprint={field: value}, environment={"packages": versions})
        for value, versions in ((1.0, packages), (2.0, newer))
    ]
    [finding] = found(sides[0], sides[1]).values()
    assert f"bisect {package} " in finding.action
    assert f"--metric {field}" in finding.action


def test_measures_that_raise_because_the_import_fails_have_its_cause() -> None:
    sides = [
        replace(GOOD, fingerprint={"tiny.trainer.kto.loss": 1.0}),
        replace(failed("import"), fingerprint={"tiny.trainer.kto.error": "RuntimeError"}),
    ]
    broken = [finding for finding in found(sides[0], sides[1]).values() if finding.severity == "broken"]
    assert [finding.id for finding in broken] == ["broken-import"]
    assert "tiny.trainer.kto.error" in broken[0].fields
