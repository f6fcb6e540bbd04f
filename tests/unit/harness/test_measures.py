"""Groups of measures by depth, what a measure leaves when it cannot measure, and descriptions of results."""

from __future__ import annotations

import importlib.metadata
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType, SimpleNamespace
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


def _torch(*, gpu: bool) -> SimpleNamespace:
    seeds: list[int] = []
    cuda = SimpleNamespace(is_available=lambda: gpu, manual_seed_all=seeds.append, seeds=seeds)
    return SimpleNamespace(cuda=cuda)


def test_fingerprints_of_datasets_are_numbers_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", _torch(gpu=False))

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


@pytest.mark.parametrize("gpu", [True, False])
def test_a_seed_for_gpus_is_set_where_there_is_one(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = _torch(gpu=gpu)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "datasets.fingerprint", SimpleNamespace(Hasher=SimpleNamespace()))
    monkeypatch.setattr(importlib.metadata, "metadata", importlib.metadata.metadata)
    lab.skip_repeated_work()
    torch.cuda.manual_seed_all(42)
    assert torch.cuda.seeds == ([42] if gpu else [])


def test_the_model_of_a_lab_is_read_once_and_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read: list[str] = []

    def load(path: str, *_: Any) -> dict[str, list[int]]:
        read.append(path)
        return {"weights": [len(read)]}

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(float32="float32"))
    monkeypatch.setattr("tunematrix.pipeline.compat.load_model", load)
    monkeypatch.setattr(lab, "_loaded", {})
    setting = Lab(
        model=tmp_path, tokenizer=tmp_path, folder=tmp_path, trace=Trace(), prefix="", name="loss_plain"
    )
    setting.load()["weights"].append(7)
    assert setting.load() == {"weights": [1]}
    assert setting.load(tmp_path / "saved") == {"weights": [2]}
    assert read == [str(tmp_path), str(tmp_path / "saved")]


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
