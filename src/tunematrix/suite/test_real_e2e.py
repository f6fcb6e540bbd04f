"""The workflow that every cell of the matrix runs: a real model, a Hub over real HTTP.

``pytest -m integration`` runs it in this environment, ``nox -s e2e`` in every cell. Each stage is a
command line of the pipeline, run in a separate child process; see ``tunematrix.harness``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tunematrix.harness.checkpoint import largest_difference, load_safetensors, load_weights
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
    """Download, fine-tune, align: each stage writes its files and changes the model's answer."""
    flow = Workflow(tmp_path, texts=TEXTS, preferences=PREFERENCES)
    flow.download()
    finetune = flow.command("finetune", flow.finetune_config("finetuned", steps=1))
    align = flow.command("align", flow.align_config("aligned", start="finetuned", steps=1))
    flow.run("finetune", lambda trace: check_training(flow, "finetuned", finetune, trace), after=["download"])
    flow.run("align", lambda trace: check_training(flow, "aligned", align, trace), after=["finetune"])
    flow.run("generate", lambda trace: check_answers(flow, trace), after=["download"])
    flow.finish()


def test_real_checkpoint_resume(tmp_path: Path) -> None:
    """A fine-tuning run that is resumed after its first step ends exactly like the uninterrupted one."""
    flow = Workflow(tmp_path, texts=TEXTS, preferences=PREFERENCES)
    whole, resumed = (flow.finetune_config(name, steps=2) for name in ("whole", "resumed"))
    flow.download(reported=False)
    flow.run("uninterrupted run", flow.command("finetune", whole), after=["download"], reported=False)
    work = flow.resume("finetune", resumed, "whole", "resumed")
    flow.run("finetune-resume", work, after=["uninterrupted run"])
    flow.finish()


def test_real_align_resume(tmp_path: Path) -> None:
    """The same for DPO; some releases resume from the wrong adapter without an error."""
    flow = Workflow(tmp_path, texts=TEXTS, preferences=PREFERENCES)
    start = flow.finetune_config("finetuned", steps=1)
    whole, resumed = (flow.align_config(name, start="finetuned", steps=2) for name in ("whole", "resumed"))
    flow.download(reported=False)
    flow.run("fine-tuned start", flow.command("finetune", start), after=["download"], reported=False)
    flow.run("uninterrupted run", flow.command("align", whole), after=["fine-tuned start"], reported=False)
    work = flow.resume("align", resumed, "whole", "resumed")
    flow.run("align-resume", work, after=["uninterrupted run"])
    flow.finish()


def check_training(flow: Workflow, name: str, command: Command, trace: Trace) -> None:
    """Run a training command and check the checkpoint that it writes."""
    command(trace)
    checkpoint = flow.checkpoints(name) / "checkpoint-1"
    weights = load_weights(checkpoint)
    assert weights, f"{checkpoint} holds no weights"
    assert any(tensor.abs().max() > 0 for key, tensor in weights.items() if "lora_B" in key), (
        "the adapter was not trained: every lora_B is zero"
    )


def check_answers(flow: Workflow, trace: Trace) -> None:
    """Reload each saved model: its logits must be those from before saving, and differ between the stages."""
    saved = {
        "base": flow.model,
        "finetuned": flow.checkpoints("finetuned"),
        "aligned": flow.checkpoints("aligned"),
    }
    answers = {}
    for name, path in saved.items():
        if not (path / "config.json").is_file() and not (path / "adapter_config.json").is_file():
            continue  # its stage failed and reports that itself
        answers[name] = flow.generate(path, name, trace)
        if name != "base":
            before, after = (
                load_safetensors(folder / "sample.safetensors") for folder in (path, answers[name])
            )
            assert (difference := largest_difference(before, after, f"{name} reloaded")) is None, difference
    check_round_trip(answers["base"])
    for first, second in itertools.combinations(answers, 2):
        left, right = (json.loads((answers[name] / "sample.json").read_text()) for name in (first, second))
        assert left["text"] != right["text"], f"{first} and {second} both answer {left['text']!r}"
        left, right = (load_safetensors(answers[name] / "sample.safetensors") for name in (first, second))
        assert largest_difference(left, right, "logits"), f"{first} and {second} have the same logits"


def check_round_trip(answer: Path) -> None:
    """The tokenizer must decode the prompt's ids to the prompt, spaces included."""
    sample = json.loads((answer / "sample.json").read_text())
    assert sample["prompt_again"] == sample["prompt"]
