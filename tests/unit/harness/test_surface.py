"""The surface of a stack, read from a fake one, since the real stack is installed only in cells."""

from __future__ import annotations

import enum
import functools
import logging
import pickle
import sys
import types
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tunematrix.harness import surface
from tunematrix.harness.deprecations import collect_deprecations
from tunematrix.harness.isolate import CAN_FORK, run_in_process, run_parallel
from tunematrix.harness.measures.resumes import pickled_names
from tunematrix.pipeline.trace import Trace


class IntervalStrategy(enum.Enum):
    NO = "no"


@dataclass
class Config:
    output_dir: str
    eval_strategy: IntervalStrategy = IntervalStrategy.NO
    max_seq_length: int = field(default=1, metadata={"help": "Deprecated. Use `max_length` instead."})
    report_to: str | None = None
    logging_dir: str = "runs/now"

    def __post_init__(self) -> None:
        self.report_to = "all"


def deprecate_kwarg(old_name: str, new_name: str) -> Callable[..., Any]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **{new_name if key == old_name else key: kwargs[key] for key in kwargs})

        return wrapper

    return decorate


class Trainer:
    @deprecate_kwarg(old_name="tokenizer", new_name="processing_class")
    def __init__(self, model: Any, processing_class: Any = None, **kwargs: Any) -> None: ...


@pytest.fixture(name="stack", autouse=True)
def _stack(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("faketrl")
    vars(module).update(Config=Config, Trainer=Trainer)
    monkeypatch.setitem(sys.modules, "faketrl", module)
    monkeypatch.setattr(
        surface, "CONFIGS", {"faketrl.Config": ("output_dir", "use_cpu"), "faketrl.Missing": ()}
    )
    monkeypatch.setattr(surface, "CALLS", ("faketrl.Trainer", "faketrl.missing"))


def test_effective_and_declared_defaults_are_recorded() -> None:
    assert surface.defaults() == {
        "Config": {
            "output_dir": "<varies>",
            "eval_strategy": "no",
            "max_seq_length": 1,
            "report_to": "all",
            "logging_dir": "<varies>",
        },
        "Config (declared)": {
            "eval_strategy": "no",
            "max_seq_length": 1,
            "report_to": None,
            "logging_dir": "<varies>",
        },
    }


def test_parameters_are_recorded_and_absent_callables_are_left_out() -> None:
    assert surface.signatures() == {
        "faketrl.Config": ["output_dir", "eval_strategy", "max_seq_length", "report_to", "logging_dir"],
        "faketrl.Trainer": ["model", "processing_class"],
    }


def test_renames_are_read_from_help_texts_and_decorators() -> None:
    assert surface.renames() == {
        "Config": {"max_seq_length": "max_length"},
        "Trainer": {"tokenizer": "processing_class"},
    }


def test_a_configuration_that_rejects_its_own_defaults_records_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reject(_: Config) -> None:
        raise ValueError("no bf16 here")

    assert surface.construct_bare("faketrl.Config") == "made"
    monkeypatch.setattr(Config, "__post_init__", reject)
    assert surface.construct_bare("faketrl.Config") == "ValueError"
    assert surface.construct_bare("faketrl.Missing") == "not there"


def test_a_package_that_does_not_import_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faketrl2", None)
    monkeypatch.setattr(surface, "CALLS", ("faketrl.Trainer", "faketrl2.Trainer"))

    assert list(surface.signatures()) == ["faketrl.Config", "faketrl.Trainer"]


def test_values_in_json_are_the_same_on_every_machine() -> None:
    value = {"a": (IntervalStrategy.NO, {2, 1}), 1: Path("/home/me/out"), "f": len, "n": float("nan")}

    assert surface.to_json(value) == {
        "a": ["no", [1, 2]], "1": "out", "f": "<builtin_function_or_method>", "n": "nan",
    }  # fmt: skip


def warn(module: str, message: str, category: type[Warning] = FutureWarning) -> None:
    path = f"/env/lib/site-packages/{module.replace('.', '/')}.py"
    warnings.warn_explicit(message, category, path, 1)


def test_each_deprecation_is_collected_once_with_module_and_count() -> None:
    deprecations: list[dict[str, Any]] = []
    with warnings.catch_warnings(), collect_deprecations(deprecations):
        warnings.simplefilter("default", UserWarning)  # as in a cell
        warn("trl.trainer", "a is  deprecated")
        warn("trl.trainer", "a is deprecated")
        warn("trl.trainer", "slow", UserWarning)
        warn("trl.trainer", "b will be removed in v6", UserWarning)
        warn("yaml.reader", "c is deprecated")
        logging.getLogger("transformers.models").warning("`d` is deprecated")
        logging.getLogger("transformers.models").warning("loading")

    assert [tuple(deprecation.values()) for deprecation in deprecations] == [
        ("FutureWarning", "a is deprecated", "trl.trainer", 2),
        ("UserWarning", "b will be removed in v6", "trl.trainer", 1),
        ("log", "`d` is deprecated", "transformers.models", 1),
    ]


def test_deprecations_before_a_failure_are_kept() -> None:
    def work(_: Trace) -> None:
        warn("trl.x", "old is deprecated")
        raise KeyError("x")

    deprecations = run_in_process(work).trace["warnings"]
    assert [deprecation["message"] for deprecation in deprecations] == ["old is deprecated"]


@pytest.mark.skipif(not CAN_FORK, reason="needs fork; other platforms run work sequentially")
def test_parallel_children_have_independent_results() -> None:
    def succeed(trace: Trace) -> None:
        trace.add_number("x", 1)

    def hang(_: Trace) -> None:
        import time

        time.sleep(60)

    def fail(_: Trace) -> None:
        raise KeyError("x")

    results = dict(run_parallel([succeed, hang, fail, succeed], limit=0.5, max_running=2))

    assert [results[index].outcome for index in range(4)] == ["passed", "timed_out", "failed", "passed"]
    assert results[1].attempts == 2


def test_the_names_in_a_pickle_are_read_without_loading_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rng_state.pth", "w") as archive:
        archive.writestr("rng_state/data.pkl", pickle.dumps({"a": functools.partial(len), "b": Path}, 2))
        archive.writestr("rng_state/version", "3")

    assert pickled_names(tmp_path / "rng_state.pth") == [
        "__builtin__.len", "functools.partial", "pathlib.Path",
    ]  # fmt: skip
