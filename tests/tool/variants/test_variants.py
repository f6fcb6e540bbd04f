"""Every option of the pipeline; ``tests/tool/test_variants.py`` runs this as the workload of a cell."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tunematrix.harness.isolate import WorkResult
from tunematrix.harness.workflow import Workflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TEXTS = ("The sky is blue during the day.", "Grass is green.", "The sun provides light.", "Water is wet.")
PAIRS = tuple((f"What color is number {number}?", "It is blue.", "Nothing.") for number in range(4))
LN2 = math.log(2)


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Tell me."}, {"role": "assistant", "content": text}]


ROWS: dict[str, list[dict[str, Any]]] = {
    "text": [{"body": text} for text in TEXTS],
    "chat": [{"conversation": chat(text)} for text in TEXTS],
    "answer": [{"question": "Tell me.", "answer": f" {text}"} for text in TEXTS],
}
FIELDS = {
    "text": {"text_field": "body"},
    "chat": {"messages_field": "conversation"},
    "answer": {"prompt_field": "question", "completion_field": "answer"},
}


@pytest.fixture(name="flow")
def _flow(tmp_path: Path) -> Workflow:
    flow = Workflow(tmp_path, texts=TEXTS, preferences=PAIRS)
    assert flow.download(reported=False).outcome == "passed"
    return flow


def finetune(flow: Workflow, dataset: dict[str, Any] | None = None, **sections: dict[str, Any]) -> WorkResult:
    config = flow.finetune_config("tuned", steps=2)
    if dataset is not None:
        config["dataset"] = dataset
    for section, values in sections.items():
        config[section] = {**config.get(section, {}), **values}
    result = flow.run("finetune", flow.command("finetune", config), reported=False)
    flow.finish()
    return result


def write_data(flow: Workflow, data: str, file_format: str) -> str:
    path = flow.folder / f"data.{file_format}"
    rows = ROWS[data]
    if file_format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif file_format == "json":
        path.write_text(json.dumps(rows))
    else:
        import pandas

        frame = pandas.DataFrame(rows)
        frame.to_csv(path, index=False) if file_format == "csv" else frame.to_parquet(path)
    return str(path)


@pytest.mark.parametrize(
    ("data", "file_format"),
    [("text", "jsonl"), ("text", "csv"), ("text", "parquet"), ("chat", "json"), ("answer", "json")],
)
def test_data(flow: Workflow, data: str, file_format: str) -> None:
    path = write_data(flow, data, file_format)
    result = finetune(flow, {"path": path, "format": file_format, **FIELDS[data]})

    assert result.numbers["finetune.step"] == 2
    assert all(math.isfinite(value) and value > 0 for value in result.numbers["finetune.loss"])


@pytest.mark.parametrize("method", ["dora", "rslora", "full"])
def test_method(flow: Workflow, method: str) -> None:
    result = finetune(
        flow, training={"method": method}, lora={"rank": 4, "alpha": 8, "targets": "all-linear"}
    )
    saved = flow.checkpoints("tuned")

    assert result.numbers["finetune.training_loss"] > 0
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
    dataset = {"path": str(flow.folder / "data/finetune.json"), "text_field": "text", "eval_split": 0.5}

    assert len(finetune(flow, dataset).numbers["finetune.eval_loss"]) == 1


def test_packing(flow: Workflow) -> None:
    assert finetune(flow, training={"packing": True, "max_seq_length": 32}).outcome == "passed"


def test_accumulation_and_checkpointing(flow: Workflow) -> None:
    options = {"gradient_accumulation_steps": 2, "gradient_checkpointing": True, "scheduler": "cosine"}
    result = finetune(flow, training={**options, "warmup_steps": 1, "save_steps": 2})

    assert len(result.numbers["finetune.batches"]) >= 4
    assert not (flow.checkpoints("tuned") / "checkpoint-1").exists()
    assert (flow.checkpoints("tuned") / "checkpoint-2").is_dir()


def test_dtype(flow: Workflow) -> None:
    assert finetune(flow, model={"dtype": "bfloat16"}).outcome == "passed"


@pytest.mark.parametrize("reference", ["base", "start"])
def test_reference(flow: Workflow, reference: str) -> None:
    """A configured reference is used, whatever the stack's own choice is."""
    finetune(flow)
    config = flow.align_config("aligned", start="tuned", steps=1)
    config["alignment"]["reference"] = reference

    result = flow.run("align", flow.command("align", config), reported=False)

    flow.finish()
    # Before the first step the policy equals the start, so only with that reference is the loss ln 2.
    assert (abs(result.numbers["align.training_loss"] - LN2) < 1e-6) == (reference == "start")


def test_loss(flow: Workflow) -> None:
    finetune(flow)
    config = flow.align_config("aligned", start="tuned", steps=1)
    config["alignment"] |= {"loss_type": "ipo", "beta": 0.3, "gradient_checkpointing": True}
    config["dataset"]["eval_split"] = 0.25

    result = flow.run("align", flow.command("align", config), reported=False)

    flow.finish()
    assert result.numbers["align.training_loss"] > 0
    assert result.numbers["align.eval_loss"]
