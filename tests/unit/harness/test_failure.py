"""Exceptions as facts: the deepest cause, and where in the stack it happened."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tunematrix.harness.failure import describe
from tunematrix.pipeline.errors import ConfigError


def module(path: Path, source: str) -> ModuleType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except Exception as error:
        return error
    pytest.fail("nothing was raised")


def test_the_frame_in_the_stack_is_named_not_torchs_below_it(tmp_path: Path) -> None:
    torch = module(
        tmp_path / "site-packages/torch/serialization.py", "def load():\n    raise ValueError('x')\n"
    )
    trainer = module(tmp_path / "site-packages/transformers/trainer.py", "def resume(load):\n\n    load()\n")

    told = describe(caught(lambda: trainer.resume(torch.load)))

    assert told["where"] == "transformers/trainer.py:3"
    assert "torch/serialization.py" in told["traceback"]


def test_the_deepest_cause_is_told() -> None:
    def lazy() -> None:
        try:
            raise ImportError("cannot import name 'X' from 'y'")
        except ImportError as error:
            raise RuntimeError("Failed to import trl.trainer") from error

    told = describe(caught(lazy))

    assert told["type"] == "ImportError"
    assert told["message"] == "cannot import name 'X' from 'y'"
    assert "Failed to import trl.trainer" in told["traceback"]


def test_an_error_of_the_pipeline_is_told_itself() -> None:
    def load() -> None:
        try:
            raise OSError("low level")
        except OSError as error:
            raise ConfigError("a.yaml: cannot be read") from error

    assert describe(caught(load))["message"] == "a.yaml: cannot be read"


def test_colours_are_taken_out_of_messages() -> None:
    def fail() -> None:
        raise ValueError("\x1b[1mdo this\x1b[0m now")

    assert describe(caught(fail))["message"] == "do this now"
