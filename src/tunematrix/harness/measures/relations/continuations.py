"""Relations that hold in every stack, of runs that repeat, save or continue another run.

Nothing here knows of a fault: what should be equal is done both ways, and recorded as equal or not.
"""

from __future__ import annotations

import copy
import inspect
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable, run_isolated
from tunematrix.harness.measures.lab import LORA, Lab
from tunematrix.harness.measures.preferences import PAIRS, model_with_adapter
from tunematrix.harness.measures.relations.trials import (
    Run,
    all_weights,
    collate,
    difference,
    equal,
    forward,
    make_sft,
    make_trainer,
    run,
    sharp_model,
    token_rows,
)
from tunematrix.harness.measures.texts import TEXTS
from tunematrix.pipeline.trace import Trace

SAVING: Final = {"save_strategy": "steps", "save_steps": 1, "learning_rate": 0.1}
BF16_LIMIT_SECONDS: Final = 60
LOGGED_DIGITS: Final = 1e-3  # relative; a logged loss of 3 has four decimals, in some releases four digits


def _train_lora(lab: Lab, model: Any, **options: Any) -> Run:
    return run(make_sft(lab, model, TEXTS, lora=LORA, max_steps=2, learning_rate=0.1, **options))


def relation_repeat(lab: Lab) -> None:
    """A second trainer in one process equals the first, also after a DPO trainer."""
    model = sharp_model(lab)
    first, second = _train_lora(lab, model), _train_lora(lab, model)
    lab.add_number("sft_weights_difference", difference(first.weights, second.weights))
    lab.add_number("sft_order_equal", first.order == second.order)
    run(lab.trainer("DPO", PAIRS, model=model_with_adapter(lab), lora=None, max_length=64, beta=0.5))
    third = _train_lora(lab, model)
    lab.add_number("after_dpo_weights_difference", difference(first.weights, third.weights))
    lab.add_number("after_dpo_loss_equal", equal(first.loss, third.loss))


def relation_repeat_after_bf16(lab: Lab) -> None:
    """A trainer after one in bfloat16 equals one before it. In a child of its own, for what it may leave."""

    def work(trace: Trace) -> None:
        model, rows = sharp_model(lab), token_rows(2)
        first = run(make_trainer(lab, model, rows, learning_rate=0.1))
        run(make_trainer(lab, model, rows, bf16=True))
        second = run(make_trainer(lab, model, rows, learning_rate=0.1))
        trace.numbers["loss_equal"] = equal(first.loss, second.loss)
        trace.numbers["weights_difference"] = difference(first.weights, second.weights)

    result = run_isolated(work, BF16_LIMIT_SECONDS)
    for name, value in result.numbers.items():
        lab.add_number(name, value)
    if result.error:
        lab.add_number("error", result.error["type"])


def _seed_all(state: int) -> None:
    """Seed all global random generators, which leaves each in another state."""
    import random

    import numpy
    import torch

    random.seed(state)
    numpy.random.seed(state)  # noqa: NPY002  # the global generator is the one meant
    torch.manual_seed(state)


def _draw_all() -> None:
    """Draw from all global random generators."""
    import random

    import numpy
    import torch

    random.random()  # noqa: S311  # nothing secret
    numpy.random.rand()  # noqa: NPY002  # the global generator, as above
    torch.rand(1)


def _compare_generators(lab: Lab, name: str, build: Callable[[], Any]) -> None:
    """Runs of one seed, with generators seeded before the construction, or used between it and training."""
    runs = {}
    for place, before in {"": 1, "seeded_before": 2, "drawn_between": 1, "seeded_between": 1}.items():
        _seed_all(before)
        trainer = build()
        if place == "drawn_between":
            _draw_all()
        elif place == "seeded_between":
            _seed_all(3)
        runs[place] = run(trainer)
    first = runs.pop("")
    for place, other in runs.items():
        lab.add_number(f"{name}_{place}_order_equal", first.order == other.order)
        lab.add_number(f"{name}_{place}_weights_equal", equal(first.weights, other.weights))


def relation_generators(lab: Lab) -> None:
    """A run depends on its seed, not on what the global generators did before it."""
    model, rows = sharp_model(lab), token_rows()
    options: dict[str, Any] = {"max_steps": 3, "learning_rate": 0.1}
    _compare_generators(lab, "plain", lambda: make_trainer(lab, model, rows, **options))
    _compare_generators(lab, "sft", lambda: make_sft(lab, model, TEXTS, seed=None, lora=LORA, **options))


def relation_data_order(lab: Lab) -> None:
    """The order of data is that of ``data_seed``, or else of ``seed``."""
    model, rows = lab.load(), token_rows()

    def order(**options: Any) -> list[Any]:
        return run(make_trainer(lab, model, rows, max_steps=3, **options)).order

    first = order(seed=1)
    lab.add_number("seed_repeats_equal", first == order(seed=1))
    lab.add_number("seed_moves_order", first != order(seed=2))
    first = order(seed=1, data_seed=1)
    lab.add_number("data_seed_repeats_equal", first == order(seed=2, data_seed=1))
    lab.add_number("data_seed_moves_order", first != order(seed=1, data_seed=2))


def relation_saved_model(lab: Lab) -> None:
    """A trained model equals itself saved and loaded: by the trainer, in shards, as generation."""
    rows, folder = token_rows(2), lab.folder / lab.name
    trainer = make_trainer(lab, sharp_model(lab), rows, learning_rate=0.05, max_steps=2)
    run(trainer)
    weights = all_weights(trainer.model)
    trainer.save_model(str(folder / "full"))
    lab.add_number("full_difference", difference(weights, all_weights(lab.load(folder / "full"))))
    trainer.model.save_pretrained(str(folder / "shards"), max_shard_size="20KB")
    lab.add_number("shards_difference", difference(weights, all_weights(lab.load(folder / "shards"))))
    lab.add_number("shards", len(list((folder / "shards").glob("*.safetensors"))) > 1)
    _compare_generated(lab, "generated", trainer.model, folder / "full")
    options = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    trainer = make_trainer(lab, sharp_model(lab), rows, learning_rate=0.05, **options)
    run(trainer)
    trainer.save_model(str(folder / "checkpointing"))
    _compare_generated(lab, "checkpointing_generated", trainer.model, folder / "checkpointing")
    trainer.model.eval()
    _compare_generated(lab, "checkpointing_evaluated", trainer.model, folder / "checkpointing")


def _compare_generated(lab: Lab, name: str, model: Any, saved: Path) -> None:
    """Greedy ids of ``model`` as training left it, and of what it was saved to."""
    batch = collate(token_rows(1))
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 2, "eos_token_id": None}
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    left, right = (each.generate(**inputs, **options).tolist() for each in (model, lab.load(saved)))
    lab.add_number(f"{name}_equal", left == right)


def relation_saved_bin(lab: Lab) -> None:
    """The same of a file of ``torch.save``."""
    model, folder = sharp_model(lab), lab.folder / lab.name
    if "safe_serialization" not in inspect.signature(model.save_pretrained).parameters:
        raise Unavailable("save_pretrained has no safe_serialization")
    model.save_pretrained(str(folder), safe_serialization=False)
    if not (folder / "pytorch_model.bin").is_file():
        raise Unavailable("safe_serialization=False writes no pytorch_model.bin")
    lab.add_number("weights_difference", difference(all_weights(model), all_weights(lab.load(folder))))


def relation_saved_adapter(lab: Lab) -> None:
    """A trained adapter equals itself saved and loaded, and merged, and merged, saved and loaded."""
    from peft import PeftModel

    base, batch, folder = sharp_model(lab), collate(token_rows(2)), lab.folder / lab.name
    trainer = make_sft(lab, base, TEXTS, lora=LORA, max_steps=2, learning_rate=0.5)
    run(trainer)
    before = forward(trainer.model, batch)
    trainer.save_model(str(folder / "adapter"))
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), str(folder / "adapter"))
    lab.add_number("adapter_difference", difference(before, forward(loaded, batch)))
    merged = loaded.merge_and_unload()
    lab.add_number("merged_equal", equal(before, forward(merged, batch)))
    merged.save_pretrained(str(folder / "merged"))
    lab.add_number("merged_saved_equal", equal(before, forward(lab.load(folder / "merged"), batch)))


def relation_saved_optimizer(lab: Lab) -> None:
    """The optimizer, schedule and weights in a checkpoint are those in memory."""
    import torch

    options = {**SAVING, "max_steps": 2, "optim": "adamw_torch", "lr_scheduler_type": "linear"}
    trainer = make_trainer(lab, lab.load(), token_rows(3), **options)
    result = run(trainer)
    checkpoint = Path(trainer.args.output_dir) / "checkpoint-2"
    saved = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    kept = trainer.optimizer.state_dict()
    pairs = [(kept["state"][key], saved["state"][key]) for key in kept["state"]]
    lab.add_number("optimizer_difference", max(difference(left, right) for left, right in pairs))
    lab.add_number("groups_equal", saved["param_groups"] == kept["param_groups"])
    schedule = torch.load(checkpoint / "scheduler.pt", weights_only=True)
    lab.add_number("schedule_equal", schedule["last_epoch"] == 2)
    loaded = dict(lab.load(checkpoint).named_parameters())
    lab.add_number(
        "weights_difference", difference(result.weights, {key: loaded[key] for key in result.weights})
    )


def _resume(lab: Lab, name: str, build: Callable[..., Any], steps: dict[str, int], **options: Any) -> None:
    """Is a run resumed after each of ``steps`` the uninterrupted run: its data, its weights, its gradients?

    The loss that it returns is the mean of its own steps.
    """
    trainer = build(folder=f"{name}-whole", **SAVING, **options)
    whole = run(trainer)
    for place, step in steps.items():
        resumed_trainer = build(folder=f"{name}-{step}", **{**SAVING, "save_strategy": "no"}, **options)
        resumed = run(resumed_trainer, Path(trainer.args.output_dir) / f"checkpoint-{step}")
        left = len(whole.order) * step // whole.steps
        lab.add_number(f"{name}_{place}_order_equal", whole.order[left:] == resumed.order)
        lab.add_number(f"{name}_{place}_weights_difference", difference(whole.weights, resumed.weights))
        lab.add_number(f"{name}_{place}_steps_equal", resumed.steps == whole.steps)
        lab.add_number(f"{name}_{place}_grad_norms_equal", equal(whole.grad_norms, resumed.grad_norms))
        losses = [entry["loss"] for entry in resumed.log if "loss" in entry and entry["step"] > step]
        distance = abs(resumed.loss - statistics.fmean(losses)) / statistics.fmean(losses)
        lab.add_number(f"{name}_{place}_returned_loss_equal", distance < LOGGED_DIGITS)


def relation_resume(lab: Lab) -> None:
    """Resumed runs equal uninterrupted ones, in epochs of three steps: plain, accumulating, and SFT."""
    model, rows = sharp_model(lab), token_rows()
    options: dict[str, Any] = {"max_steps": 5, "optim": "adamw_torch", "lr_scheduler_type": "linear"}
    steps = {"first_epoch": 1, "epoch_end": 3, "later_epoch": 4}

    def plain(**more: Any) -> Any:
        return make_trainer(lab, model, rows, **options, **more)

    _resume(lab, "plain", plain, steps, per_device_train_batch_size=2)
    accumulating = {"later_epoch": 4}
    _resume(lab, "accumulated", plain, accumulating, gradient_accumulation_steps=2)
    options |= {"max_steps": 4, "per_device_train_batch_size": 2}
    sft = {"epoch_end": 2, "later_epoch": 3}
    # With dropout, so that the state of the generators counts.
    lora = replace(LORA, dropout=0.2)
    _resume(lab, "sft", lambda **more: make_sft(lab, model, TEXTS, lora=lora, **options, **more), sft)


def relation_resume_arguments(lab: Lab) -> None:
    """A resumed run uses the arguments that it was given, where they differ from those of the checkpoint."""
    model, rows = lab.load(), token_rows()
    # Every argument that is not the subject stays what it was.
    options = {**SAVING, "max_steps": 3, "per_device_train_batch_size": 2, "eval_rows": rows[:1]}
    first = make_trainer(lab, model, rows, folder="first", eval_strategy="steps", eval_steps=1, **options)
    run(first)
    checkpoint = Path(first.args.output_dir) / "checkpoint-1"

    def resume(folder: str, **more: Any) -> tuple[Run, Path]:
        trainer = make_trainer(lab, model, rows, folder=folder, **{**options, **more})
        return run(trainer, checkpoint), Path(trainer.args.output_dir)

    result, _ = resume("batch", per_device_train_batch_size=1)
    lab.add_number("batch_size_equal", {len(batch) for batch in result.order} == {1})
    result, _ = resume("rate", learning_rate=0.2)
    rates = [entry["learning_rate"] for entry in result.log if entry.get("step", 0) > 1 and "loss" in entry]
    lab.add_number("learning_rate_equal", equal(rates, [0.2] * len(rates)))
    result, output = resume(
        "steps", max_steps=7, save_steps=3, logging_steps=2, eval_strategy="steps", eval_steps=4
    )
    # The last step is no subject: some releases save, log or evaluate at the end of each training.
    later = [entry for entry in result.log if 1 < entry["step"] < 7]
    lab.add_number("max_steps_equal", result.steps == 7)
    saved = {path.name for path in output.glob("checkpoint-*")} - {"checkpoint-7"}
    lab.add_number("save_steps_equal", saved == {"checkpoint-3", "checkpoint-6"})
    lab.add_number("logging_steps_equal", [entry["step"] for entry in later if "loss" in entry] == [2, 4, 6])
    lab.add_number("eval_steps_equal", [entry["step"] for entry in later if "eval_loss" in entry] == [4])


ALL: Final = (
    relation_repeat,
    relation_repeat_after_bf16,
    relation_generators,
    relation_data_order,
    relation_saved_model,
    relation_saved_bin,
    relation_saved_adapter,
    relation_saved_optimizer,
    relation_resume,
    relation_resume_arguments,
)
