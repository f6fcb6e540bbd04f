"""The sweep over the classes that most scripts use: what a run of each is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.sweep import rows
from tunematrix.harness.measures.sweep.runs import BASE, FULL_BASE, Bench, measure_of
from tunematrix.pipeline import compat
from tunematrix.pipeline.trace import Trace


def _plain(bench: Bench, options: Mapping[str, Any], _: str, model: Any = None) -> Any:
    """A ``Trainer`` on tokenized rows with labels."""
    import datasets
    import transformers

    options = dict(options)
    evaluated = options.pop("evaluated", False)
    if bench.data is None:
        ids = [row["input_ids"] for row in rows.of("tokenized", bench.tokenizer)]
        bench.data = datasets.Dataset.from_list([{"input_ids": row, "labels": row} for row in ids])
    data = bench.data
    config = transformers.TrainingArguments
    args = config(**compat.adapt_arguments(config, "", {**BASE, **options}, Trace()))
    collator = transformers.DataCollatorForSeq2Seq(bench.tokenizer)
    model = model or bench.copy_model()
    return transformers.Trainer(
        model=model,
        args=args,
        train_dataset=data,
        eval_dataset=data.select([0, 1]) if evaluated else None,
        data_collator=collator,
        compute_metrics=_count_given,
    )


def _count_given(prediction: Any, compute_result: bool = True) -> dict[str, float]:  # noqa: ARG001, FBT001, FBT002  # as the trainer calls it
    """A metric that tells how many kinds of things an evaluation hands over."""
    names = ("predictions", "label_ids", "inputs", "losses")
    return {"given": sum(getattr(prediction, name, None) is not None for name in names)}


def _lora(bench: Bench, options: Mapping[str, Any], kind: str) -> Any:
    """The same on a LoRA model; ``options`` are those of its configuration."""
    from peft import LoraConfig, get_peft_model

    lora = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "task_type": "CAUSAL_LM", **options}
    others = {name: lora.pop(name) for name in ("output_dir", *FULL_BASE) if name in lora}
    return _plain(bench, others, kind, get_peft_model(bench.copy_model(), LoraConfig(**lora)))


def _sft(bench: Bench, options: Mapping[str, Any], kind: str) -> Any:
    options = {**BASE, "dataset_text_field": "text", "max_length": 64, **options}
    data = rows.of(kind, bench.tokenizer)
    held_out = data[:2] if options.pop("evaluated", False) else None
    model = bench.copy_model()
    return bench.lab.trainer("SFT", data, model=model, lora=None, eval_rows=held_out, **options)


def _dpo(bench: Bench, options: Mapping[str, Any], kind: str) -> Any:
    """DPO with a reference that differs from the policy; equal ones hide most options in the first step."""
    import torch

    policy = bench.copy_model()
    with torch.no_grad():
        for value in policy.parameters():
            value.mul_(1.1)
    options = {**BASE, "beta": 0.5, "max_length": 64, **options}
    data = rows.of(kind)
    held_out = data[:2] if options.pop("evaluated", False) else None
    return bench.lab.trainer(
        "DPO",
        data,
        model=policy,
        ref_model=bench.copy_model(),
        lora=None,
        eval_rows=held_out,
        **options,
    )


# By the path of the class: what builds a trainer, and the kinds of rows, those of the base run first.
CLASSES: Final[Mapping[str, tuple[Callable[..., Any], tuple[str, ...]]]] = {
    "transformers.TrainingArguments": (_plain, ("text",)),
    "peft.LoraConfig": (_lora, ("text",)),
    "trl.SFTConfig": (_sft, rows.SFT),
    "trl.DPOConfig": (_dpo, rows.DPO),
}


def _sweep_of(path: str) -> Callable[[Lab], None]:
    build, kinds = CLASSES[path]
    name = path.rpartition(".")[2]
    return measure_of(name, lambda lab: (path, Bench(lab=lab, build=build, kinds=kinds)))


ALL: Final = tuple(_sweep_of(path) for path in CLASSES)
