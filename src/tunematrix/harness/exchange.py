"""Another stack's checkpoints under this one: do they load with the same logits, and go on?

``TUNEMATRIX_ARTIFACTS`` names what the other cell kept: ``finetune`` and ``align``, each with ``data``,
``checkpoints/whole`` (two steps, sampled at the end) and, of ``align``, the adapter it started from.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from tunematrix.harness.checkpoint import load_file
from tunematrix.harness.stages import stage
from tunematrix.harness.workflow import Mismatch, Workflow
from tunematrix.pipeline.trace import Trace

# Logits of a model that reloads as it was; kernels of another release may differ in the last bits.
CLOSE: Final = 1e-3


def take(folder: Path) -> None:
    """Load and resume, each a probe of its own; fails the test where one did not."""
    if not os.environ.get("TUNEMATRIX_ARTIFACTS"):
        pytest.skip(
            "TUNEMATRIX_ARTIFACTS names no checkpoints of another cell; 'tunematrix upgrade' keeps them"
        )
    flow = Workflow(folder, texts=(), preferences=())
    if flow.download(reported=False).outcome != "passed":
        raise AssertionError("the model could not be downloaded")
    kept = folder / "kept"
    shutil.copytree(os.environ["TUNEMATRIX_ARTIFACTS"], kept)
    for config in kept.rglob("adapter_config.json"):
        rebase(config, flow.model)
    ended = {
        f"exchange:{name}": stage(f"exchange:{name}", work)
        for name, work in {
            "load": lambda trace: load(flow, kept, trace),
            "finetune-resume": lambda trace: resume(flow, kept, "finetune", trace),
            "align-resume": lambda trace: resume(flow, kept, "align", trace),
        }.items()
    }
    wrong = {name: one.error for name, one in ended.items() if one.outcome != "passed"}
    assert not wrong, "\n".join(f"{name}: {(error or {}).get('message')}" for name, error in wrong.items())


def rebase(config: Path, model: Path) -> None:
    """Have an adapter name the base model where it is here, as a user who moves a checkpoint must."""
    content = json.loads(config.read_text())
    content["base_model_name_or_path"] = str(model)
    config.write_text(json.dumps(content))


def load(flow: Workflow, kept: Path, trace: Trace) -> None:
    """Reload what was fine-tuned and aligned, and compare the logits with those of before."""
    for name in ("finetune", "align"):
        saved = kept / name / "checkpoints" / "whole"
        if not (saved / "sample.safetensors").is_file():
            continue  # the other stack did not get that far
        again = flow.generate(saved, f"kept-{name}", trace)
        before, after = (load_file(path / "sample.safetensors")["logits"] for path in (saved, again))
        difference = float((before - after).abs().max())
        trace.numbers[f"exchange.{name}.logits_difference"] = difference
        if difference > CLOSE:
            raise Mismatch(f"{name}: reloaded, its logits differ by {difference:.3g}")


def resume(flow: Workflow, kept: Path, command: str, trace: Trace) -> None:
    """Go on from the other stack's first step; the step counter and the losses are told."""
    start = kept / command / "checkpoints" / "whole" / "checkpoint-1"
    if not start.is_dir():
        return
    config = flow.finetune_config("exchanged", steps=2)
    if command == "align":
        config = flow.align_config("exchanged", start="finetuned", steps=2)
        config["model"] = {"path": str(kept / "align" / "checkpoints" / "finetuned")}
    data = "dpo" if command == "align" else "finetune"
    config["dataset"]["path"] = str(kept / command / "data" / f"{data}.json")
    flow.command(command, config, "--resume", str(start), name=f"exchange-{command}")(trace)
    states = [
        json.loads((path / "checkpoint-2" / "trainer_state.json").read_text())
        for path in (kept / command / "checkpoints" / "whole", flow.checkpoints("exchanged"))
        if (path / "checkpoint-2").is_dir()
    ]
    trace.numbers = {f"exchange.{command}.losses": [_last_loss(state) for state in states]}
    if states[-1]["global_step"] != 2:
        raise Mismatch(f"{command}: resumed after step 1 of 2, it ended at step {states[-1]['global_step']}")


def _last_loss(state: dict[str, Any]) -> Any:
    return next((row["loss"] for row in reversed(state["log_history"]) if "loss" in row), None)
