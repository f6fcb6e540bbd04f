"""The stages of the seed workflow, told to whoever listens as they begin and end."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from tunematrix.harness.isolate import Ended, isolated
from tunematrix.pipeline.trace import Trace

# In the order of a normal user script: trl patches peft when it is imported.
SCRIPT: Final = {
    "torch": (),
    "datasets": ("load_dataset",),
    "transformers": ("AutoModelForCausalLM", "AutoTokenizer", "Trainer", "TrainingArguments", "set_seed"),
    "peft": ("LoraConfig", "PeftModel", "get_peft_model"),
    "trl": ("SFTConfig", "SFTTrainer", "DPOConfig", "DPOTrainer"),
}
OPTIONAL: Final = {"SFTConfig", "DPOConfig"}  # came with trl 0.9; compat.py does without

Listener = Callable[[str, str, "dict[str, Any] | None"], None]
listeners: list[Listener] = []  # called with "began" or "ended", the stage, and what came of it


def limit() -> float:
    """Seconds a stage may take; ``TUNEMATRIX_STAGE_SECONDS`` for slow machines and large models."""
    return float(os.environ.get("TUNEMATRIX_STAGE_SECONDS", "100"))


def stage(name: str, work: Callable[[Trace], None]) -> Ended:
    """Run ``work`` as the stage ``name`` in a child of its own; returns how it ended, never raises for it."""
    notify("began", name)
    return report_end(name, isolated(work, limit()))


def not_run(name: str, reason: str, *, reported: bool) -> Ended:
    """A stage that could not be tried because something before it failed."""
    error = {"type": "NotRun", "message": reason, "where": "", "traceback": ""}
    ended = Ended(outcome="not_run", error=error)
    return report_end(name, ended) if reported else ended


def report_end(name: str, ended: Ended) -> Ended:
    notify("ended", name, {"name": name, **asdict(ended)})
    return ended


def notify(event: str, name: str, fact: dict[str, Any] | None = None) -> None:
    for listener in listeners:
        listener(event, name, fact)


def import_stack(trace: Trace) -> None:
    """Import what a training script imports, in its order, and say which trl lacks a config class."""
    for package, names in SCRIPT.items():
        module = importlib.import_module(package)
        for name in names:
            if not hasattr(module, name) and name not in OPTIONAL:
                raise ImportError(f"cannot import name {name!r} from {package!r}")
    trace.command = "import"
    trace.number("order", list(SCRIPT))
