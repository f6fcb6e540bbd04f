"""Relations that hold in every stack, of models and batches: padding, packing, generating, labels.

Nothing here knows of a fault: what should be equal is done both ways, and recorded as equal or not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.lab import SEED, Lab
from tunematrix.harness.measures.relations.trials import (
    IGNORED,
    PAD,
    Run,
    collate,
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
from tunematrix.harness.measures.texts import QUESTIONS, TEXTS

NEW_TOKENS: Final = 8


def _pad_left(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The same batch padded on the left, with positions that count from each row's first token."""
    import torch

    lengths = batch["attention_mask"].sum(1).tolist()
    left = {
        key: torch.stack([row.roll(len(row) - length) for row, length in zip(values, lengths, strict=True)])
        for key, values in batch.items()
    }
    positions = left["attention_mask"].cumsum(1) - 1
    return {**left, "position_ids": positions.masked_fill(left["attention_mask"] == 0, 1)}


def relation_padding(lab: Lab) -> None:
    """Logits of rows in a batch, padded on either side, equal those of each row alone."""
    model, rows = sharp_model(lab), token_rows(4)
    alone = [forward(model, collate([row]))[0] for row in rows]
    # The first token of a row is predicted from padding on its left, so it counts in neither loss.
    right = collate([{**row, "labels": [IGNORED, *row["labels"][1:]]} for row in rows])
    left = _pad_left(right)
    length = right["input_ids"].shape[1]
    for name, batch in {"right": right, "left": left}.items():
        found = forward(model, batch)
        spans = [slice(len(row)) if name == "right" else slice(length - len(row), None) for row in alone]
        pairs = zip(alone, (logits[span] for logits, span in zip(found, spans, strict=True)), strict=True)
        lab.add_number(f"{name}_logits_equal", all(equal(single, padded) for single, padded in pairs))
    lab.add_number("loss_equal", equal(*(_model_loss(model, batch) for batch in (right, left))))
    whole = loss_sum(forward(model, right), right["labels"])
    lab.add_number("token_mean_loss_equal", equal(float(whole[0]) / whole[1], _model_loss(model, right)))


def _model_loss(model: Any, batch: Mapping[str, Any]) -> float:
    import torch

    with torch.no_grad():
        return float(model.eval()(**batch).loss)


def relation_packing(lab: Lab) -> None:
    """Rows one after another in one row, their positions counting from 0, equal the rows alone."""
    import torch

    model, rows = sharp_model(lab), token_rows(4)
    joined = {
        "input_ids": torch.tensor([[token for row in rows for token in row["input_ids"]]]),
        "position_ids": torch.tensor([[place for row in rows for place in range(len(row["input_ids"]))]]),
    }
    alone = torch.cat([forward(model, collate([row]))[0] for row in rows])
    for attention in ("eager", "sdpa"):
        model.config._attn_implementation = attention  # noqa: SLF001  # set_attn_implementation is newer
        lab.add_number(f"{attention}_logits_equal", equal(alone, forward(model, joined)[0]))


def relation_packing_sft(lab: Lab) -> None:
    """An ``SFTTrainer``'s loss of a batch, and of the same rows without padding, or packed whole.

    Where the losses differ, the batch tells whether it is the cause: its loss is also written out.
    """
    import trl

    names = {field.name for field in dataclasses.fields(trl.SFTConfig)}
    if "padding_free" not in names:
        raise Unavailable("SFTConfig has no padding_free")
    model = sharp_model(lab)
    options: dict[str, Any] = {"learning_rate": 0.0, "per_device_train_batch_size": 4}
    padded = run(make_sft(lab, model, TEXTS, **options))
    free = run(make_sft(lab, model, TEXTS, padding_free=True, max_length=None, **options))
    true = true_step(model, padded.batches)
    lab.add_number("padding_free_loss_equal", equal(padded.loss, free.loss))
    lab.add_number("padding_free_batch_equal", equal(true, true_step(model, free.batches)))
    if "packing_strategy" in names:
        options |= {"packing": True, "packing_strategy": "bfd"}
        packed = run(make_sft(lab, model, TEXTS, **options))
        lab.add_number("packed_loss_equal", equal(padded.loss, packed.loss))
        lab.add_number("packed_batch_equal", equal(true, true_step(model, packed.batches)))


def _generate(model: Any, batch: Mapping[str, Any], **options: Any) -> list[list[int]]:
    """The new ids of each row."""
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    options = {"max_new_tokens": NEW_TOKENS, "pad_token_id": PAD, "eos_token_id": None, **options}
    ids: list[list[int]] = model.generate(**inputs, **options)[:, batch["input_ids"].shape[1] :].tolist()
    return ids


def relation_generate(lab: Lab) -> None:
    """Greedy answers do not depend on the batch, its padding, the cache; nor on how greedy is spelled."""
    import torch

    model, rows = sharp_model(lab).eval(), token_rows(3)
    singles = [collate([row]) for row in rows]
    alone = [_generate(model, single, do_sample=False)[0] for single in singles]
    batch = _pad_left(collate(rows))
    lab.add_number("batch_equal", _generate(model, batch, do_sample=False) == alone)
    padded = {key: values[2:] for key, values in batch.items()}
    lab.add_number("padded_single_equal", _generate(model, padded, do_sample=False) == alone[2:])
    lab.add_number("no_cache_equal", _generate(model, batch, do_sample=False, use_cache=False) == alone)
    lab.add_number("one_beam_equal", _generate(model, batch, do_sample=False, num_beams=1) == alone)
    beams = [_generate(model, each, do_sample=False, num_beams=2) for each in (batch, *singles)]
    lab.add_number("beams_batch_equal", beams[0] == [each[0] for each in beams[1:]])
    lab.add_number("top_k_1_equal", _generate(model, batch, do_sample=True, top_k=1) == alone)
    sequence = torch.cat([singles[0]["input_ids"], torch.tensor([alone[0]])], dim=1)
    guesses = forward(model, {"input_ids": sequence})[0].argmax(-1).tolist()
    lab.add_number("forward_equal", guesses[-NEW_TOKENS - 1 : -1] == alone[0])


def relation_sample(lab: Lab) -> None:
    """Sampled answers of one seed are equal, and those of another are not."""
    from transformers import set_seed

    model, batch = lab.load().eval(), collate(token_rows(1))
    answers = []
    for seed in (SEED, SEED, SEED + 1):
        set_seed(seed)
        answers.append(_generate(model, batch, do_sample=True, top_k=0, top_p=1.0, temperature=1.0))
    lab.add_number("seed_repeats_equal", answers[0] == answers[1])
    lab.add_number("seed_moves_answer", answers[0] != answers[2])


def _compare_labels(lab: Lab, name: str, result: Run, rows: Sequence[Mapping[str, Any]]) -> None:
    """Are the labels that the model got, padding aside, those of the rows with the same ids?"""
    given = {tuple(row["input_ids"]): row["labels"] for row in rows}
    found = []
    for batch in result.batches:
        if "labels" not in batch:
            raise Unavailable("the model gets no labels")
        for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
            row = next((row for row in given if tuple(ids[: len(row)]) == row), ())
            padding = [IGNORED] * (len(ids) - len(row))
            found.append(given.get(row, []) + padding == labels)
    lab.add_number(f"{name}_labels_equal", len(found) == len(rows) and all(found))
    lab.add_number(f"{name}_mask_equal", all(_mask_fits(batch, given) for batch in result.batches))


def _mask_fits(batch: Mapping[str, Any], given: Mapping[tuple[int, ...], Any]) -> bool:
    """Whether the mask is 1 for the tokens of each row and 0 for padding; no mask fits a batch of one."""
    if "attention_mask" not in batch:
        return len(batch["input_ids"]) == 1
    lengths = [
        max(len(row) for row in given if tuple(ids[: len(row)]) == row) for ids in batch["input_ids"].tolist()
    ]
    masks = batch["attention_mask"].tolist()
    width = batch["input_ids"].shape[1]
    return bool(masks == [[1] * length + [0] * (width - length) for length in lengths])


def relation_labels(lab: Lab) -> None:
    """Labels given are labels used, by the plain trainer with the collators of transformers."""
    import transformers

    model, rows = sharp_model(lab), token_rows(2)
    whole = [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows]
    options: dict[str, Any] = {"learning_rate": 0.0, "per_device_train_batch_size": 2}
    tokenizer = lab.load_tokenizer()
    collator = transformers.DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)
    _compare_labels(lab, "seq2seq", run(make_trainer(lab, model, whole, collator=collator, **options)), rows)
    alike = [{**rows[1], "labels": [IGNORED, *rows[1]["input_ids"][1:]]}]
    default = make_trainer(lab, model, alike, collator=transformers.default_data_collator, **options)
    _compare_labels(lab, "default", run(default), alike)


def relation_labels_sft(lab: Lab) -> None:
    """Labels given with token ids are labels used, by trl's SFT: of rows alone, and of a batch."""
    model, rows = sharp_model(lab), token_rows(2)
    given = [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows]
    for name, size in {"single": 1, "batch": 2}.items():
        options: dict[str, Any] = {
            "max_steps": 2 // size,
            "per_device_train_batch_size": size,
            "learning_rate": 0.0,
        }
        _compare_labels(lab, name, run(make_sft(lab, model, given, **options)), rows)


def relation_flattening(lab: Lab) -> None:
    """The collator that joins rows keeps their labels, save each first one, and counts positions from 0."""
    import transformers

    if not hasattr(transformers, "DataCollatorWithFlattening"):
        raise Unavailable("transformers has no DataCollatorWithFlattening")
    rows = token_rows(3)
    batch = transformers.DataCollatorWithFlattening(return_position_ids=True)([dict(row) for row in rows])
    labels = [label for row in rows for label in [IGNORED, *row["labels"][1:]]]
    lab.add_number("labels_equal", batch["labels"].tolist() == [labels])
    positions = [place for row in rows for place in range(len(row["input_ids"]))]
    lab.add_number("position_ids_equal", batch["position_ids"].tolist() == [positions])


def relation_completion_only(lab: Lab) -> None:
    """Of prompts and completions, the labels are the completion's ids, and nothing of the prompt."""
    import trl

    if "completion_only_loss" not in {field.name for field in dataclasses.fields(trl.SFTConfig)}:
        raise Unavailable("SFTConfig has no completion_only_loss")
    tokenizer = lab.load_tokenizer()
    rows = [{"prompt": prompt, "completion": completion} for prompt, completion in QUESTIONS]
    options: dict[str, Any] = {
        "learning_rate": 0.0,
        "per_device_train_batch_size": 2,
        "completion_only_loss": True,
    }
    result = run(make_sft(lab, sharp_model(lab), rows, **options))
    given = []
    for prompt, completion in QUESTIONS:
        start, end = tokenizer(prompt)["input_ids"], tokenizer(prompt + completion)["input_ids"]
        end = [*end, tokenizer.eos_token_id]
        given.append({"input_ids": end, "labels": [IGNORED] * len(start) + end[len(start) :]})
    _compare_labels(lab, "completion", result, given)


ALL: Final = (
    relation_padding,
    relation_packing,
    relation_packing_sft,
    relation_generate,
    relation_sample,
    relation_labels,
    relation_labels_sft,
    relation_flattening,
    relation_completion_only,
)
