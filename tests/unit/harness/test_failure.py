"""Describing exceptions: the deepest cause, and its location in the stack."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tunematrix.harness.failure import describe_error
from tunematrix.pipeline.errors import ConfigError


def load_module(path: Path, source: str) -> ModuleType:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def raised_by(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except Exception as error:
        return error
    pytest.fail("nothing was raised")


def test_the_location_is_a_frame_of_the_stack_even_if_torch_raises(tmp_path: Path) -> None:
    torch = load_module(
        tmp_path / "site-packages/torch/serialization.py", "def load():\n    raise ValueError('x')\n"
    )
    trainer = load_module(
        tmp_path / "site-packages/transformers/trainer.py", "def resume(load):\n\n    load()\n"
    )

    description = describe_error(raised_by(lambda: trainer.resume(torch.load)))

    assert description["where"] == "transformers/trainer.py:3"
    assert "torch/serialization.py" in description["traceback"]


def test_the_deepest_cause_is_described() -> None:
    def import_lazily() -> None:
        try:
            raise ImportError("cannot import name 'X' from 'y'")
        except ImportError as error:
            raise RuntimeError("Failed to import trl.trainer") from error

    description = describe_error(raised_by(import_lazily))

    assert description["type"] == "ImportError"
    assert description["message"] == "cannot import name 'X' from 'y'"
    assert "Failed to import trl.trainer" in description["traceback"]


def test_a_pipeline_error_is_described_instead_of_its_cause() -> None:
    def load() -> None:
        try:
            raise OSError("low level")
        except OSError as error:
            raise ConfigError("a.yaml: cannot be read") from error

    assert describe_error(raised_by(load))["message"] == "a.yaml: cannot be read"


def test_ansi_codes_are_removed_from_messages() -> None:
    def fail() -> None:
        raise ValueError("\x1b[1mdo this\x1b[0m now")

    assert describe_error(raised_by(fail))["message"] == "do this now"
