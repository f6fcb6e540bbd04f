"""DPO: losses, log-probabilities and rewards, from an adapter as after fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tunematrix.harness.measures.lab import LORA, SEED, Lab, Row, fill
from tunematrix.harness.measures.texts import LONG, message
from tunematrix.pipeline import models

PAIRS: Final = (
    {"prompt": "What color is the sky?", "chosen": " The sky is blue.", "rejected": " I don't know."},
    {"prompt": "What color is grass?", "chosen": " Grass is green.", "rejected": " Purple."},
)
LOGGED: Final = (
    "logps/chosen",
    "logps/rejected",
    "rewards/chosen",
    "rewards/rejected",
    "entropy",
    "num_tokens",
)


def adapted(lab: Lab) -> Any:
    """A model with a LoRA adapter that has been trained: its ``lora_B`` is not zero."""
    from peft import get_peft_model
    from transformers import set_seed

    set_seed(SEED)
    model = get_peft_model(lab.load(), models.lora_config(LORA, "lora"))
    fill(model)
    # As a user has it who trained, saved and loads again.
    model.save_pretrained(str(lab.folder / lab.name / "start"))
    return models_loaded(lab)


def models_loaded(lab: Lab) -> Any:
    from peft import PeftModel

    start = str(lab.folder / lab.name / "start")
    return PeftModel.from_pretrained(lab.load(), start, is_trainable=True)


def _pairs(lab: Lab, rows: Sequence[Row], *, lora: Any = None, **options: Any) -> Any:
    asked = {"max_length": 64, "beta": 0.5, **options}
    trainer = lab.trainer("DPO", rows, model=adapted(lab), lora=lora, **asked)
    lab.tell_batch(trainer)
    row = lab.tell_step(trainer)
    for name in LOGGED:
        if name in row:
            lab.number(name.replace("/", "_"), row[name])
    return trainer


def dpo_text(lab: Lab) -> None:
    trainer = _pairs(lab, PAIRS, per_device_train_batch_size=2)
    lab.number("adapters", sorted(getattr(trainer.model, "peft_config", {})))


def dpo_accumulation(lab: Lab) -> None:
    """The gradient norm of two pairs, one at a time, over that of both at once: must be 1."""
    norms = []
    for steps in (1, 2):
        trainer = lab.trainer(
            "DPO",
            PAIRS,
            model=adapted(lab),
            lora=None,
            per_device_train_batch_size=2 // steps,
            gradient_accumulation_steps=steps,
            max_length=64,
            beta=0.5,
        )
        norms.append(lab.train(trainer)[1][0]["grad_norm"])
    lab.number("grad_norm_ratio_2", norms[1] / norms[0])


def dpo_long(lab: Lab) -> None:
    """A prompt longer than there is room: is anything of the answers left to learn from?"""
    _pairs(lab, [{**PAIRS[0], "prompt": LONG}], max_length=16)


def dpo_chat(lab: Lab, max_length: int = 64) -> None:
    """A conversation whose prompt exceeds ``max_prompt_length``, where there is such a thing."""
    if not lab.chats:
        return
    rows = [
        {
            "prompt": [message("user", f"{row['prompt']} {LONG[:60]}")],
            "chosen": [message("assistant", row["chosen"].strip())],
            "rejected": [message("assistant", row["rejected"].strip())],
        }
        for row in PAIRS
    ]
    _pairs(lab, rows, max_prompt_length=32, max_length=max_length)


def dpo_chat_cut(lab: Lab) -> None:
    """The same conversation, a little longer than there is room."""
    dpo_chat(lab, max_length=56)


def dpo_ipo(lab: Lab) -> None:
    _pairs(lab, PAIRS, loss_type="ipo")


def dpo_stacked(lab: Lab) -> None:
    """An adapter and a configuration for a new one at once: stacked, or refused?"""
    trainer = _pairs(lab, PAIRS, lora=LORA)
    lab.number("adapters", sorted(getattr(trainer.model, "peft_config", {})))


def dpo_plain_arguments(lab: Lab) -> None:
    """``TrainingArguments`` where a ``DPOConfig`` is meant: accepted?"""
    trainer = lab.plain_trainer("DPO", PAIRS, model=adapted(lab))
    lab.number("accepted", type(trainer.args).__name__)


LOSSES: Final = (dpo_text, dpo_accumulation)
KINDS: Final = (dpo_long, dpo_chat, dpo_chat_cut, dpo_ipo, dpo_stacked)
HABITS: Final = (dpo_plain_arguments,)
