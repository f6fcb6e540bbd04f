"""Supervised fine-tuning: what each kind of data becomes, and what the loss of it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tunematrix.harness.measures.lab import LORA, Lab, Row, distance, lora_weights
from tunematrix.pipeline import models

TEXTS: Final = (
    {"text": "The sky is blue during the day."},
    {"text": "Grass is green and grows in gardens."},
    {"text": "The sun provides light and warmth for all life."},
    {"text": "Water is essential."},
)
QUESTIONS: Final = (
    ("What color is the sky?", " The sky is blue."),
    ("What does the sun do?", " The sun provides light and warmth."),
)
LONG: Final = "The sun provides light and warmth for all life and " * 6


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CHATS: Final = tuple(
    {"messages": [message("user", question), message("assistant", answer.strip())]}
    for question, answer in QUESTIONS
)


def sft_text(lab: Lab) -> None:
    """Losses, gradient norms and learning rates of five steps with warm-up; the loss of held-out rows."""
    trainer = lab.trainer(
        "SFT",
        TEXTS,
        eval_rows=TEXTS[:2],
        max_steps=5,
        warmup_steps=2,
        dataset_text_field="text",
        max_length=64,
    )
    lab.tell_batch(trainer)
    loss, log = lab.train(trainer)
    lab.number("training_loss", loss)
    lab.number("grad_norm", [row["grad_norm"] for row in log])
    lab.number("learning_rate", [row["learning_rate"] for row in log])
    lab.number("log_keys", sorted(log[0]))
    lab.number("eval_loss", trainer.evaluate()["eval_loss"])


def sft_accumulation(lab: Lab) -> None:
    """Four rows in one batch, two and four: losses and gradient norms must not depend on it."""
    found = {}
    for steps in (1, 2, 4):
        trainer = lab.trainer(
            "SFT",
            TEXTS,
            per_device_train_batch_size=4 // steps,
            gradient_accumulation_steps=steps,
            dataset_text_field="text",
            max_length=64,
        )
        loss, [row, *_] = lab.train(trainer)
        found[steps] = loss, row["grad_norm"]
    lab.number("training_loss", found[1][0])
    lab.number("grad_norm", found[1][1])
    for steps in (2, 4):
        lab.number(f"loss_ratio_{steps}", found[steps][0] / found[1][0])
        lab.number(f"grad_norm_ratio_{steps}", found[steps][1] / found[1][1])


def sft_defaults(lab: Lab) -> None:
    """One step with what the configuration is by itself, but for the CPU."""
    import trl

    config = trl.SFTConfig(output_dir=str(lab.folder / "own"), use_cpu=True)
    kept = ("bf16", "gradient_checkpointing", "learning_rate", "optim", "loss_type", "packing")
    own = {name: getattr(config, name) for name in kept if hasattr(config, name)}
    trainer = lab.trainer("SFT", TEXTS, dataset_text_field="text", **own)
    lab.tell_step(trainer)
    lab.number("bf16", trainer.args.bf16)
    lab.number("gradient_checkpointing", trainer.args.gradient_checkpointing)


def _kind(lab: Lab, rows: Sequence[Row], **options: Any) -> None:
    trainer = lab.trainer("SFT", rows, **{"max_length": 64, **options})
    lab.tell_batch(trainer)
    if lab.trains:
        lab.tell_step(trainer)


def sft_prompts(lab: Lab) -> None:
    _kind(lab, [{"prompt": prompt, "completion": completion} for prompt, completion in QUESTIONS])


def sft_prompts_chat(lab: Lab) -> None:
    if lab.chats:
        rows = [
            {"prompt": [message("user", prompt)], "completion": [message("assistant", completion.strip())]}
            for prompt, completion in QUESTIONS
        ]
        _kind(lab, rows)


def sft_prompts_cut(lab: Lab) -> None:
    """A prompt that is longer than there is room: nothing of the completion is left."""
    _kind(lab, [{"prompt": LONG, "completion": " It is blue."}], max_length=16)


def sft_chat(lab: Lab) -> None:
    if lab.chats:
        _kind(lab, CHATS)


def sft_text_and_chat(lab: Lab) -> None:
    """Both a text and a messages column: one of them counts."""
    if lab.chats:
        rows = [{**text, **chat} for text, chat in zip(TEXTS, CHATS, strict=False)]
        _kind(lab, rows, dataset_text_field="text")


def sft_tokenized(lab: Lab) -> None:
    own = lab.tokenizer()
    _kind(lab, [{"input_ids": own(row["text"])["input_ids"]} for row in TEXTS])


def sft_packed(lab: Lab) -> None:
    """Blocks of 28 tokens: three are full and a fourth is not, so that what becomes of it shows."""
    _kind(lab, TEXTS * 2, dataset_text_field="text", packing=True, max_length=28)


def sft_cut(lab: Lab) -> None:
    _kind(lab, [{"text": LONG}], dataset_text_field="text", max_length=16)


def sft_plain_arguments(lab: Lab) -> None:
    """``TrainingArguments`` where a ``SFTConfig`` is meant: accepted?"""
    trainer = lab.plain_trainer("SFT", TEXTS, model=lab.load(), dataset_text_field="text", max_length=64)
    lab.number("accepted", type(trainer.args).__name__)


def sft_given_adapter(lab: Lab) -> None:
    """A model that has its adapter already: does it train?"""
    from peft import get_peft_model

    model = get_peft_model(lab.load(), models.lora_config(LORA, "lora"))
    trainer = lab.trainer("SFT", TEXTS, model=model, lora=None, dataset_text_field="text", max_length=64)
    before = lora_weights(model)
    lab.tell_step(trainer)
    lab.number("adapter_moved", distance(before, lora_weights(trainer.model)) > 0)


LOSSES: Final = (sft_text, sft_accumulation, sft_defaults)
KINDS: Final = (
    sft_prompts,
    sft_prompts_chat,
    sft_prompts_cut,
    sft_chat,
    sft_text_and_chat,
    sft_tokenized,
    sft_packed,
    sft_cut,
)
HABITS: Final = (sft_plain_arguments, sft_given_adapter)
