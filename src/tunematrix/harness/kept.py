"""Another cell's checkpoints under this stack: do they load with the same logits, and do they resume?

``TUNEMATRIX_ARTIFACTS`` names the folder that the other cell kept: ``finetune`` and ``align``, each with
``data``, ``checkpoints/whole`` (two steps, with a sample) and, for ``align``, the adapter it started from.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from tunematrix.harness import names
from tunematrix.harness.checkpoint import load_safetensors
from tunematrix.harness.stages import run_stage
from tunematrix.harness.workflow import Mismatch, Workflow
from tunematrix.pipeline.trace import Trace

# The largest accepted difference of logits; kernels of another release may differ in the last bits.
TOLERANCE: Final = 1e-3


def check(folder: Path) -> None:
    """Load and resume the other cell's checkpoints, each as a probe; fails the test if one does not pass."""
    if not os.environ.get("TUNEMATRIX_ARTIFACTS"):
        pytest.skip(
            "TUNEMATRIX_ARTIFACTS names no checkpoints of another cell; 'tunematrix upgrade' keeps them"
        )
    flow = Workflow(folder, texts=(), preferences=())
    if flow.download(reported=False).outcome != "passed":
        raise AssertionError("the model could not be downloaded")
    artifacts = folder / "kept"
    shutil.copytree(os.environ["TUNEMATRIX_ARTIFACTS"], artifacts)
    for config in artifacts.rglob("adapter_config.json"):
        set_base_model(config, flow.model)
    results = {
        f"exchange:{name}": run_stage(f"exchange:{name}", work)
        for name, work in {
            "names": lambda trace: try_names(artifacts, trace),
            "load": lambda trace: load(flow, artifacts, trace),
            "finetune-resume": lambda trace: resume(flow, artifacts, "finetune", trace),
            "align-resume": lambda trace: resume(flow, artifacts, "align", trace),
        }.items()
    }
    errors = {name: result.error for name, result in results.items() if result.outcome != "passed"}
    assert not errors, "\n".join(f"{name}: {(error or {}).get('message')}" for name, error in errors.items())


def set_base_model(config: Path, model: Path | str) -> None:
    """Set the base model's path in an adapter's ``config``, as a user who moves a checkpoint must."""
    content = json.loads(config.read_text())
    content["base_model_name_or_path"] = str(model)
    config.write_text(json.dumps(content))


def try_names(artifacts: Path, trace: Trace) -> None:
    """Try what the other stack offers and this one does not list; an edit is only needed if it fails."""
    path = artifacts / "surface.json"
    if path.is_file():
        trace.surface = {"tried": names.try_names(json.loads(path.read_text()))}


def load(flow: Workflow, artifacts: Path, trace: Trace) -> None:
    """Reload the fine-tuned and the aligned model; compare their logits with those of the other cell."""
    for name in ("finetune", "align"):
        saved = artifacts / name / "checkpoints" / "whole"
        if not (saved / "sample.safetensors").is_file():
            continue  # the other stack did not get that far
        reloaded = flow.generate(saved, f"kept-{name}", trace)
        before, after = (
            load_safetensors(path / "sample.safetensors")["logits"] for path in (saved, reloaded)
        )
        difference = float((before - after).abs().max())
        trace.numbers[f"exchange.{name}.logits_difference"] = difference
        if difference > TOLERANCE:
            raise Mismatch(f"{name}: after reloading, its logits differ by {difference:.3g}")


def resume(flow: Workflow, artifacts: Path, command: str, trace: Trace) -> None:
    """Resume ``command`` from the other stack's first step; checks the step count and records the losses."""
    start = artifacts / command / "checkpoints" / "whole" / "checkpoint-1"
    if not start.is_dir():
        return
    config = flow.finetune_config("exchanged", steps=2)
    if command == "align":
        config = flow.align_config("exchanged", start="finetuned", steps=2)
        config["model"] = {"path": str(artifacts / "align" / "checkpoints" / "finetuned")}
    data = "dpo" if command == "align" else "finetune"
    config["dataset"]["path"] = str(artifacts / command / "data" / f"{data}.json")
    flow.command(command, config, "--resume", str(start), name=f"exchange-{command}")(trace)
    whole, resumed = (
        _trainer_state(folder / "checkpoint-2")
        for folder in (artifacts / command / "checkpoints" / "whole", flow.checkpoints("exchanged"))
    )
    trace.numbers = {f"exchange.{command}.losses": [_last_loss(state) for state in (whole, resumed)]}
    if resumed.get("global_step") != 2:
        raise Mismatch(
            f"{command}: resumed after step 1 of 2, it ended at step {resumed.get('global_step', 1)}"
        )


def _trainer_state(checkpoint: Path) -> dict[str, Any]:
    """The trainer's state in a checkpoint; empty if there is none."""
    path = checkpoint / "trainer_state.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _last_loss(state: dict[str, Any]) -> Any:
    history = state.get("log_history", [])
    return next((entry["loss"] for entry in reversed(history) if "loss" in entry), None)
