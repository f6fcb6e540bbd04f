"""Two records, one verdict; and no verdict where something is missing."""

from __future__ import annotations

from typing import Any

import pytest

from tunematrix.matrix.diff import Change, close, compare
from tunematrix.matrix.record import STAGES, Failure, Record, Result


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
    assert not close(float("nan"), 1.0, 1e-6)


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
