"""Measures of DPO: losses, log-probabilities and rewards, starting from a trained adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tunematrix.harness.measures.lab import LORA, SEED, Lab, Row, fill_lora_b
from tunematrix.harness.measures.texts import LONG, message
from tunematrix.pipeline import models

PAIRS: Final = (
    {"prompt": "What color is the sky?", "chosen": " The sky is blue.", "rejected": " I don't know."},
    {"prompt": "What color is grass?", "chosen": " Grass is green.", "rejected": " Purple."},
)


def chat_pair(row: Row) -> dict[str, Any]:
    """A row of ``PAIRS`` as a conversation."""
    answers = {name: [message("assistant", row[name].strip())] for name in ("chosen", "rejected")}
    return {"prompt": [message("user", row["prompt"])], **answers}


LOGGED: Final = (
    "logps/chosen",
    "logps/rejected",
    "rewards/chosen",
    "rewards/rejected",
    "entropy",
    "num_tokens",
)


def model_with_adapter(lab: Lab) -> Any:
    """A model with a LoRA adapter whose ``lora_B`` is not zero, as after training."""
    from peft import get_peft_model
    from transformers import set_seed

    set_seed(SEED)
    model = get_peft_model(lab.load(), models.lora_config(LORA, "lora"))
    fill_lora_b(model)
    # Saved and reloaded, as a user does between fine-tuning and alignment.
    model.save_pretrained(str(lab.folder / lab.name / "start"))
    return reload_with_adapter(lab)


def reload_with_adapter(lab: Lab) -> Any:
    """Load the model with the adapter that ``model_with_adapter`` saved."""
    from peft import PeftModel

    start = str(lab.folder / lab.name / "start")
    return PeftModel.from_pretrained(lab.load(), start, is_trainable=True)


def _measure_pairs(lab: Lab, rows: Sequence[Row], *, lora: Any = None, **options: Any) -> Any:
    options = {"max_length": 64, "beta": 0.5, **options}
    trainer = lab.trainer("DPO", rows, model=model_with_adapter(lab), lora=lora, **options)
    lab.add_batch(trainer)
    entry = lab.add_step(trainer)
    for name in LOGGED:
        if name in entry:
            lab.add_number(name.replace("/", "_"), entry[name])
    return trainer


def dpo_text(lab: Lab) -> None:
    trainer = _measure_pairs(lab, PAIRS, per_device_train_batch_size=2)
    lab.add_number("adapters", sorted(getattr(trainer.model, "peft_config", {})))


def dpo_accumulation(lab: Lab) -> None:
    """The gradient norm of two pairs, one at a time, divided by that of both at once: must be 1."""
    norms = []
    for steps in (1, 2):
        trainer = lab.trainer(
            "DPO",
            PAIRS,
            model=model_with_adapter(lab),
            lora=None,
            per_device_train_batch_size=2 // steps,
            gradient_accumulation_steps=steps,
            max_length=64,
            beta=0.5,
        )
        norms.append(lab.train(trainer)[1][0]["grad_norm"])
    lab.add_number("grad_norm_ratio_2", norms[1] / norms[0])


def dpo_long(lab: Lab) -> None:
    """A prompt longer than ``max_length``: is anything of the answers left to learn from?"""
    _measure_pairs(lab, [{**PAIRS[0], "prompt": LONG}], max_length=16)


def dpo_chat(lab: Lab, max_length: int = 64) -> None:
    """A conversation whose prompt exceeds ``max_prompt_length``, which newer releases do not have."""
    if not lab.has_chat_template:
        return
    rows = [chat_pair({**row, "prompt": f"{row['prompt']} {LONG[:60]}"}) for row in PAIRS]
    _measure_pairs(lab, rows, max_prompt_length=32, max_length=max_length)


def dpo_chat_cut(lab: Lab) -> None:
    """The same conversation, slightly longer than ``max_length``."""
    dpo_chat(lab, max_length=56)


def dpo_ipo(lab: Lab) -> None:
    _measure_pairs(lab, PAIRS, loss_type="ipo")


def dpo_stacked(lab: Lab) -> None:
    """A model with an adapter and a configuration for a new one: stacked, or refused?"""
    trainer = _measure_pairs(lab, PAIRS, lora=LORA)
    lab.add_number("adapters", sorted(getattr(trainer.model, "peft_config", {})))


def dpo_plain_arguments(lab: Lab) -> None:
    """``TrainingArguments`` instead of a ``DPOConfig``: accepted?"""
    trainer = lab.plain_trainer("DPO", PAIRS, model=model_with_adapter(lab))
    lab.add_number("accepted", type(trainer.args).__name__)


LOSSES: Final = (dpo_text, dpo_accumulation)
DATA_KINDS: Final = (dpo_long, dpo_chat, dpo_chat_cut, dpo_ipo, dpo_stacked)
USAGES: Final = (dpo_plain_arguments,)
