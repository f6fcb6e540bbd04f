"""Adapting calls to a stack: renamed, moved and dropped arguments, each recorded."""

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


class OldBaseTrainer:
    def __init__(self, model: object = None, args: object = None, tokenizer: object = None) -> None:
        self.arguments = {"model": model, "args": args, "tokenizer": tokenizer}


class OldTrainer(OldBaseTrainer):
    def __init__(self, *args: Any, packing: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.packing = packing


def test_accepted_arguments_of_a_dataclass_and_of_a_constructor_with_kwargs() -> None:
    assert compat.accepted_arguments(OldConfig) == {"output_dir", "max_seq_length", "beta"}
    assert {"model", "tokenizer", "packing"} <= compat.accepted_arguments(OldTrainer)


def test_an_older_name_is_used_and_recorded() -> None:
    trace = Trace()

    adapted = compat.adapt_arguments(OldConfig, "trl.SFTConfig", {"max_length": 64, "beta": 0.1}, trace)

    assert adapted == {"max_seq_length": 64, "beta": 0.1}
    assert trace.call_sites == [{"call": "trl.SFTConfig", "argument": "max_length", "use": "max_seq_length"}]


def test_the_newest_name_is_not_recorded() -> None:
    trace = Trace()

    assert compat.adapt_arguments(lambda max_length: max_length, "x", {"max_length": 64}, trace) == {
        "max_length": 64
    }
    assert trace.call_sites == []


def test_an_argument_that_the_stack_rejects_is_dropped_and_recorded() -> None:
    trace = Trace()

    assert compat.adapt_arguments(OldConfig, "trl.SFTConfig", {"padding_free": True}, trace) == {}
    assert trace.call_sites == [{"call": "trl.SFTConfig", "argument": "padding_free", "use": ""}]


def test_an_option_that_the_config_rejects_goes_to_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    trl = types.ModuleType("trl")
    trl.SFTConfig, trl.SFTTrainer = OldConfig, OldTrainer  # type: ignore[attr-defined]  # a stand-in module
    monkeypatch.setitem(sys.modules, "trl", trl)
    trace = Trace()
    arguments = {"model": "m", "processing_class": "t", "peft_config": None}

    trainer = compat.build_trainer("SFT", {"packing": True, "max_length": 8}, arguments, trace)

    assert trainer.packing
    assert trainer.arguments["args"] == OldConfig(max_seq_length=8)
    assert trainer.arguments["tokenizer"] == "t"
    assert {site["argument"]: site["use"] for site in trace.call_sites} == {
        "packing": "trl.SFTTrainer(packing=)",
        "max_length": "max_seq_length",
        "processing_class": "tokenizer",
        "peft_config": "",
    }


@pytest.mark.parametrize(
    ("version", "expected"), [("4.55.4", "torch_dtype"), ("4.56.0", "dtype"), ("5.23.0", "dtype")]
)
def test_the_dtype_argument_depends_on_the_version(
    monkeypatch: pytest.MonkeyPatch, version: str, expected: str
) -> None:
    class AutoModel:
        @staticmethod
        def from_pretrained(path: str, **kwargs: Any) -> dict[str, Any]:
            return kwargs

    transformers = types.ModuleType("transformers")
    transformers.AutoModelForCausalLM = AutoModel  # type: ignore[attr-defined]  # a stand-in module
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.setattr(compat, "version", lambda _: version)
    trace = Trace()

    assert compat.load_model("m", "fp32", trace) == {expected: "fp32"}
    assert bool(trace.call_sites) == (expected == "torch_dtype")


def test_package_version_is_a_tuple_of_numbers() -> None:
    assert compat.package_version("pytest") >= (8, 0)
