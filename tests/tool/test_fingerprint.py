"""The fingerprint in a real cell: running the same lock twice gives the same numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


def run(results: Path, venv: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "tunematrix",
        "run",
        "latest",
        "--venv",
        str(venv),
        "--model",
        "tiny-gpt2",
    ]
    variables = {**os.environ, "TUNEMATRIX_RESULTS": str(results)}
    subprocess.run(command, cwd=ROOT, env=variables, check=True)
    return results / "tiny-gpt2/latest.json"


@pytest.mark.nightly
def test_the_same_lock_twice_gives_the_same_fingerprint(tmp_path: Path) -> None:
    records = [run(tmp_path / name, tmp_path / "venv") for name in ("first", "second")]

    command = [sys.executable, "-m", "tunematrix", "diff", *map(str, records), "--json"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert process.returncode == 0, process.stderr
    difference = json.loads(process.stdout)
    assert (difference["verdict"], difference["changes"]) == ("same", [])
    fingerprint: dict[str, Any] = json.loads(records[0].read_text())["fingerprint"]
    for name in EXPECTED_NUMBERS:
        assert name in fingerprint, f"{name} is not in the fingerprint"
    # bit for bit, which is stricter than the tolerances
    assert fingerprint == json.loads(records[1].read_text())["fingerprint"]


EXPECTED_NUMBERS = (
    "tiny-gpt2.relation.padding.right_logits_equal",
    "tiny-llama.adapter.dora.loss",
    "tiny-llama.call.chat_template.default",
    "tiny-llama.call.trainer.callback_arguments",
    "tiny-llama.format.rope_parameters.logits_equal",
    "tiny-llama.relation.resume.plain_later_epoch_weights_difference",
    "tiny-llama.sweep.TrainingArguments.weight_decay",
    "tiny-llama.sweep.LoraConfig.use_dora",
    "tiny-llama.sweep.SFTConfig.packing",
    "tiny-llama.sweep.DPOConfig.base.loss",
    "tiny-llama.sweep.DPOConfig.base.leaking_options",
    "tiny-llama.trainer.kto.loss",
    "finetune.loss",
    "align.loss",
    "tiny-gpt2.tokenizer.round_trip",
    "tiny-gpt2.load.dtype.default",
    "tiny-gpt2.generate.greedy_ids",
    "tiny-gpt2.adapter.reload_difference",
    "tiny-gpt2.sft.text.eval_loss",
    "tiny-gpt2.sft.text.learning_rate",
    "tiny-gpt2.sft.accumulation.grad_norm_ratio_4",
    "tiny-gpt2.resume.sft.later_epoch_difference",
    "tiny-gpt2.resume.dpo.first_epoch_difference",
    "tiny-llama.sft.accumulation.loss_ratio_2",
    "tiny-llama.sft.prompts.labels",
    "tiny-llama.sft.prompts_chat.input_ids",
    "tiny-llama.sft.chat.training_loss",
    "tiny-llama.sft.tokenized.input_ids",
    "tiny-llama.sft.packed.position_ids",
    "tiny-llama.sft.cut.input_ids",
    "tiny-llama.dpo.text.logps_chosen",
    "tiny-llama.dpo.text.rewards_chosen",
    "tiny-llama.dpo.text.adapters",
    "tiny-llama.dpo.chat.grad_norm",
    "tiny-llama.dpo.long.error",
)
