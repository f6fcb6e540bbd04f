"""The sweep: every option of a configuration class at another value, beside a base run of the same stack.

Nobody lists the options: they are read from the stack, so one that a later release adds is tried at once.
Each run is short, and a base run follows many of them, because options leak: in transformers 4 one run in
bf16 makes every later one of its process run in bf16.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable, WorkResult, run_isolated
from tunematrix.harness.measures.lab import OPTIONS, SEED, Lab
from tunematrix.harness.measures.sweep import domains, effects, values
from tunematrix.harness.measures.sweep.effects import Observation
from tunematrix.harness.surface import resolve
from tunematrix.pipeline import compat
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.effects import NO_EFFECT, NOT_TRIED, RAISES
from tunematrix.shared.stages import is_infrastructure

BASE: Final[Mapping[str, Any]] = {
    **OPTIONS,
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 2,
}
# With all that some options need and most do not: evaluation, and a checkpoint.
FULL_BASE: Final[Mapping[str, Any]] = {"evaluated": True, "save_strategy": "steps", "save_steps": 2}
BLOCK: Final = 96  # trials in one process
# For one process with all its trials, and with one; they take 2 to 6 and 0.2. The sweep of a class must end
# in the time of a stage even if one trial hangs.
BLOCK_SECONDS: Final = 60.0
TRIAL_SECONDS: Final = 10.0
ABSENT_PACKAGE: Final = f"{NOT_TRIED}needs a package that is not here"
ENDED: Final = f"{NOT_TRIED}the machine ended it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One value of one option, and the circumstances in which it does something."""

    option: str
    value: Any
    beside: Mapping[str, Any]
    rows: str
    other_rows: bool = False  # than those of the base run

    @property
    def key(self) -> tuple[str, str]:
        """The option, and its value as a key of the record."""
        suffix = f" on {self.rows}" if self.other_rows else ""
        return self.option, domains.label(self.value) + suffix

    @property
    def circumstances(self) -> str:
        return json.dumps([self.rows, sorted(self.beside.items())])


@dataclass(kw_only=True, slots=True)
class Bench:
    """What the runs of one configuration class share: a model and a tokenizer, loaded once."""

    lab: Lab
    build: Callable[[Bench, Mapping[str, Any], str], Any]
    kinds: tuple[str, ...]  # of rows; those of the base run first
    options: Mapping[str, Any] = field(default_factory=dict)  # without which the class refuses itself
    model: Any = None
    tokenizer: Any = None
    data: Any = None

    @property
    def rows(self) -> str:
        return self.kinds[0]

    def observe(self, options: Mapping[str, Any], rows: str) -> Observation:
        from transformers import set_seed

        set_seed(SEED)
        folder = tempfile.mkdtemp(dir=self.lab.folder)
        try:
            return effects.observe(self.build(self, {"output_dir": folder, **options}, rows))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def copy_model(self) -> Any:
        return copy.deepcopy(self.model)


def measure_of(name: str, make: Callable[[Lab], tuple[str, Bench]]) -> Callable[[Lab], None]:
    """A measure that is recorded as ``sweep.NAME``; ``make`` returns the path of the class, and its bench."""

    def measure(lab: Lab) -> None:
        sweep(lab, *make(lab))

    measure.__name__ = f"sweep_{name}"
    return measure


def sweep(lab: Lab, path: str, bench: Bench) -> None:
    """Record the effect of each option of the class at ``path``, and the base run itself."""
    cls = resolve(path)
    if cls is None:
        raise Unavailable(f"no {path}")
    bench.model, bench.tokenizer = lab.load(), lab.load_tokenizer()
    _add_base_runs(bench)
    options = list(domains.options(_instance(cls, bench), without=_inherited(path)))
    trials = [trial for option in options for trial in _trials(option, bench.kinds)]
    found, leaking = _run(bench, sorted(trials, key=lambda trial: trial.circumstances))
    for option in options:
        results = {value: effect for (name, value), effect in found.items() if name == option.name}
        lab.add_number(option.name, results or NOT_TRIED + option.reason)
    lab.add_number("base.leaking_options", leaking)


def _add_base_runs(bench: Bench) -> None:
    """Record the base run in full, and what runs on other kinds of rows do with them."""
    base = bench.observe(FULL_BASE, bench.rows)
    facts = {"learning_rate": base.learning_rates, "content": base.content, "logged": base.logged}
    for name, value in {**base.numbers, **base.facts, **base.batch, **facts}.items():
        bench.lab.add_number(f"base.{name}", value)
    for kind in bench.kinds[1:]:
        other = _observe(bench, {}, kind)
        if isinstance(other, str):
            bench.lab.add_number(f"{kind}.error", other.removeprefix(RAISES))
            continue
        for name, value in {**other.numbers, **other.batch, "content": other.content}.items():
            bench.lab.add_number(f"{kind}.{name}", value)


def _trials(option: domains.Option, kinds: tuple[str, ...]) -> Iterator[Trial]:
    beside = {
        name: value for words, name, value in values.NEEDED if any(word in option.name for word in words)
    }
    beside |= values.BESIDE.get(option.name, {})
    wanted = [kind for kind in values.KINDS.get(option.name, kinds[:1]) if kind in kinds]
    for kind in wanted or kinds[:1]:
        other = kind != kinds[0]
        # One value tells whether an option reaches a kind of rows.
        for value in option.values[:1] if other and kinds[0] in wanted else option.values:
            yield Trial(option=option.name, value=value, beside=beside, rows=kind, other_rows=other)


Found = dict[tuple[str, str], Any]


def _run(bench: Bench, trials: list[Trial]) -> tuple[Found, list[str]]:
    """The effect of each trial by option and value, and the options that change later runs of their process.

    Many trials share a process, which is forked after the model is loaded and ends at the first leak. If
    it crashes, or if the base run at its end is not that of its beginning for no visible reason, each of its
    trials runs again in a process of its own.
    """
    found: Found = {}
    leaking = []
    while trials:
        result = _run_block(bench, trials[:BLOCK])
        if result.outcome == "passed" and result.numbers["clean"]:
            found |= result.numbers["found"]
            leaking += result.numbers["leaking"]
            trials = trials[len(result.numbers["found"]) :]
            continue
        for trial in trials[:BLOCK]:
            result = _run_block(bench, [trial])
            key = trial.key
            found |= {key: _why(result), **result.numbers.get("found", {})}
            leaking += [] if result.numbers.get("clean", True) else ["=".join(key)]
            leaking += result.numbers.get("leaking", [])
        trials = trials[BLOCK:]
    return found, sorted(set(leaking))


def _run_block(bench: Bench, trials: list[Trial]) -> WorkResult:
    """Run trials in one process, up to the first that leaks visibly."""

    def work(trace: Trace) -> None:
        first = bench.observe({}, bench.rows)
        gc.freeze()  # each run collects garbage, and walks what the first one left
        bases: dict[str, Any] = {}
        found: Found = {}
        trace.numbers = {"found": found, "leaking": [], "clean": True}

        def differs() -> bool:
            return effects.effect(first, bench.observe({}, bench.rows)) != NO_EFFECT

        for trial in trials:
            if trial.circumstances not in bases:
                bases[trial.circumstances] = _observe(bench, trial.beside, trial.rows)
            key, state = trial.key, _state()
            found[key] = _try(bench, trial, bases[trial.circumstances])
            if _state() != state and differs():
                trace.numbers["leaking"] = ["=".join(key)]
                return
        trace.numbers["clean"] = not differs()

    return run_isolated(work, BLOCK_SECONDS if len(trials) > 1 else TRIAL_SECONDS, retry=False)


def _state() -> tuple[Any, ...]:
    """What a run may change for later ones of its process, as far as it is cheap to see."""
    import torch

    flags = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled()
    return dict(os.environ), flags


def _why(result: WorkResult) -> str:
    error = result.error or {"type": result.outcome, "message": ""}
    if is_infrastructure(error["type"], error["message"]) and result.outcome != "timed_out":
        return ENDED
    return RAISES + error["type"]


def _try(bench: Bench, trial: Trial, base: Observation | str) -> Any:
    """The effect of one value beside its base run, which may itself have failed."""
    if isinstance(base, str):
        return f"{NOT_TRIED}beside {dict(trial.beside)}, {base.removeprefix(NOT_TRIED)}"
    if any(word in str(trial.value) for word in values.OF_PACKAGES.get(trial.option, ())):
        return ABSENT_PACKAGE
    result = _observe(bench, {**trial.beside, trial.option: trial.value}, trial.rows)
    return result if isinstance(result, str) else effects.effect(base, result)


def _observe(bench: Bench, options: Mapping[str, Any], rows: str) -> Observation | str:
    """A run, or in words why there is none."""
    try:
        return bench.observe(options, rows)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) or "cannot import name" not in str(error)
        return ABSENT_PACKAGE if missing else f"{RAISES}ImportError"
    except Exception as error:
        if is_infrastructure(type(error).__name__, str(error)):
            return ENDED
        return RAISES + type(error).__name__


def _inherited(path: str) -> set[str]:
    """The options that a configuration of trl has from ``TrainingArguments``, whose sweep tries them."""
    import transformers

    if not path.startswith("trl."):
        return set()
    return {field.name for field in dataclasses.fields(transformers.TrainingArguments)}


def _instance(cls: Any, bench: Bench) -> Any:
    """The configuration of the base run, as far as the class takes its options."""
    options = {**BASE, **bench.options, "output_dir": str(bench.lab.folder / "instance")}
    return cls(**compat.adapt_arguments(cls, cls.__name__, options, Trace()))
