"""peft's configuration, for releases with and without the variants of LoRA."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from tunematrix.pipeline import models
from tunematrix.pipeline.config import Lora
from tunematrix.pipeline.errors import ConfigError


@dataclass
class OldLoraConfig:
    """As in peft 0.6, which has neither ``use_dora`` nor ``use_rslora``."""

    r: int
    lora_alpha: int
    lora_dropout: float
    target_modules: Any
    task_type: str


@dataclass
class NewLoraConfig(OldLoraConfig):
    use_dora: bool = False
    use_rslora: bool = False


def config_of(monkeypatch: pytest.MonkeyPatch, config: type, method: str) -> Mapping[str, Any]:
    module = ModuleType("peft")
    vars(module)["LoraConfig"] = config
    monkeypatch.setitem(sys.modules, "peft", module)
    monkeypatch.setattr(models, "version", lambda _: "0.6.2")
    return dict(vars(models.lora_config(Lora(rank=4, alpha=8), method)))


def test_plain_lora_passes_nothing_that_an_old_release_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_of(monkeypatch, OldLoraConfig, "lora")["r"] == 4


def test_a_variant_is_asked_for_where_the_release_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_of(monkeypatch, NewLoraConfig, "dora")["use_dora"] is True
    assert config_of(monkeypatch, NewLoraConfig, "rslora")["use_rslora"] is True


def test_a_variant_that_the_release_lacks_is_a_wrong_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"training\.method: peft 0\.6\.2 has no dora; use 'lora'"):
        config_of(monkeypatch, OldLoraConfig, "dora")
