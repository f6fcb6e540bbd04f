"""Measures of the trainers beyond SFT and DPO: one step of each, on tiny data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tunematrix.harness.measures import trainer_dpo, trainer_online
from tunematrix.harness.measures.lab import Lab, Row
from tunematrix.harness.measures.preferences import PAIRS
from tunematrix.harness.measures.texts import QUESTIONS
from tunematrix.harness.measures.trainer_lab import (
    BATCH,
    LENGTHS,
    Found,
    add_step,
    build,
    classifier,
    dataset,
    find_trainer,
    frozen_embeddings,
    perturbed,
    with_adapter,
)
from tunematrix.pipeline import compat

EQUAL: Final = 1e-5
EMPTY: Final[Mapping[str, Any]] = {}
Make = Callable[..., Any]


def make_reward(lab: Lab, found: Found, options: Mapping[str, Any] = EMPTY) -> Any:
    """A classifier with one label and an adapter; releases that do not tokenize get token ids."""
    rows: list[Row] = [
        {name: pair["prompt"] + pair[name] for name in ("chosen", "rejected")} for pair in PAIRS
    ]
    if "dataset_num_proc" not in compat.accepted_arguments(found.config):
        rows = [_tokenized(lab.load_tokenizer(), row) for row in rows]
    model = with_adapter(classifier(lab, 1), "SEQ_CLS")
    return build(lab, found, {**BATCH, "max_length": 64, **options}, model=model, rows=rows)


def trainer_reward(lab: Lab) -> None:
    _measure(lab, "Reward", make_reward)


def _measure(lab: Lab, algorithm: str, make: Make) -> None:
    """One step of a trainer, and where the stack has it."""
    found = find_trainer(algorithm)
    lab.add_number("module", found.module)
    add_step(lab, make(lab, found))


def _tokenized(tokenizer: Any, row: Row) -> Row:
    return {
        f"{key}_{name}": value
        for name, text in row.items()
        for key, value in tokenizer(text).items()
        if key in ("input_ids", "attention_mask")
    }


def make_kto(lab: Lab, found: Found, options: Mapping[str, Any] = EMPTY) -> Any:
    """Two good and two bad answers; the reference is less sure than the model, so that there is a KL term."""
    rows = [
        {"prompt": pair["prompt"], "completion": pair[name], "label": name == "chosen"}
        for pair in PAIRS
        for name in ("chosen", "rejected")
    ]
    options = {
        **LENGTHS,
        "per_device_train_batch_size": 4,
        "beta": 0.5,
        "loss_type": "kto",
        "desirable_weight": 1.0,
        "undesirable_weight": 1.0,
        "precompute_ref_log_probs": False,
        **options,
    }
    model = frozen_embeddings(lab)
    return build(lab, found, options, model=model, ref_model=perturbed(model), rows=rows)


def trainer_kto(lab: Lab) -> None:
    _measure(lab, "KTO", make_kto)


def make_orpo(lab: Lab, found: Found, options: Mapping[str, Any] = EMPTY) -> Any:
    options = {**BATCH, **LENGTHS, "beta": 0.5, **options}
    return build(lab, found, options, model=with_adapter(lab.load()), rows=PAIRS)


def trainer_orpo(lab: Lab) -> None:
    _measure(lab, "ORPO", make_orpo)


def make_cpo(lab: Lab, found: Found, options: Mapping[str, Any] = EMPTY) -> Any:
    own = {"loss_type": "sigmoid", "cpo_alpha": 1.0, "label_smoothing": 0.0, "alpha": 0.0}
    return make_orpo(lab, found, {**own, **options})


def trainer_cpo(lab: Lab) -> None:
    _measure(lab, "CPO", make_cpo)


def plain(lab: Lab, model: Any, rows: list[Row], **arguments: Any) -> Any:
    """``transformers.Trainer``."""
    import transformers

    found = Found(trainer=transformers.Trainer, config=transformers.TrainingArguments, module="transformers")
    options = {"per_device_train_batch_size": len(rows), "per_device_eval_batch_size": 2}
    return build(lab, found, options, model=model, rows=rows, **arguments)


def trainer_plain(lab: Lab) -> None:
    """Rows with their own labels, the first tokens left out; the loss must be that of the logits."""
    import torch
    from torch.nn.functional import cross_entropy

    ids = lab.load_tokenizer()(QUESTIONS[0][0] + QUESTIONS[0][1])["input_ids"][:16]
    rows: list[Row] = [
        {"input_ids": row, "attention_mask": [1] * len(row), "labels": [-100] * 4 + row[4:]}
        for row in (ids, ids[::-1])
    ]
    model = frozen_embeddings(lab)
    trainer = plain(lab, model, rows)
    labels = torch.tensor([row["labels"] for row in rows])
    with torch.no_grad():
        logits = model.eval()(torch.tensor([row["input_ids"] for row in rows])).logits
    own = float(cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()))
    evaluated = trainer.evaluate(dataset(rows))["eval_loss"]
    lab.add_number("evaluated_loss_equal", abs(evaluated - own) < EQUAL)
    add_step(lab, trainer)
    lab.add_number("trained_loss_equal", abs(trainer.state.log_history[-1]["train_loss"] - own) < EQUAL)


def trainer_classification(lab: Lab) -> None:
    """Texts of unequal length in three classes: evaluation, prediction and a calculation must agree."""
    import torch
    from transformers import DataCollatorWithPadding

    tokenizer = lab.load_tokenizer()
    texts = [text for question in QUESTIONS for text in question]
    rows: list[Row] = [{**tokenizer(text), "labels": number % 3} for number, text in enumerate(texts)]
    model = with_adapter(classifier(lab, 3), "SEQ_CLS")
    held_out = dataset(rows)
    trainer = plain(
        lab,
        model,
        rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda predicted: {
            "accuracy": float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())
        },
    )
    add_step(lab, trainer)
    evaluated = trainer.evaluate(held_out)
    predicted = trainer.predict(held_out)
    scores, labels = torch.tensor(predicted.predictions), torch.tensor(predicted.label_ids)
    own = float(torch.nn.functional.cross_entropy(scores, labels))
    lab.add_number("eval_loss", evaluated["eval_loss"])
    lab.add_number("accuracy", evaluated["eval_accuracy"])
    lab.add_number("predictions_abs_sum", float(scores.abs().sum()))
    lab.add_number("predicted_loss_equal", abs(predicted.metrics["test_loss"] - own) < EQUAL)
    lab.add_number("evaluated_loss_equal", abs(evaluated["eval_loss"] - own) < EQUAL)
    with torch.no_grad():
        alone = [model.eval()(**tokenizer(text, return_tensors="pt")).logits for text in texts]
    lab.add_number("padding_equal", float((torch.cat(alone) - scores).abs().max()) < EQUAL)


ALL: Final = (
    trainer_reward,
    trainer_kto,
    trainer_orpo,
    trainer_cpo,
    trainer_plain,
    trainer_classification,
    *trainer_online.ALL,
    *trainer_dpo.ALL,
)
