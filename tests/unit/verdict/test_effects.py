"""Effects of options, compared: stopped, other, raises, and what a moved base run hides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.verdict.test_answer import GOOD
from tests.unit.verdict.test_findings import NEWER, found
from tunematrix.verdict import diff, effects

OPTION = "tiny-llama.sweep.SFTConfig.packing"
BASE = "tiny-llama.sweep.SFTConfig.base."
PACKED = {"loss": -0.04, "batch_length": 10}


def moved(old: Any, new: Any, **base: tuple[Any, Any]) -> tuple[Any, Any] | None:
    """What the comparison of two records says about one option; None for the same."""
    sides = [
        replace(
            GOOD,
            fingerprint={OPTION: effect} | {f"{BASE}{name}": pair[side] for name, pair in base.items()},
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
        "sftconfig-options": ("edit", "1 option now raising: padding_free"),
    }
