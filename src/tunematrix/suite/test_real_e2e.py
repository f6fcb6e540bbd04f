"""The seed workflow on a real model, over a real Hub: what every cell of the matrix runs.

``pytest -m integration`` runs it in this environment, ``nox -s e2e`` in every cell. Each stage is a real
command line of the pipeline, run in a child of its own; see ``tunematrix.harness``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tunematrix.harness.checkpoint import first_difference, load_file, weights
from tunematrix.harness.workflow import Workflow
from tunematrix.pipeline.trace import Trace

Command = Callable[[Trace], None]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TEXTS = (
    "The sky is blue during the day.",
    "Grass is green and grows in gardens.",
    "The sun provides light and warmth.",
    "Water is essential for all life forms.",
)
PREFERENCES = (
    ("What color is the sky?", "The sky is blue.", "I don't know."),
    ("What color is grass?", "Grass is green.", "Purple."),
    ("What does the sun do?", "The sun provides light.", "Nothing."),
    ("Why is water important?", "Water sustains life.", "It's not."),
)


def test_real_download_finetune_dpo_workflow(tmp_path: Path) -> None:
    """Download, fine-tune, align: each leaves its files and changes what the model says."""
    flow = Workflow(tmp_path, texts=TEXTS, preferences=PREFERENCES)
    flow.download()
    finetune = flow.command("finetune", flow.finetune_config("finetuned", steps=1))
    align = flow.command("align", flow.align_config("aligned", start="finetuned", steps=1))
    flow.run("finetune", lambda trace: trained(flow, "finetuned", finetune, trace), after=["download"])
    flow.run("align", lambda trace: trained(flow, "aligned", align, trace), after=["finetune"])
    flow.run("generate", lambda trace: answers_differ(flow, trace), after=["download"])
    flow.finish()


def test_real_checkpoint_resume(tmp_path: Path) -> None:
    """A fine-tuning run resumed after its first step ends exactly where the uninterrupted one does."""
    flow = Workflow(tmp_path, texts=TEXTS, preferences=PREFERENCES)
    whole, resumed = (flow.finetune_config(name, steps=2) for name in ("whole", "resumed"))
    flow.download(reported=False)
    flow.run("uninterrupted run", flow.command("finetune", whole), after=["download"], reported=False)
    work = flow.resume("finetune", resumed, "whole", "resumed")
    flow.run("finetune-resume", work, after=["uninterrupted run"])
    flow.finish()


def test_real_align_resume(tmp_path: Path) -> None:
    """The same for DPO, where releases exist that go on from the wrong adapter without a word."""
    flow = Workflow(tmp_path, texts=TEXTS, preferences=PREFERENCES)
    start = flow.finetune_config("finetuned", steps=1)
    whole, resumed = (flow.align_config(name, start="finetuned", steps=2) for name in ("whole", "resumed"))
    flow.download(reported=False)
    flow.run("fine-tuned start", flow.command("finetune", start), after=["download"], reported=False)
    flow.run("uninterrupted run", flow.command("align", whole), after=["fine-tuned start"], reported=False)
    work = flow.resume("align", resumed, "whole", "resumed")
    flow.run("align-resume", work, after=["uninterrupted run"])
    flow.finish()


def trained(flow: Workflow, name: str, command: Command, trace: Trace) -> None:
    """Run a training command and check the checkpoint it leaves."""
    command(trace)
    checkpoint = flow.checkpoints(name) / "checkpoint-1"
    assert weights(checkpoint), f"{checkpoint} holds empty weights"
    assert any(tensor.abs().max() > 0 for key, tensor in weights(checkpoint).items() if "lora_B" in key), (
        "the adapter is still at its start: every lora_B is zero"
    )


def answers_differ(flow: Workflow, trace: Trace) -> None:
    """Reload all that was saved: the logits of before saving, and other ones after each stage."""
    saved = {
        "base": flow.model,
        "finetuned": flow.checkpoints("finetuned"),
        "aligned": flow.checkpoints("aligned"),
    }
    answers = {}
    for name, path in saved.items():
        if not (path / "config.json").is_file() and not (path / "adapter_config.json").is_file():
            continue  # its stage failed, and says so itself
        answers[name] = flow.generate(path, name, trace)
        if name != "base":
            before, after = (load_file(folder / "sample.safetensors") for folder in (path, answers[name]))
            assert (difference := first_difference(before, after, f"{name} reloaded")) is None, difference
    check_round_trip(answers["base"])
    for one, other in itertools.combinations(answers, 2):
        left, right = (json.loads((answers[name] / "sample.json").read_text()) for name in (one, other))
        assert left["text"] != right["text"], f"{one} and {other} both answer {left['text']!r}"
        left, right = (load_file(answers[name] / "sample.safetensors") for name in (one, other))
        assert first_difference(left, right, "logits"), f"{one} and {other} have the same logits"


def check_round_trip(answer: Path) -> None:
    """What the tokenizer splits must join again, spaces included."""
    sample = json.loads((answer / "sample.json").read_text())
    assert sample["prompt_again"] == sample["prompt"]
