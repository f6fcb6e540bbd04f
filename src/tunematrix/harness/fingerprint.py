"""The fingerprint of a record: what the stack offers and assumes, and what it does with tiny models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunematrix.harness import measures, surface
from tunematrix.harness.isolate import Work, side_by_side
from tunematrix.harness.stages import import_stack, limit, report_end
from tunematrix.harness.workflow import Workflow
from tunematrix.pipeline.trace import Trace


def take(folder: Path) -> None:
    """Measure in children, one a group, each a probe of its own; fails the test where one did not end.

    The tiny models are the host's, in ``TUNEMATRIX_TINY``; skips where nobody made them.
    """
    flow = Workflow(folder, texts=(), preferences=())
    tiny = {
        Path(path).name: Path(path)
        for path in os.environ.get("TUNEMATRIX_TINY", "").split(os.pathsep)
        if path
    }
    known = flow.download(reported=False)
    chosen = flow.model if known.outcome == "passed" and flow.model.name not in tiny else None
    works: dict[str, Work] = {"surface": survey}
    for group in measures.plan(tiny, chosen):
        works[group.name] = measures.work(group, folder / group.name.replace(" ", "-"))
    names = list(works)
    wrong = []
    for place, ended in side_by_side(list(works.values()), limit(), at_once=cores()):
        report_end(f"fingerprint:{names[place]}", ended)
        if ended.outcome != "passed":
            wrong.append(f"{names[place]} {ended.outcome}: {(ended.error or {}).get('message', '')}")
    assert not wrong, "\n".join(wrong)
    if not tiny:
        pytest.skip("TUNEMATRIX_TINY names no tiny models; 'nox -s e2e' makes them")


def survey(trace: Trace) -> None:
    """Defaults, signatures and public names of the stack."""
    trace.surface = {
        "defaults": surface.defaults(),
        "signatures": surface.signatures(),
        "symbols": surface.symbols(),
        "renames": surface.renames(),
    }
    trace.command = "bare"
    for path in ("trl.SFTConfig", "trl.DPOConfig", "transformers.TrainingArguments"):
        trace.number(path.rpartition(".")[2], surface.bare(path))
    import_stack(Trace())  # what does not import was left out above: that is no whole survey


def cores() -> int:
    """How many children at once: each works on one thread."""
    return min(2, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 1
