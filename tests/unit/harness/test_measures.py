"""Groups of measures by depth, what a measure leaves when it cannot measure, and descriptions of results."""

from __future__ import annotations

import importlib.metadata
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from tunematrix.harness import measures
from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures import lab
from tunematrix.harness.measures.calls.described import describe_call
from tunematrix.harness.measures.lab import Lab
from tunematrix.pipeline.trace import Trace

TINY = {"tiny-gpt2": Path("tiny-gpt2"), "tiny-llama": Path("tiny-llama")}


def names(depth: str) -> set[str]:
    return {group.name for group in measures.plan(TINY, None, depth)}


def test_each_depth_adds_to_the_one_before() -> None:
    quick, full, deep = (names(depth) for depth in ("quick", "full", "deep"))
    assert quick < full < deep
    general = {
        "relations",
        "calls",
        "trainers",
        "adapters and formats",
        "sweep SFTConfig",
        "sweep LoraConfig",
    }
    assert {f"tiny-llama {name}" for name in general} <= full - quick
    assert "tiny-llama sweep KTOConfig" in deep - full


def test_a_chosen_model_is_measured_by_its_own_name() -> None:
    groups = measures.plan(TINY, Path("chosen"), "quick")
    assert [group.prefix for group in groups if group.tokenizer == Path("chosen")] == ["", ""]


def sound_fine(lab: Lab) -> None:
    lab.add_number("loss", 1.0)


def sound_missing(_: Lab) -> None:
    raise Unavailable("trl has no XTrainer")


def sound_broken(_: Lab) -> None:
    raise KeyError("x")


def test_a_measure_that_cannot_measure_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "skip_repeated_work", lambda: None)
    group = measures.Group(
        name="sound",
        prefix="tiny",
        model=tmp_path,
        tokenizer=tmp_path,
        measures=(sound_fine, sound_missing, sound_broken),
    )
    trace = Trace()
    measures.make_work(group, tmp_path / "work")(trace)
    assert trace.numbers == {
        "tiny.sound.fine.loss": 1.0,
        "tiny.sound.missing.unavailable": "trl has no XTrainer",
        "tiny.sound.broken.error": "KeyError",
    }


def test_fingerprints_of_datasets_are_numbers_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hasher:
        @classmethod
        def hash(cls, _: Any) -> str:
            raise AssertionError("hashed")

    module = ModuleType("datasets.fingerprint")
    vars(module)["Hasher"] = Hasher
    monkeypatch.setitem(sys.modules, "datasets.fingerprint", module)
    monkeypatch.setattr(importlib.metadata, "metadata", importlib.metadata.metadata)
    lab.skip_repeated_work()
    assert [Hasher.hash("x"), Hasher.hash("x")] == [f"{number:016x}" for number in range(2)]
    assert importlib.metadata.metadata("click") is importlib.metadata.metadata("click")


class Pair(NamedTuple):
    loss: float
    steps: int


class _Hidden(dict[str, int]):
    pass


class LibraryError(KeyError):
    pass


def raise_it(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: [[1, 2], [3, 4]], "list[2] list[2] int"),
        (lambda: (1, "a"), "tuple[2] int | str"),
        (lambda: [1, 2.0], "list[2] int | float"),
        (lambda: None, "None"),
        (lambda: _Hidden(a=1), {"type": "dict", "keys": {"a": "int"}}),
        (
            lambda: Pair(1.0, 2),
            {"type": "Pair", "keys": {"loss": "float", "steps": "int"}, "order": ["loss", "steps"]},
        ),
        (
            lambda: OrderedDict(b=1, a=2),
            {"type": "OrderedDict", "keys": {"b": "int", "a": "int"}, "order": ["b", "a"]},
        ),
        (lambda: raise_it(ValueError()), {"raises": "ValueError"}),
        (lambda: raise_it(LibraryError()), {"raises": "LibraryError", "caught_as": "KeyError"}),
        (lambda: raise_it(Unavailable("no such call")), {"unavailable": "no such call"}),
    ],
)
def test_results_are_described_by_their_kind(call: Any, expected: Any) -> None:
    assert describe_call(call) == expected
