"""Names in a configuration that only the stack knows."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tunematrix.pipeline import training
from tunematrix.pipeline.config import Alignment, Training
from tunematrix.pipeline.errors import ConfigError


class Names(enum.Enum):
    ADAMW = "adamw_torch"
    LINEAR = "linear"


@pytest.fixture(autouse=True)
def _stack(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, dict[str, Any]] = {
        "transformers": {},
        "transformers.trainer_utils": {"SchedulerType": Names},
        "transformers.training_args": {"OptimizerNames": Names},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


def test_an_optimizer_or_scheduler_that_the_stack_does_not_know_is_a_wrong_configuration() -> None:
    training.check_names(Training(output_dir=Path("out")))
    with pytest.raises(ConfigError, match=r"training\.optimizer: .* no 'nope'; valid: adamw_torch"):
        training.check_names(Training(output_dir=Path("out"), optimizer="nope"))
    with pytest.raises(ConfigError, match=r"alignment\.scheduler: .* did you mean 'linear'\?"):
        training.check_names(Alignment(output_dir=Path("out"), scheduler="liner"))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Unknown loss type: nope. Should be\n one of [...]", "alignment.loss_type: Unknown loss type: nope"),
        ("Target modules {'nope'} not found in the base model.", "lora.targets: Target modules {'nope'}"),
    ],
)
def test_a_name_that_the_trainer_refuses_is_a_wrong_configuration(message: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error, training._wrong_names():
        raise ValueError(message)

    assert str(error.value).startswith(expected)


def test_another_error_of_the_stack_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="shapes") as error, training._wrong_names():
        raise ValueError("shapes differ")

    assert not isinstance(error.value, ConfigError)
