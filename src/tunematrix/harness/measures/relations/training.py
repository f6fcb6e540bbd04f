"""Relations that hold in every stack, of training and evaluation: accumulation, weighting, clipping.

Nothing here knows of a fault: what should be equal is done both ways, and recorded as equal or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from tunematrix.harness.measures.lab import LORA, Lab, Row, clones, lora_weights
from tunematrix.harness.measures.preferences import PAIRS, model_with_adapter
from tunematrix.harness.measures.relations.trials import (
    IGNORED,
    Run,
    all_weights,
    collate,
    difference,
    equal,
    forward,
    loss_sum,
    make_sft,
    make_trainer,
    run,
    sharp_model,
    token_rows,
    true_step,
)
from tunematrix.harness.measures.texts import TEXTS

EPOCH: Final = {"max_steps": -1, "num_train_epochs": 1, "learning_rate": 0.0}


def _accumulate(lab: Lab, build: Callable[..., Any], *sizes: tuple[int, int]) -> list[Run]:
    """An epoch for each batch size and number of batches a step; without learning all steps compare."""
    runs = []
    for size, steps in sizes:
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
        runs.append(run(build(**EPOCH, **options)))
    whole, accumulated = runs
    lab.add_number("loss_equal", equal(whole.loss, accumulated.loss))
    lab.add_number("first_grad_norm_equal", equal(whole.grad_norms[:1], accumulated.grad_norms[:1]))
    lab.add_number("last_grad_norm_equal", equal(whole.grad_norms[-1:], accumulated.grad_norms[-1:]))
    lab.add_number("steps_equal", whole.steps == accumulated.steps)
    return runs


def _windows(batches: Sequence[Any], steps: int) -> list[Sequence[Any]]:
    return [batches[start : start + steps] for start in range(0, len(batches), steps)]


def _compare_with_truth(lab: Lab, model: Any, name: str, result: Run, steps: int) -> None:
    """Is each step's gradient that of the mean over the tokens of the batches that the model got for it?"""
    true = [true_step(model, window) for window in _windows(result.batches, steps)]
    losses, norms = [loss for loss, _ in true], [norm for _, norm in true]
    lab.add_number(f"{name}_token_mean_loss_equal", equal(result.loss, sum(losses) / len(losses)))
    lab.add_number(f"{name}_token_mean_grad_norm_equal", equal(result.grad_norms, norms))


def relation_accumulation(lab: Lab) -> None:
    """Six rows of different lengths, in steps of four: the last step has two. At once, and one at a time."""
    model, rows = sharp_model(lab), token_rows()
    runs = _accumulate(lab, lambda **options: make_trainer(lab, model, rows, **options), (4, 1), (1, 4))
    for name, result, steps in zip(("whole", "accumulated"), runs, (1, 4), strict=True):
        _compare_with_truth(lab, model, name, result, steps)


def relation_accumulation_sft(lab: Lab) -> None:
    """The same of trl's SFT, with three texts in steps of two."""
    model = sharp_model(lab)

    def build(**options: Any) -> Any:
        return make_sft(lab, model, TEXTS[:3], **options)

    runs = _accumulate(lab, build, (2, 1), (1, 2))
    if "labels" in runs[0].batches[0]:
        for name, result, steps in zip(("whole", "accumulated"), runs, (1, 2), strict=True):
            _compare_with_truth(lab, model, name, result, steps)


def relation_accumulation_dpo(lab: Lab) -> None:
    """The same of DPO, with three pairs in steps of two. It learns, since before that all losses are ln 2."""
    rows = [*PAIRS, {**PAIRS[0], "prompt": "What is above us, and is it blue?"}]
    options = {"optim": "sgd", "lr_scheduler_type": "constant", "max_grad_norm": 1e9, "max_length": 64}

    def build(**more: Any) -> Any:
        more |= {**options, "learning_rate": 0.5, "beta": 0.5}
        return lab.trainer("DPO", rows, model=model_with_adapter(lab), lora=None, **more)

    _accumulate(lab, build, (2, 1), (1, 2))


def relation_epoch(lab: Lab) -> None:
    """The optimizer steps of an epoch, and whether each row is seen once, for lengths that do not divide."""
    model = lab.load()
    for rows, size, steps, drop in ((5, 2, 1, False), (5, 2, 1, True), (6, 1, 4, False), (5, 2, 2, True)):
        options = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps}
        trainer = make_trainer(lab, model, token_rows(rows), dataloader_drop_last=drop, **EPOCH, **options)
        result = run(trainer)
        batches = rows // size if drop else math.ceil(rows / size)
        name = f"rows_{rows}_batch_{size}_accumulated_{steps}{'_drop_last' if drop else ''}"
        lab.add_number(f"{name}_steps_equal", result.steps == math.ceil(batches / steps))
        starts = [ids[0] for batch in result.order for ids in batch]
        expected = min(rows, batches * size)
        lab.add_number(f"{name}_seen_once_equal", len(starts) == len(set(starts)) == expected)


def _true_losses(model: Any, rows: Sequence[Row]) -> dict[str, float]:
    """The loss over rows: by the mean over all tokens, and over the means of the rows."""
    sums = [loss_sum(forward(model, batch := collate([row])), batch["labels"]) for row in rows]
    return {
        "tokens": float(sum(total for total, _ in sums)) / sum(count for _, count in sums),
        "rows": sum(float(total) / count for total, count in sums) / len(sums),
    }


def _accuracy(prediction: Any) -> dict[str, float]:
    """The share of labels that the logits predict, over all tokens."""
    logits, labels = prediction
    guesses, labels = logits[:, :-1].argmax(-1), labels[:, 1:]
    return {"accuracy": float((guesses == labels)[labels != IGNORED].mean())}


def relation_evaluation(lab: Lab) -> None:
    """Evaluation loss and metrics by batch size, the weighting of the loss, and what evaluating changes."""
    model, rows = sharp_model(lab), token_rows(5)
    results = {}
    for size in (1, 2, 5):
        options = {"eval_rows": rows, "compute_metrics": _accuracy, "per_device_eval_batch_size": size}
        trainer = make_trainer(lab, model, rows, **options)
        results[size] = trainer.evaluate()
        if size == 2:
            lab.add_number("weights_difference", difference(all_weights(model), all_weights(trainer.model)))
            _compare_predictions(lab, model, trainer, results[size])
    true = _true_losses(model, rows)
    for size, result in results.items():
        fits = [name for name, loss in true.items() if equal(loss, result["eval_loss"])]
        lab.add_number(f"weighting_batch_{size}", " ".join(fits) or "neither")
    lab.add_number("batch_size_loss_equal", equal(results[1]["eval_loss"], results[5]["eval_loss"]))
    lab.add_number("ragged_loss_equal", equal(results[5]["eval_loss"], results[2]["eval_loss"]))
    metrics = [result["eval_accuracy"] for result in results.values()]
    lab.add_number("batch_size_metrics_equal", len(set(metrics)) == 1)


def _compare_predictions(lab: Lab, model: Any, trainer: Any, evaluated: dict[str, float]) -> None:
    predicted = trainer.predict(trainer.eval_dataset)
    same = all(
        predicted.metrics[f"test_{name}"] == evaluated[f"eval_{name}"] for name in ("loss", "accuracy")
    )
    lab.add_number("predict_equal", same)
    rows = zip(trainer.eval_dataset, predicted.predictions, strict=True)
    pairs = [(forward(model, collate([row]))[0], logits[: len(row["input_ids"])]) for row, logits in rows]
    lab.add_number("predictions_equal", all(equal(left, right) for left, right in pairs))


def relation_evaluation_while_training(lab: Lab) -> None:
    """Training that evaluates after each step equals training that does not, and goes on in training mode."""
    model, rows = sharp_model(lab), token_rows(3)
    options = {"max_steps": 3, "learning_rate": 0.1}
    alone = run(make_trainer(lab, model, rows, **options))
    evaluating = run(
        make_trainer(lab, model, rows, eval_rows=rows, eval_strategy="steps", eval_steps=1, **options)
    )
    lab.add_number("weights_difference", difference(alone.weights, evaluating.weights))
    lab.add_number("training_mode_equal", alone.order == evaluating.order)


def relation_evaluation_sft(lab: Lab) -> None:
    """The evaluation loss of trl's SFT, by batch size."""
    model = sharp_model(lab)
    losses = [
        make_sft(lab, model, TEXTS[:1], eval_rows=TEXTS, per_device_eval_batch_size=size).evaluate()[
            "eval_loss"
        ]
        for size in (1, 4)
    ]
    lab.add_number("batch_size_loss_equal", equal(*losses))


def relation_training_loss(lab: Lab) -> None:
    """Without dropout the loss in training mode equals that of evaluation, and the written out loss."""
    model, rows = sharp_model(lab), token_rows(3)
    options = {"per_device_train_batch_size": 3, "per_device_eval_batch_size": 3, "learning_rate": 0.0}
    trainer = make_trainer(lab, model, rows, eval_rows=rows, **options)
    evaluated, trained = trainer.evaluate()["eval_loss"], run(trainer).loss
    lab.add_number("evaluated_equal", equal(evaluated, trained))
    lab.add_number("token_mean_equal", equal(trained, _true_losses(model, rows)["tokens"]))


def _compare_checkpointing(lab: Lab, name: str, build: Callable[..., Any]) -> None:
    options = {"max_steps": 2, "learning_rate": 0.1}
    plain = run(build(**options))
    for reentrant in (True, False):
        kwargs = {"gradient_checkpointing_kwargs": {"use_reentrant": reentrant}}
        stored = run(build(gradient_checkpointing=True, **kwargs, **options))
        kind = "reentrant" if reentrant else "other"
        lab.add_number(f"{name}_{kind}_loss_equal", equal(plain.loss, stored.loss))
        lab.add_number(f"{name}_{kind}_grad_norm_equal", equal(plain.grad_norms, stored.grad_norms))
        lab.add_number(f"{name}_{kind}_weights_equal", equal(plain.weights, stored.weights))


def relation_checkpointing(lab: Lab) -> None:
    """Gradient checkpointing changes no loss, no gradient and no weight: of a whole model, and of LoRA."""
    model, rows = sharp_model(lab), token_rows(2)
    _compare_checkpointing(lab, "full", lambda **options: make_trainer(lab, model, rows, **options))
    _compare_checkpointing(
        lab, "lora", lambda **options: make_sft(lab, model, TEXTS[:2], lora=LORA, **options)
    )


def relation_frozen(lab: Lab) -> None:
    """LoRA trains the LoRA tensors, and nothing else; without the adapter the model is the base model."""
    model = sharp_model(lab)
    base, batch = all_weights(model), collate(token_rows(2))
    before = forward(model, batch)
    trainer = make_sft(lab, model, TEXTS[:2], lora=LORA, learning_rate=0.5, max_steps=2)
    run(trainer)
    trained = trainer.model
    names = {name for name, value in trained.named_parameters() if value.requires_grad}
    lab.add_number("trainable_equal", names == set(lora_weights(trained)))
    lab.add_number("adapter_changes_logits", not equal(before, forward(trained, batch)))
    with trained.disable_adapter():
        lab.add_number("disabled_logits_difference", difference(before, forward(trained, batch)))
    lab.add_number("base_weights_difference", difference(base, all_weights(trained.unload())))


def relation_clipping(lab: Lab) -> None:
    """Plain gradient descent with rate 1 moves the weights by the norm that the gradient is clipped to."""
    model, rows = sharp_model(lab), token_rows(2)
    start = clones(model.named_parameters())
    free = run(make_trainer(lab, model, rows, learning_rate=1.0))
    limit = round(free.grad_norms[0] / 4, 3)
    clipped = run(make_trainer(lab, model, rows, learning_rate=1.0, max_grad_norm=limit))
    for name, result, norm in (("free", free, free.grad_norms[0]), ("clipped", clipped, limit)):
        squares = sum(float((result.weights[key] - start[key]).square().sum()) for key in start)
        lab.add_number(f"{name}_norm_equal", equal(math.sqrt(squares), norm))
    lab.add_number("logged_norm_equal", equal(free.grad_norms, clipped.grad_norms))


def relation_weight_decay(lab: Lab) -> None:
    """AdamW decays matrices by rate times decay, and neither biases nor norms."""
    model, rows = sharp_model(lab), token_rows(2)
    options = {"optim": "adamw_torch", "learning_rate": 0.1}
    start = dict(model.named_parameters())
    plain, decayed = (
        run(make_trainer(lab, model, rows, weight_decay=decay, **options)) for decay in (0, 0.5)
    )
    moved = {name for name, value in plain.weights.items() if not equal(value, decayed.weights[name])}
    lab.add_number("decayed_equal", moved == {name for name, value in start.items() if value.ndim > 1})
    amounts = [
        equal(plain.weights[name] - decayed.weights[name], start[name].detach() * 0.05) for name in moved
    ]
    lab.add_number("amount_equal", all(amounts))


def relation_schedule(lab: Lab) -> None:
    """The rate of each step equals the formula of each schedule, and what is logged for the step."""
    import transformers

    used: list[float] = []
    given: list[bool] = []

    class Watch(transformers.TrainerCallback):  # type: ignore[misc]  # not installed where mypy runs
        def on_step_begin(self, *_: Any, optimizer: Any, **__: Any) -> None:
            given.append(optimizer is not None)
            used.append(float(trainer.optimizer.param_groups[0]["lr"]))

    model, rows = lab.load(), token_rows(2)
    half = math.pi / 2
    formulas = {
        "linear": [0, 0.5, 1, 0.75, 0.5, 0.25],
        "cosine": [0, 0.5, *(0.5 * (1 + math.cos(half * place / 2)) for place in range(4))],
        "constant_with_warmup": [0, 0.5, 1, 1, 1, 1],
    }
    for name, factors in formulas.items():
        options = {"lr_scheduler_type": name, "warmup_steps": 2, "max_steps": 6, "learning_rate": 0.1}
        trainer = make_trainer(lab, model, rows, callbacks=[Watch()], **options)
        logged = [entry["learning_rate"] for entry in run(trainer).log if "learning_rate" in entry]
        lab.add_number(f"{name}_equal", equal(used, [0.1 * factor for factor in factors]))
        lab.add_number(f"{name}_logged_equal", equal(used, logged))
        used.clear()
    lab.add_number("callback_gets_optimizer", all(given))


ALL: Final = (
    relation_accumulation,
    relation_accumulation_sft,
    relation_accumulation_dpo,
    relation_epoch,
    relation_evaluation,
    relation_evaluation_while_training,
    relation_evaluation_sft,
    relation_training_loss,
    relation_checkpointing,
    relation_frozen,
    relation_clipping,
    relation_weight_decay,
    relation_schedule,
)
