"""What every Trainer of a script does, without a line of the script's code: logs, batches, weights.

trl's trainers are transformers' ``Trainer``, which tells its callbacks what it does. A callback is added to
each when it is made.
"""

from __future__ import annotations

import functools
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final

from tunematrix.pipeline.trace import watch_batches

VARIABLE: Final = "TUNEMATRIX_OBSERVE"  # the folder to which the processes that a script starts write
# What differs in every run, or says what another number says.
LEFT_OUT: Final = ("runtime", "per_second", "total_flos", "epoch", "step", "num_input_tokens_seen")
MAX_BATCHES: Final = 64
MODULE: Final = "transformers.trainer"

Numbers = dict[str, Any]


def start(numbers: Numbers) -> None:
    """Observe this process from now on, on the CPU with fixed seeds; ``numbers`` is filled as it trains."""
    install(numbers)
    use_cpu()
    seed()


def install(numbers: Numbers) -> None:
    """Observe every ``Trainer`` that this process makes from now on; ``numbers`` is filled as they train."""
    from transformers import Trainer, TrainerCallback

    class Observer(TrainerCallback):  # type: ignore[misc]  # the stack is not installed where mypy runs
        """Fills ``numbers`` with what one trainer did, under ``prefix``."""

        def __init__(self, prefix: str, trainer: str) -> None:
            self.prefix, self.trainer = prefix, trainer
            self.batches: list[str] = []
            self.unwatch: Callable[[], None] = lambda: None

        def on_train_begin(self, *_: Any, model: Any = None, **__: Any) -> None:
            if model is not None and hasattr(model, "get_input_embeddings"):
                self.unwatch = watch_batches(model, self.batches)

        def on_train_end(self, _: Any, state: Any, *__: Any, model: Any = None, **___: Any) -> None:
            self.unwatch()
            numbers.update(
                {f"{self.prefix}{name}": value for name, value in series(state.log_history).items()}
            )
            numbers[f"{self.prefix}trainer"] = self.trainer
            numbers[f"{self.prefix}steps"] = state.global_step
            numbers[f"{self.prefix}batches"] = self.batches[:MAX_BATCHES]
            if model is not None:
                numbers[f"{self.prefix}weights_abs_sum"] = trained_sum(model)

    made: list[Observer] = []
    seen: list[Any] = []
    original = Trainer.__init__

    @functools.wraps(original)
    def init(trainer: Any, *args: Any, **kwargs: Any) -> None:
        original(trainer, *args, **kwargs)
        if trainer not in seen:  # a subclass may call it twice
            seen.append(trainer)
            prefix = f"trainer_{len(made) + 1}." if made else ""
            made.append(Observer(prefix, type(trainer).__name__))
            trainer.add_callback(made[-1])

    Trainer.__init__ = init


def use_cpu() -> None:
    """Let arguments that ask for nothing else train on the CPU of the cell, also in bf16.

    A script for a GPU does not say ``use_cpu``, and without it the arguments refuse bf16 on a CPU.
    """
    from transformers import TrainingArguments

    original = TrainingArguments.__post_init__

    @functools.wraps(original)
    def post_init(arguments: Any, *args: Any, **kwargs: Any) -> None:
        arguments.use_cpu = True
        original(arguments, *args, **kwargs)

    TrainingArguments.__post_init__ = post_init


def seed() -> None:
    """Seed what a script may leave to chance, such as the first weights of an adapter."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # what scripts draw from
    torch.manual_seed(0)


def series(history: Sequence[dict[str, Any]]) -> Numbers:
    """The values of each key of a trainer's log, in the order of the steps, with its key as the name."""
    found: Numbers = {}
    for entry in history:
        for name, value in entry.items():
            if isinstance(value, (int, float)) and not any(part in name for part in LEFT_OUT):
                found.setdefault(name.replace("/", "_"), []).append(value)
    return found


def trained_sum(model: Any) -> float:
    """The sum of the absolute values of all parameters that train, in double precision."""
    return float(
        sum(item.detach().double().abs().sum().item() for item in model.parameters() if item.requires_grad)
    )


def install_when_imported(folder: Path) -> None:
    """For a process that a script starts: observe once it imports the Trainer; writes a file at its end."""
    numbers: Numbers = {}

    def write() -> None:
        if numbers:
            (folder / f"{os.getpid()}.json").write_text(json.dumps(numbers))

    class Finder(MetaPathFinder):
        def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
            if name != MODULE:
                return None
            sys.meta_path.remove(self)
            spec = next(
                filter(None, (finder.find_spec(name, path, target) for finder in sys.meta_path)), None
            )
            if spec is not None and spec.loader is not None:
                execute = spec.loader.exec_module

                def exec_module(module: Any) -> None:
                    execute(module)
                    start(numbers)

                spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # what the import calls
            return spec

    import atexit

    atexit.register(write)
    sys.meta_path.insert(0, Finder())
