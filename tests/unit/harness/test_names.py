"""Names of another stack, tried here: only what fails is an edit."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from tunematrix.harness import names, surface


class Config:
    def __init__(self, output_dir: str, use_cpu: bool, kept: int = 1, **old: int) -> None:
        if set(old) - {"quiet"}:
            raise TypeError(f"unexpected {sorted(old)}")


class Trainer:
    def __init__(self, model: object, **_: object) -> None: ...


@pytest.fixture(autouse=True)
def _stack(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("faketrl")
    vars(module).update(Config=Config, Trainer=Trainer)
    monkeypatch.setitem(sys.modules, "faketrl", module)
    configs = {"faketrl.Config": ("output_dir", "use_cpu")}
    monkeypatch.setattr(surface, "CONFIGS", configs)
    monkeypatch.setattr(names, "CONFIGS", configs)


def test_what_is_not_listed_is_tried_and_only_failures_have_an_error() -> None:
    before = {
        "symbols": {"faketrl": ["Trainer", "Gone"]},
        "defaults": {"Config": {"kept": 1, "quiet": 2, "removed": 3}},
        "signatures": {"faketrl.Trainer": ["model", "swallowed"]},
    }

    tried = names.try_names(before)

    assert set(tried) == {"faketrl.Gone", "Config.quiet", "Config.removed", "faketrl.Trainer(swallowed)"}
    assert tried["faketrl.Gone"].startswith("AttributeError")
    assert tried["Config.removed"] == "TypeError: unexpected ['removed']"
    assert tried["Config.quiet"] == tried["faketrl.Trainer(swallowed)"] == ""


def test_the_names_of_modules_are_read_from_their_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "namedtrl"
    (package / "trainer").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "trainer/utils.py").write_text("class Collator: ...\ndef pad(): ...\ndef _own(): ...\nX = 1\n")
    (package / "_private.py").write_text("class Hidden: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(names, "PATTERNS", {"namedtrl": ("**/*",), "missing": ("**/*",)})

    assert names.module_names() == {"namedtrl.trainer.utils": ["Collator", "pad"]}
