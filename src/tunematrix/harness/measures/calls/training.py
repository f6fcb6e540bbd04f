"""What the calls of fine-tuning code return on trainers, and what misuse raises."""

# ruff: noqa: PLW0108  # lambdas, so that a name which a stack lacks is looked up where the call is guarded

from __future__ import annotations

import copy
from typing import Any, Final

from tunematrix.harness.measures.calls.described import (
    Exactly,
    describe_calls,
    file_names,
    home,
    part,
)
from tunematrix.harness.measures.lab import LORA, OPTIONS, Lab
from tunematrix.harness.measures.preferences import PAIRS
from tunematrix.harness.measures.texts import CHATS, TEXTS
from tunematrix.harness.measures.trainer_lab import with_adapter
from tunematrix.pipeline import compat
from tunematrix.pipeline.trace import Trace

TEXT_OPTIONS: Final = {"dataset_text_field": "text", "max_length": 64}


class _Trainers:
    """Makes plain trainers of transformers, which all start from one model."""

    def __init__(self, lab: Lab) -> None:
        import datasets

        self.lab, self.folder = lab, home(lab)
        self.model, self.tokenizer = lab.load(), lab.load_tokenizer()
        self.rows = datasets.Dataset.from_list([dict(self.tokenizer(row["text"])) for row in TEXTS])
        self.texts = datasets.Dataset.from_list([dict(row) for row in TEXTS])

    def arguments(self, **options: Any) -> Any:
        """Training arguments; names that ``compat`` knows are spelt as this stack does, others are kept."""
        import transformers

        accepted = compat.accepted_arguments(transformers.TrainingArguments)
        given = {**OPTIONS, "output_dir": str(self.folder / "out"), **options}
        named = {compat.matching_name(accepted, name) or name: value for name, value in given.items()}
        return transformers.TrainingArguments(**named)

    def make(self, options: Any = None, **given: Any) -> Any:
        import transformers

        collator = transformers.DataCollatorForLanguageModeling(self.tokenizer, mlm=False)
        arguments = {
            "model": copy.deepcopy(self.model),
            "args": self.arguments(**(options or {})),
            "train_dataset": self.rows,
            "data_collator": collator,
            "processing_class": self.tokenizer,
            **given,
        }
        name = "transformers.Trainer"
        adapted = compat.adapt_arguments(transformers.Trainer, name, arguments, Trace())
        return transformers.Trainer(**adapted)


def _watching(events: list[str], given: dict[str, list[str]]) -> Any:
    """A callback that adds each event with its step to ``events``, and what it is given then to ``given``.

    An argument that is None is left out: code that uses it fails.
    """
    import transformers

    def watch(event: str) -> Any:
        def called(_: Any, __: Any, state: Any, ___: Any, **arguments: Any) -> None:
            events.append(f"{event} {state.global_step}")
            given[event] = sorted(name for name, value in arguments.items() if value is not None)

        return called

    base = transformers.TrainerCallback
    return type("Watching", (base,), {name: watch(name) for name in dir(base) if name.startswith("on_")})()


def call_trainer(lab: Lab) -> None:
    from transformers.trainer_utils import get_last_checkpoint

    setting = _Trainers(lab)
    make = setting.make
    out = home(lab) / "out"
    events: list[str] = []
    given: dict[str, list[str]] = {}
    trainer = make(
        {"save_strategy": "steps", "save_steps": 1},
        eval_dataset=_Trainers(lab).rows.select([0, 1]),
        callbacks=[_watching(events, given)],
    )
    describe_calls(
        lab,
        {
            "batch": lambda: next(iter(trainer.get_train_dataloader())),
            "train_loader": lambda: trainer.get_train_dataloader(),
            "optimizer_before": lambda: trainer.optimizer,
            "train": lambda: trainer.train(),
            "optimizer": lambda: trainer.optimizer,
            "scheduler": lambda: trainer.lr_scheduler,
            "state": lambda: vars(trainer.state),
            "log_first": lambda: trainer.state.log_history[0],
            "log_last": lambda: trainer.state.log_history[-1],
            "evaluate": lambda: trainer.evaluate(),
            "predict": lambda: trainer.predict(trainer.eval_dataset),
            "checkpoint_files": lambda: file_names(out / "checkpoint-1"),
            "last_checkpoint": lambda: get_last_checkpoint(str(out)),
            "no_last_checkpoint": lambda: get_last_checkpoint(str(out / "checkpoint-1")),
            "save_model": lambda: trainer.save_model(str(home(lab) / "model")),
            "save_model_files": lambda: file_names(home(lab) / "model"),
            "log_metrics": lambda: trainer.log_metrics("train", {"loss": 1.0}),
            "model": lambda: trainer.model,
            "tokenizer": lambda: trainer.tokenizer,
            "processing_class": lambda: part(trainer, "processing_class"),
            "callback_events": lambda: Exactly(events),
            "callback_arguments": lambda: Exactly(given),
            "resumed": lambda: make({"max_steps": 2}).train(resume_from_checkpoint=str(out / "checkpoint-1")),
        },
    )


def call_trainer_misuse(lab: Lab) -> None:
    setting = _Trainers(lab)
    make, arguments = setting.make, setting.arguments
    missing = str(setting.folder / "none")
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "epoch"}
    describe_calls(
        lab,
        {
            "wrong_resume_missing": lambda: make().train(resume_from_checkpoint=missing),
            "wrong_resume_none": lambda: make().train(resume_from_checkpoint=True),
            "wrong_eval_no_data": lambda: make({"eval_strategy": "steps", "eval_steps": 1}),
            "wrong_evaluate_no_data": lambda: make().evaluate(),
            "wrong_no_train_data": lambda: make(train_dataset=None).train(),
            "wrong_no_model": lambda: make(model=None),
            "wrong_columns": lambda: make(train_dataset=setting.texts).train(),
            "wrong_empty_data": lambda: make(train_dataset=setting.rows.select([])).train(),
            "wrong_callback": lambda: make(callbacks=["no callback"]),
            "wrong_length": lambda: make({"max_steps": 0, "num_train_epochs": 0}).train(),
            "wrong_best_model": lambda: arguments(**best),
            "wrong_argument": lambda: arguments(no_such_argument=1),
            "wrong_optimizer": lambda: arguments(optim="no such optimizer"),
            "wrong_scheduler": lambda: arguments(lr_scheduler_type="no such scheduler"),
            "wrong_both_precisions": lambda: arguments(bf16=True, fp16=True),
            "wrong_strategy": lambda: arguments(save_strategy="no such strategy"),
            "wrong_report": lambda: make({"report_to": "no_such_tracker"}),
            "wrong_accumulation": lambda: make({"gradient_accumulation_steps": 0}).train(),
            "wrong_batch_size": lambda: make({"per_device_train_batch_size": 0}).train(),
            "wrong_warmup": lambda: arguments(warmup_steps=-1),
        },
    )


def call_sft(lab: Lab) -> None:
    import trl

    trainer = lab.trainer("SFT", TEXTS, eval_rows=TEXTS[:2], **TEXT_OPTIONS)
    spare = lab.load()  # not trained, so one is enough for all that follow the first trainer
    prompts = [{"prompt": "What color is the sky?", "completion": " Blue."}]

    def make(rows: Any, **options: Any) -> Any:
        return lab.trainer("SFT", rows, **{"model": spare, "lora": None, "max_length": 64, **options})

    describe_calls(
        lab,
        {
            "data": lambda: trainer.train_dataset,
            "data_first": lambda: next(iter(trainer.train_dataset)),
            "collator": lambda: trainer.data_collator,
            "batch": lambda: next(iter(trainer.get_train_dataloader())),
            "train": lambda: trainer.train(),
            "log_first": lambda: trainer.state.log_history[0],
            "log_last": lambda: trainer.state.log_history[-1],
            "evaluate": lambda: trainer.evaluate(),
            "model": lambda: trainer.model,
            "save_model": lambda: trainer.save_model(str(home(lab))),
            "save_model_files": lambda: file_names(home(lab)),
            # A new trainer resets the state of accelerate, which the first one uses: so these come after it.
            "data_prompts": lambda: make(prompts).train_dataset,
            "data_chats": lambda: make(CHATS).train_dataset,
            "data_packed": lambda: make(TEXTS * 2, packing=True, **TEXT_OPTIONS).train_dataset,
            "config": lambda: part(trl, "SFTConfig")(output_dir=str(home(lab))),
            "plain_arguments": lambda: lab.plain_trainer("SFT", TEXTS, model=spare, **TEXT_OPTIONS).args,
            "adapter_and_config": lambda: make(TEXTS, model=with_adapter(lab.load()), lora=LORA).model,
            "wrong_no_text": lambda: make([{"label": 1}]),
            "wrong_text_field": lambda: make(TEXTS, dataset_text_field="no_such_field"),
            "wrong_text_type": lambda: make([{"text": 1}], dataset_text_field="text"),
            "wrong_format": lambda: make(TEXTS, formatting_func=len),
            "wrong_empty": lambda: make([], **TEXT_OPTIONS),
            "wrong_model": lambda: make(TEXTS, model=str(home(lab) / "none"), **TEXT_OPTIONS),
            "wrong_adapter": lambda: make(TEXTS, lora="no adapter", **TEXT_OPTIONS),
        },
    )


def call_dpo(lab: Lab) -> None:
    import trl

    trainer = lab.trainer("DPO", PAIRS, eval_rows=PAIRS, max_length=64)
    describe_calls(
        lab,
        {
            "data": lambda: trainer.train_dataset,
            "collator": lambda: trainer.data_collator,
            "batch": lambda: next(iter(trainer.get_train_dataloader())),
            "train": lambda: trainer.train(),
            "log_first": lambda: trainer.state.log_history[0],
            "evaluate": lambda: trainer.evaluate(),
            "ref_model": lambda: trainer.ref_model,
            "config": lambda: part(trl, "DPOConfig")(output_dir=str(home(lab))),
            "plain_arguments": lambda: lab.plain_trainer("DPO", PAIRS, model=lab.load()).args,
            "adapter_and_config": lambda: lab.trainer("DPO", PAIRS, model=with_adapter(lab.load())).model,
            "wrong_columns": lambda: lab.trainer("DPO", TEXTS),
            "wrong_no_rejected": lambda: lab.trainer("DPO", [{"prompt": "a", "chosen": "b"}]),
            "wrong_empty": lambda: lab.trainer("DPO", []),
            "wrong_loss": lambda: lab.trainer("DPO", PAIRS, loss_type="no_such_loss").train(),
            "wrong_none": lambda: lab.trainer("DPO", [{"prompt": None, "chosen": "b", "rejected": "c"}]),
        },
    )


def call_trl(lab: Lab) -> None:
    """Helpers of trl that scripts call themselves; several were added or removed over time."""
    import trl

    tokenizer, model = lab.load_tokenizer(), lab.load()
    chat = dict(CHATS[0])
    pair = {"prompt": "a", "chosen": " b", "rejected": " c"}
    implicit = {
        "chosen": [*chat["messages"]],
        "rejected": [chat["messages"][0], {"role": "assistant", "content": "No."}],
    }
    describe_calls(
        lab,
        {
            "is_conversational": lambda: part(trl, "is_conversational")(chat),
            "apply_chat_template": lambda: part(trl, "apply_chat_template")(chat, tokenizer),
            "maybe_apply_chat_template": lambda: part(trl, "maybe_apply_chat_template")(pair, tokenizer),
            "extract_prompt": lambda: part(trl, "extract_prompt")(implicit),
            "setup_chat_format": lambda: part(trl, "setup_chat_format")(copy.deepcopy(model), tokenizer),
            "clone_chat_template": lambda: part(trl, "clone_chat_template")(
                copy.deepcopy(model), copy.deepcopy(tokenizer), str(lab.tokenizer)
            ),
            "create_reference_model": lambda: part(trl, "create_reference_model")(model),
            "lora_from_arguments": lambda: part(trl, "get_peft_config")(
                part(trl, "ModelConfig")(use_peft=True)
            ),
            "wrong_config_field": lambda: part(trl, "SFTConfig")(output_dir=str(home(lab)), no_such_field=1),
        },
    )


ALL: Final = (
    call_trainer,
    call_trainer_misuse,
    call_sft,
    call_dpo,
    call_trl,
)
