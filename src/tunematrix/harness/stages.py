"""Running the stages of the workflow, with a notification when each starts and ends."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from tunematrix.harness.isolate import WorkResult, run_isolated
from tunematrix.pipeline.trace import Trace

# What a training script imports, in the order of a normal script, since trl patches peft on import.
SCRIPT_IMPORTS: Final = {
    "torch": (),
    "datasets": ("load_dataset",),
    "transformers": ("AutoModelForCausalLM", "AutoTokenizer", "Trainer", "TrainingArguments", "set_seed"),
    "peft": ("LoraConfig", "PeftModel", "get_peft_model"),
    "trl": ("SFTConfig", "SFTTrainer", "DPOConfig", "DPOTrainer"),
}
OPTIONAL: Final = {"SFTConfig", "DPOConfig"}  # new in trl 0.9; compat.py works without them

Listener = Callable[[str, str, "dict[str, Any] | None"], None]
listeners: list[Listener] = []  # called with "start" or "end", the stage's name, and its result at the end


def time_limit() -> float:
    """Seconds a stage may take; ``TUNEMATRIX_STAGE_SECONDS`` for slow machines and large models."""
    return float(os.environ.get("TUNEMATRIX_STAGE_SECONDS", "100"))


def run_stage(name: str, work: Callable[[Trace], None], limit: float | None = None) -> WorkResult:
    """Run ``work`` as the stage ``name`` in a child process; errors of ``work`` are in the result."""
    notify("start", name)
    return report_end(name, run_isolated(work, limit or time_limit()))


def not_run(name: str, reason: str, *, reported: bool) -> WorkResult:
    """The result of a stage that cannot run because an earlier one did not pass."""
    error = {"type": "NotRun", "message": reason, "where": "", "traceback": ""}
    result = WorkResult(outcome="not_run", error=error)
    return report_end(name, result) if reported else result


def report_end(name: str, result: WorkResult) -> WorkResult:
    notify("end", name, {"name": name, **asdict(result)})
    return result


def notify(event: str, name: str, result: dict[str, Any] | None = None) -> None:
    for listener in listeners:
        listener(event, name, result)


def import_stack(trace: Trace, *, optional: bool = False) -> None:
    """Import what a training script imports, in its order; raises ``ImportError`` for a missing name.

    A team's own scripts, and what they saved, may do without a package (``optional``); then it is not
    installed.
    """
    optional = optional or "TUNEMATRIX_SCRIPTS" in os.environ
    there = [name for name in SCRIPT_IMPORTS if not optional or importlib.util.find_spec(name)]
    for package in there:
        names = SCRIPT_IMPORTS[package]
        module = importlib.import_module(package)
        for name in names:
            if not hasattr(module, name) and name not in OPTIONAL:
                raise ImportError(f"cannot import name {name!r} from {package!r}")
    trace.command = "import"
    trace.add_number("order", there)
