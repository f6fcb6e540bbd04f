"""The fingerprint of a record: the stack's defaults and signatures, and numbers from tiny models."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunematrix.harness import measures, names, surface
from tunematrix.harness.isolate import Work, run_isolated, run_parallel
from tunematrix.harness.measures.lab import Lab, load_once
from tunematrix.harness.settings import settings
from tunematrix.harness.stages import import_stack, report_end, time_limit
from tunematrix.harness.workflow import Workflow
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.stages import FULL


def measure(folder: Path) -> None:
    """Run each group of measures in a child process, as a probe; fails the test if one does not pass.

    The host names the folders of the tiny models in ``TUNEMATRIX_TINY``; skips without it.
    """
    flow = Workflow(folder, texts=(), preferences=())
    tiny_models = {
        Path(path).name: Path(path)
        for path in os.environ.get("TUNEMATRIX_TINY", "").split(os.pathsep)
        if path
    }
    download = flow.download(reported=False)
    chosen = flow.model if download.outcome == "passed" and flow.model.name not in tiny_models else None
    works: dict[str, Work] = {"surface": survey}
    if tiny_models:
        warm_up(list(tiny_models.values()), folder / "warm-up")
    for group in measures.plan(tiny_models, chosen, os.environ.get("TUNEMATRIX_DEPTH", FULL)):
        works[group.name] = measures.make_work(group, folder / group.name.replace(" ", "-"))
    group_names = list(works)
    failures = []
    for index, result in run_parallel(list(works.values()), time_limit(), max_running=max_children()):
        report_end(f"fingerprint:{group_names[index]}", result)
        if result.outcome != "passed":
            failures.append(
                f"{group_names[index]} {result.outcome}: {(result.error or {}).get('message', '')}"
            )
    assert not failures, "\n".join(failures)
    if not tiny_models:
        pytest.skip("TUNEMATRIX_TINY names no tiny models; 'nox -s e2e' makes them")


def warm_up(tiny_models: Sequence[Path], folder: Path) -> None:
    """Do here, once, what each child would do first: import what a training imports, and load the models.

    Old releases import ``torch._dynamo`` in the first forward pass of a Llama: 4 s of each child. What fails
    here fails where it is needed; the models are loaded only where a child could.
    """

    def train(trace: Trace) -> None:
        before = set(sys.modules)
        for model in tiny_models:
            lab = Lab(model=model, tokenizer=model, folder=folder, trace=trace, prefix="", name="warm_up")
            lab.train(lab.trainer("SFT", [{"text": "The sky"}], dataset_text_field="text", max_length=8))
        trace.numbers = {"modules": sorted(set(sys.modules) - before)}

    result = run_isolated(train, time_limit())
    for name in result.numbers.get("modules", ()):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if result.outcome == "passed":
        for model in tiny_models:
            with contextlib.suppress(Exception):
                load_once(model, Trace())


def survey(trace: Trace) -> None:
    """Record defaults, signatures and public names of the stack."""
    trace.surface = {
        "defaults": surface.defaults(),
        "signatures": surface.signatures(),
        "symbols": {**surface.symbols(), **names.module_names(), **settings()},
        "renames": surface.renames(),
    }
    trace.command = "bare"
    for path in ("trl.SFTConfig", "trl.DPOConfig", "transformers.TrainingArguments"):
        trace.add_number(path.rpartition(".")[2], surface.construct_bare(path))
    import_stack(Trace())  # the functions above leave out what does not import; here that is an error


def max_children() -> int:
    """How many children may run at once; each uses one thread."""
    return min(2, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 1
