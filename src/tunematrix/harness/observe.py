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
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final

from tunematrix.pipeline.trace import watch_batches

VARIABLE: Final = "TUNEMATRIX_OBSERVE"  # the folder to which the processes that a script starts write
# What differs in every run, or says what another number says.
LEFT_OUT: Final = (
    "runtime",
    "preparation_time",
    "per_second",
    "total_flos",
    "epoch",
    "step",
    "num_input_tokens_seen",
)
STACK: Final = ("trl.", "transformers.")
MAX_BATCHES: Final = 64
ARGUMENTS: Final = "transformers.training_args"
TRAINER: Final = "transformers.trainer"
# Of all trainers of a stage: those that trained, evaluated or predicted, and their trainings. Always there:
# a script that catches its errors and does nothing ends as one that works.
TRAINERS: Final = "trainers"
STARTED: Final = "trainings_started"
ENDED: Final = "trainings_ended"
COUNTS: Final = (TRAINERS, STARTED, ENDED)

Numbers = dict[str, Any]


def start(numbers: Numbers, changed: Callable[[], None] = lambda: None) -> None:
    """Observe this process from now on, on the CPU with fixed seeds; ``numbers`` is filled as it trains.

    ``changed`` is called when they are.
    """
    install(numbers, changed)
    use_cpu()
    seed()


class Observation:
    """What one trainer does, in ``numbers`` under ``prefix``; the methods follow its events."""

    def __init__(
        self, numbers: Numbers, prefix: str, trainer: str, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.numbers, self.prefix, self.trainer, self.changed = numbers, prefix, trainer, changed
        self.states: list[Any] = []  # each training has a new one, with a log of its own
        self.predictions: list[Mapping[str, Any]] = []
        self.batches: list[str] = []
        self.training = False
        self.began_at = self.steps = 0
        self.unwatch: Callable[[], None] = lambda: None

    def train_begin(self, state: Any, model: Any) -> None:
        self.unwatch()  # an earlier training may have ended by an error
        self.use(state)
        self.training = True
        self.began_at = state.global_step
        if model is not None and hasattr(model, "get_input_embeddings"):
            self.unwatch = watch_batches(model, self.batches)
        self.count(STARTED)

    def train_end(self, state: Any, model: Any) -> None:
        self.unwatch()
        self.training = False
        self.steps += state.global_step - self.began_at
        self.add("steps", state.global_step)
        self.add("began_at", self.began_at)
        self.add("steps_trained", self.steps)
        self.add("batches", self.batches[:MAX_BATCHES])
        self.add("batch_count", len(self.batches))
        if len(self.batches) > MAX_BATCHES:
            self.add("last_batches", self.batches[-MAX_BATCHES:])
        if model is not None:
            self.add("weights_abs_sum", trained_sum(model))
        self.record(state)
        self.count(ENDED)

    def logged(self, state: Any) -> None:
        """After each entry of the log; a training is recorded at its end."""
        if not self.training and self.states:
            self.record(state)

    def evaluated(self, state: Any) -> None:
        self.use(state)
        self.logged(state)

    def predicted(self, state: Any, metrics: Mapping[str, Any]) -> None:
        self.predictions.append(dict(metrics))
        self.evaluated(state)

    def use(self, state: Any) -> None:
        if not self.states:
            self.count(TRAINERS)
        self._remember(state)

    def record(self, state: Any) -> None:
        """Record the log as it is now: of a trainer that trained before, or evaluated, all of it."""
        self._remember(state)
        self.add("trainer", self.trainer)
        entries = [entry for each in self.states for entry in each.log_history]
        for name, value in series([*entries, *self.predictions]).items():
            self.add(name, value)
        self.changed()

    def _remember(self, state: Any) -> None:
        if all(state is not each for each in self.states):
            self.states.append(state)

    def add(self, name: str, value: Any) -> None:
        self.numbers[f"{self.prefix}{name}"] = value

    def count(self, name: str) -> None:
        self.numbers[name] = self.numbers.get(name, 0) + 1
        self.changed()


def install(numbers: Numbers, changed: Callable[[], None] = lambda: None) -> None:
    """Observe every ``Trainer`` that this process makes from now on; ``numbers`` is filled as they train."""
    from transformers import Trainer, TrainerCallback

    class Observer(TrainerCallback):  # type: ignore[misc]  # the stack is not installed where mypy runs
        """Passes on the events of one trainer."""

        def __init__(self, observation: Observation) -> None:
            self.observation = observation

        def on_train_begin(self, _: Any, state: Any, *__: Any, model: Any = None, **___: Any) -> None:
            self.observation.train_begin(state, model)

        def on_train_end(self, _: Any, state: Any, *__: Any, model: Any = None, **___: Any) -> None:
            self.observation.train_end(state, model)

        def on_log(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            self.observation.logged(state)

        def on_evaluate(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            self.observation.evaluated(state)

        def on_predict(self, _: Any, state: Any, __: Any, metrics: Any = None, **___: Any) -> None:
            self.observation.predicted(state, metrics or {})

    made = 0
    seen: weakref.WeakSet[Any] = weakref.WeakSet()
    original = Trainer.__init__

    @functools.wraps(original)
    def init(trainer: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal made
        original(trainer, *args, **kwargs)
        if trainer not in seen:  # a subclass may call it twice
            seen.add(trainer)
            made += 1
            prefix = f"trainer_{made}." if made > 1 else ""
            trainer.add_callback(Observer(Observation(numbers, prefix, class_in_stack(trainer), changed)))

    Trainer.__init__ = init


def class_in_stack(trainer: Any) -> str:
    """The name of the class of trl or transformers that a trainer is of, or that its own class extends."""
    classes = type(trainer).__mro__
    return next((each.__name__ for each in classes if each.__module__.startswith(STACK)), classes[0].__name__)


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


def series(history: Sequence[Mapping[str, Any]]) -> Numbers:
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


def merged(parts: Iterable[Numbers]) -> Numbers:
    """The numbers of several processes of one stage; counts are added up."""
    together: Numbers = dict.fromkeys(COUNTS, 0)
    for part in parts:
        counts = {name: together[name] + part.get(name, 0) for name in COUNTS}
        together |= {**part, **counts}
    return together


def install_when_imported(folder: Path) -> None:
    """For a process that a script starts: as ``start``, once it imports what that needs.

    It writes to ``folder`` at every change, since a process may be killed, or end without its exit handlers.
    """
    numbers: Numbers = {}

    def write() -> None:
        path = folder / f"{os.getpid()}.json"
        path.with_suffix(".new").write_text(json.dumps(numbers))
        path.with_suffix(".new").replace(path)

    def observe() -> None:
        install(numbers, write)
        seed()

    # A script may make its arguments before it imports a trainer.
    hooks: dict[str, Callable[[], None]] = {ARGUMENTS: use_cpu, TRAINER: observe}

    class Finder(MetaPathFinder):
        def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
            hook = hooks.pop(name, None)
            if hook is None:
                return None
            spec = next(
                filter(None, (finder.find_spec(name, path, target) for finder in sys.meta_path)), None
            )
            if spec is not None and spec.loader is not None:
                execute = spec.loader.exec_module

                def exec_module(module: Any) -> None:
                    execute(module)
                    hook()

                spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # what the import calls
            return spec

    sys.meta_path.insert(0, Finder())
