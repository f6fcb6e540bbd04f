"""Fitting calls to a stack: renamed, moved and dropped arguments, each announced."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import Any

import pytest

from tunematrix.pipeline import compat
from tunematrix.pipeline.trace import Trace


@dataclass
class OldConfig:
    output_dir: str = ""
    max_seq_length: int = 0
    beta: float = 0.0


class Base:
    def __init__(self, model: object = None, args: object = None, tokenizer: object = None) -> None:
        self.got = {"model": model, "args": args, "tokenizer": tokenizer}


class OldTrainer(Base):
    def __init__(self, *rest: Any, packing: bool = False, **more: Any) -> None:
        super().__init__(*rest, **more)
        self.packing = packing


def test_names_of_a_dataclass_and_of_a_constructor_that_hands_on() -> None:
    assert compat.accepted(OldConfig) == {"output_dir", "max_seq_length", "beta"}
    assert {"model", "tokenizer", "packing"} <= compat.accepted(OldTrainer)


def test_an_older_spelling_is_used_and_announced() -> None:
    traced = Trace()

    fitted = compat.fit(OldConfig, "trl.SFTConfig", {"max_length": 64, "beta": 0.1}, traced)

    assert fitted == {"max_seq_length": 64, "beta": 0.1}
    assert traced.call_sites == [{"call": "trl.SFTConfig", "argument": "max_length", "use": "max_seq_length"}]


def test_the_newest_spelling_needs_no_announcement() -> None:
    traced = Trace()

    assert compat.fit(lambda max_length: max_length, "x", {"max_length": 64}, traced) == {"max_length": 64}
    assert traced.call_sites == []


def test_what_the_stack_lacks_is_dropped_and_announced() -> None:
    traced = Trace()

    assert compat.fit(OldConfig, "trl.SFTConfig", {"padding_free": True}, traced) == {}
    assert traced.call_sites == [{"call": "trl.SFTConfig", "argument": "padding_free", "use": ""}]


def test_an_option_the_config_lacks_goes_to_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    trl = types.ModuleType("trl")
    trl.SFTConfig, trl.SFTTrainer = OldConfig, OldTrainer  # type: ignore[attr-defined]  # a stand-in module
    monkeypatch.setitem(sys.modules, "trl", trl)
    traced = Trace()
    parts = {"model": "m", "processing_class": "t", "peft_config": None}

    trainer = compat.build_trainer("SFT", {"packing": True, "max_length": 8}, parts, traced)

    assert trainer.packing
    assert trainer.got["args"] == OldConfig(max_seq_length=8)
    assert trainer.got["tokenizer"] == "t"
    assert {row["argument"]: row["use"] for row in traced.call_sites} == {
        "packing": "trl.SFTTrainer(packing=)",
        "max_length": "max_seq_length",
        "processing_class": "tokenizer",
        "peft_config": "",
    }


@pytest.mark.parametrize(
    ("version", "expected"), [("4.55.4", "torch_dtype"), ("4.56.0", "dtype"), ("5.23.0", "dtype")]
)
def test_the_dtype_argument_follows_the_version(
    monkeypatch: pytest.MonkeyPatch, version: str, expected: str
) -> None:
    class Auto:
        @staticmethod
        def from_pretrained(path: str, **more: Any) -> dict[str, Any]:
            return more

    transformers = types.ModuleType("transformers")
    transformers.AutoModelForCausalLM = Auto  # type: ignore[attr-defined]  # a stand-in module
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.setattr(compat, "version", lambda _: version)
    traced = Trace()

    assert compat.load_model("m", "fp32", traced) == {expected: "fp32"}
    assert bool(traced.call_sites) == (expected == "torch_dtype")


def test_versions_with_local_and_pre_release_parts() -> None:
    assert compat.stack_version("pytest") >= (8, 0)
