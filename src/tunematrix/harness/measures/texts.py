"""Measures of supervised fine-tuning: the batches and losses of each kind of data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tunematrix.harness.measures.lab import LORA, Lab, Row, lora_weights, max_difference
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
PROMPTS: Final = tuple({"prompt": prompt, "completion": completion} for prompt, completion in QUESTIONS)
LONG: Final = "The sun provides light and warmth for all life and " * 6


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CHATS: Final = tuple(
    {"messages": [message("user", question), message("assistant", answer.strip())]}
    for question, answer in QUESTIONS
)


PROMPT_CHATS: Final = tuple(
    {"prompt": [message("user", prompt)], "completion": [message("assistant", completion.strip())]}
    for prompt, completion in QUESTIONS
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
    lab.add_batch(trainer)
    loss, log = lab.train(trainer)
    lab.add_number("training_loss", loss)
    lab.add_number("grad_norm", [entry["grad_norm"] for entry in log])
    lab.add_number("learning_rate", [entry["learning_rate"] for entry in log])
    lab.add_number("log_keys", sorted(log[0]))
    lab.add_number("eval_loss", trainer.evaluate()["eval_loss"])


def sft_accumulation(lab: Lab) -> None:
    """Four rows as one, two and four batches of a step: loss and gradient norm must not depend on it."""
    results = {}
    for steps in (1, 2, 4):
        trainer = lab.trainer(
            "SFT",
            TEXTS,
            per_device_train_batch_size=4 // steps,
            gradient_accumulation_steps=steps,
            dataset_text_field="text",
            max_length=64,
        )
        loss, [entry, *_] = lab.train(trainer)
        results[steps] = loss, entry["grad_norm"]
    lab.add_number("training_loss", results[1][0])
    lab.add_number("grad_norm", results[1][1])
    for steps in (2, 4):
        lab.add_number(f"loss_ratio_{steps}", results[steps][0] / results[1][0])
        lab.add_number(f"grad_norm_ratio_{steps}", results[steps][1] / results[1][1])


def sft_defaults(lab: Lab) -> None:
    """One step with the configuration's own defaults, except that it runs on the CPU."""
    import trl

    config = trl.SFTConfig(output_dir=str(lab.folder / "defaults"), use_cpu=True)
    names = ("bf16", "gradient_checkpointing", "learning_rate", "optim", "loss_type", "packing")
    defaults = {name: getattr(config, name) for name in names if hasattr(config, name)}
    trainer = lab.trainer("SFT", TEXTS, dataset_text_field="text", **defaults)
    lab.add_step(trainer)
    lab.add_number("bf16", trainer.args.bf16)
    lab.add_number("gradient_checkpointing", trainer.args.gradient_checkpointing)


def _measure_data(lab: Lab, rows: Sequence[Row], **options: Any) -> None:
    trainer = lab.trainer("SFT", rows, **{"max_length": 64, **options})
    lab.add_batch(trainer)
    if lab.can_train:
        lab.add_step(trainer)


def sft_prompts(lab: Lab) -> None:
    _measure_data(lab, PROMPTS)


def sft_prompts_chat(lab: Lab) -> None:
    if lab.has_chat_template:
        _measure_data(lab, PROMPT_CHATS)


def sft_prompts_cut(lab: Lab) -> None:
    """A prompt longer than ``max_length``: nothing of the completion is left."""
    _measure_data(lab, [{"prompt": LONG, "completion": " It is blue."}], max_length=16)


def sft_chat(lab: Lab) -> None:
    if lab.has_chat_template:
        _measure_data(lab, CHATS)


def sft_text_and_chat(lab: Lab) -> None:
    """Both a text and a messages column: which one is used?"""
    if lab.has_chat_template:
        rows = [{**text, **chat} for text, chat in zip(TEXTS, CHATS, strict=False)]
        _measure_data(lab, rows, dataset_text_field="text")


def sft_tokenized(lab: Lab) -> None:
    tokenizer = lab.load_tokenizer()
    _measure_data(lab, [{"input_ids": tokenizer(row["text"])["input_ids"]} for row in TEXTS])


def sft_packed(lab: Lab) -> None:
    """Blocks of 28 tokens: three are full and a fourth is not; is it kept?"""
    _measure_data(lab, TEXTS * 2, dataset_text_field="text", packing=True, max_length=28)


def sft_cut(lab: Lab) -> None:
    _measure_data(lab, [{"text": LONG}], dataset_text_field="text", max_length=16)


def sft_plain_arguments(lab: Lab) -> None:
    """``TrainingArguments`` instead of an ``SFTConfig``: accepted?"""
    trainer = lab.plain_trainer("SFT", TEXTS, model=lab.load(), dataset_text_field="text", max_length=64)
    lab.add_number("accepted", type(trainer.args).__name__)


def sft_given_adapter(lab: Lab) -> None:
    """A model that already has an adapter: is the adapter trained?"""
    from peft import get_peft_model

    model = get_peft_model(lab.load(), models.lora_config(LORA, "lora"))
    trainer = lab.trainer("SFT", TEXTS, model=model, lora=None, dataset_text_field="text", max_length=64)
    before = lora_weights(model)
    lab.add_step(trainer)
    lab.add_number("adapter_moved", max_difference(before, lora_weights(trainer.model)) > 0)


LOSSES: Final = (sft_text, sft_accumulation, sft_defaults)
DATA_KINDS: Final = (
    sft_prompts,
    sft_prompts_chat,
    sft_prompts_cut,
    sft_chat,
    sft_text_and_chat,
    sft_tokenized,
    sft_packed,
    sft_cut,
)
USAGES: Final = (sft_plain_arguments, sft_given_adapter)
