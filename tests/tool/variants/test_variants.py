"""Every option of the pipeline, in a cell: run as a workload by ``tests/tool/test_variants.py``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tunematrix.harness.isolate import Ended
from tunematrix.harness.workflow import Workflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TEXTS = ("The sky is blue during the day.", "Grass is green.", "The sun provides light.", "Water is wet.")
PAIRS = tuple((f"What color is number {number}?", "It is blue.", "Nothing.") for number in range(4))
LN2 = math.log(2)


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Tell me."}, {"role": "assistant", "content": text}]


ROWS: dict[str, list[dict[str, Any]]] = {
    "text": [{"body": text} for text in TEXTS],
    "chat": [{"talk": chat(text)} for text in TEXTS],
    "answer": [{"ask": "Tell me.", "say": f" {text}"} for text in TEXTS],
}
KINDS = {
    "text": {"text_field": "body"},
    "chat": {"messages_field": "talk"},
    "answer": {"prompt_field": "ask", "completion_field": "say"},
}


@pytest.fixture(name="flow")
def _flow(tmp_path: Path) -> Workflow:
    flow = Workflow(tmp_path, texts=TEXTS, preferences=PAIRS)
    assert flow.download(reported=False).outcome == "passed"
    return flow


def finetune(flow: Workflow, dataset: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Ended:
    config = flow.finetune_config("tuned", steps=2)
    if dataset is not None:
        config["dataset"] = dataset
    for section, values in sections.items():
        config[section] = {**config.get(section, {}), **values}
    ended = flow.run("finetune", flow.command("finetune", config), reported=False)
    flow.finish()
    return ended


def write(flow: Workflow, kind: str, form: str) -> str:
    path = flow.folder / f"data.{form}"
    rows = ROWS[kind]
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "json":
        path.write_text(json.dumps(rows))
    else:
        import pandas

        frame = pandas.DataFrame(rows)
        frame.to_csv(path, index=False) if form == "csv" else frame.to_parquet(path)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("text", "jsonl"), ("text", "csv"), ("text", "parquet"), ("chat", "json"), ("answer", "json")],
)
def test_data(flow: Workflow, kind: str, form: str) -> None:
    ended = finetune(flow, {"path": write(flow, kind, form), "format": form, **KINDS[kind]})

    assert ended.numbers["finetune.step"] == 2
    assert all(math.isfinite(value) and value > 0 for value in ended.numbers["finetune.loss"])


@pytest.mark.parametrize("method", ["dora", "rslora", "full"])
def test_method(flow: Workflow, method: str) -> None:
    ended = finetune(flow, training={"method": method}, lora={"rank": 4, "alpha": 8, "targets": "all-linear"})
    saved = flow.checkpoints("tuned")

    assert ended.numbers["finetune.training_loss"] > 0
    if method == "full":
        assert (saved / "model.safetensors").is_file()
        align = flow.align_config("aligned", start="tuned", steps=1)
        flow.run("align", flow.command("align", align), reported=False)
        flow.finish()
    else:
        adapter = json.loads((saved / "adapter_config.json").read_text())
        assert adapter[f"use_{method}"]
        assert (adapter["r"], adapter["lora_alpha"]) == (4, 8)


def test_evaluation(flow: Workflow) -> None:
    rows = {"path": str(flow.folder / "data/finetune.json"), "text_field": "text", "eval_split": 0.5}

    assert len(finetune(flow, rows).numbers["finetune.eval_loss"]) == 1


def test_packing(flow: Workflow) -> None:
    assert finetune(flow, training={"packing": True, "max_seq_length": 32}).outcome == "passed"


def test_accumulation_and_checkpointing(flow: Workflow) -> None:
    options = {"gradient_accumulation_steps": 2, "gradient_checkpointing": True, "scheduler": "cosine"}
    ended = finetune(flow, training={**options, "warmup_steps": 1, "save_steps": 2})

    assert len(ended.numbers["finetune.batches"]) >= 4
    assert not (flow.checkpoints("tuned") / "checkpoint-1").exists()
    assert (flow.checkpoints("tuned") / "checkpoint-2").is_dir()


def test_dtype(flow: Workflow) -> None:
    assert finetune(flow, model={"dtype": "bfloat16"}).outcome == "passed"


@pytest.mark.parametrize("reference", ["base", "start"])
def test_reference(flow: Workflow, reference: str) -> None:
    """Whatever the stack does by itself, a reference that is asked for is the one that is used."""
    finetune(flow)
    config = flow.align_config("aligned", start="tuned", steps=1)
    config["alignment"]["reference"] = reference

    ended = flow.run("align", flow.command("align", config), reported=False)

    flow.finish()
    # Before the first step the policy is the start: against itself the loss is ln 2, against another not.
    assert (abs(ended.numbers["align.training_loss"] - LN2) < 1e-6) == (reference == "start")


def test_loss(flow: Workflow) -> None:
    finetune(flow)
    config = flow.align_config("aligned", start="tuned", steps=1)
    config["alignment"] |= {"loss_type": "ipo", "beta": 0.3, "gradient_checkpointing": True}
    config["dataset"]["eval_split"] = 0.25

    ended = flow.run("align", flow.command("align", config), reported=False)

    flow.finish()
    assert ended.numbers["align.training_loss"] > 0
    assert ended.numbers["align.eval_loss"]
