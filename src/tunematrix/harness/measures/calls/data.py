"""What the calls of fine-tuning code return on texts and data, and what misuse raises.

A field holds the description of one call (``described.py``); ``wrong_*`` is a use that should be refused.
"""

# ruff: noqa: PLW0108  # lambdas, so that a name which a stack lacks is looked up where the call is guarded

from __future__ import annotations

import copy
import inspect
import json
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.calls.described import Calls, Exactly, describe_calls, file_names, home, part
from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.texts import CHATS, TEXTS

STRINGS: Final = tuple(row["text"] for row in TEXTS[:2])
CHAT: Final = CHATS[0]["messages"]


def call_tokenizer(lab: Lab) -> None:
    tokenizer = lab.load_tokenizer()
    folder, strings, ids = home(lab), list(STRINGS), tokenizer(STRINGS[0])["input_ids"]
    encoded = tokenizer(strings, padding=True, return_tensors="pt")
    cut = {"truncation": True, "max_length": 8, "return_overflowing_tokens": True}
    describe_calls(
        lab,
        {
            "loaded": lambda: tokenizer,
            "padding_side": lambda: Exactly(tokenizer.padding_side),
            "model_input_names": lambda: Exactly(list(tokenizer.model_input_names)),
            "encode_text": lambda: tokenizer(strings[0]),
            "encode_batch": lambda: tokenizer(strings),
            "encode_pair": lambda: tokenizer(strings[0], strings[1]),
            "encode_batch_pt": lambda: encoded,
            "encode_batch_np": lambda: tokenizer(strings, padding=True, return_tensors="np"),
            "encode_empty_pt": lambda: tokenizer("", return_tensors="pt"),
            "encode_overflow": lambda: tokenizer(strings, **cut, return_offsets_mapping=True),
            "encode_one_overflow": lambda: tokenizer(strings[0], **cut),
            "encoded_to_device": lambda: encoded.to("cpu"),
            "encoded_item": lambda: encoded[0],
            "encoded_word_ids": lambda: encoded.word_ids(0),
            "encode": lambda: tokenizer.encode(strings[0]),
            "encode_pt": lambda: tokenizer.encode(strings[0], return_tensors="pt"),
            "decode": lambda: tokenizer.decode(ids),
            "decode_one": lambda: tokenizer.decode(ids[0]),
            "decode_tensor": lambda: tokenizer.decode(encoded["input_ids"][0]),
            "decode_batch": lambda: tokenizer.decode([ids, ids]),
            "batch_decode": lambda: tokenizer.batch_decode(encoded["input_ids"]),
            "batch_decode_ids": lambda: tokenizer.batch_decode(ids),
            "convert_ids": lambda: tokenizer.convert_ids_to_tokens(ids),
            "convert_id": lambda: tokenizer.convert_ids_to_tokens(ids[0]),
            "convert_token": lambda: tokenizer.convert_tokens_to_ids("no such token"),
            "tokenize": lambda: tokenizer.tokenize(strings[0]),
            "pad": lambda: tokenizer.pad([{"input_ids": ids}, {"input_ids": ids[:2]}]),
            "pad_pt": lambda: tokenizer.pad({"input_ids": [ids, ids[:2]]}, return_tensors="pt"),
            "special_tokens_map": lambda: tokenizer.special_tokens_map,
            "pad_token": lambda: tokenizer.pad_token,
            "add_tokens": lambda: copy.deepcopy(tokenizer).add_tokens(["<new>"]),
            "add_special_tokens": lambda: copy.deepcopy(tokenizer).add_special_tokens({"sep_token": "<s>"}),
            "save": lambda: tokenizer.save_pretrained(str(folder)),
            "save_files": lambda: file_names(folder),
            **_tokenizer_misuse(tokenizer),
        },
    )


def _tokenizer_misuse(tokenizer: Any) -> Calls:
    unpadded = copy.deepcopy(tokenizer)
    unpadded.pad_token = None
    strings = list(STRINGS)
    return {
        "wrong_none": lambda: tokenizer(None),
        "wrong_number": lambda: tokenizer(7),
        "wrong_no_pad_token": lambda: unpadded(strings, padding=True),
        "wrong_unpadded_pt": lambda: tokenizer(strings, return_tensors="pt"),
        "wrong_argument": lambda: tokenizer(strings[0], no_such_argument=1),
        "wrong_padding": lambda: tokenizer(strings, padding="no such padding"),
        "wrong_decode_none": lambda: tokenizer.decode(None),
        "wrong_decode_text": lambda: tokenizer.decode("text"),
        "wrong_decode_label": lambda: tokenizer.decode([-100]),
        "wrong_decode_unknown_id": lambda: tokenizer.decode([10**6]),
        "wrong_special_token": lambda: copy.deepcopy(tokenizer).add_special_tokens({"no_token": "<n>"}),
        "wrong_mask_token_id": lambda: tokenizer.mask_token_id,
        "wrong_attribute": lambda: tokenizer.no_such_attribute,
    }


def call_chat_template(lab: Lab) -> None:
    if not lab.has_chat_template:
        raise Unavailable("the tokenizer has no chat template")
    tokenizer = lab.load_tokenizer()

    def apply(messages: Any = CHAT, **options: Any) -> Any:
        accepted = inspect.signature(tokenizer.apply_chat_template).parameters
        if missing := options.keys() - accepted:
            raise Unavailable(f"apply_chat_template has no {', '.join(sorted(missing))}")
        return tokenizer.apply_chat_template(messages, **options)

    two, bare = [CHAT, CHAT], copy.deepcopy(tokenizer)
    bare.chat_template = None
    marked = tokenizer.chat_template.replace(
        "{{ '<|im_start|>' + message['role']", "{% generation %}x{% endgeneration %}{{ '' + message['role']"
    )
    mask = {"return_dict": True, "return_assistant_tokens_mask": True}
    describe_calls(
        lab,
        {
            "default": apply,
            "text": lambda: apply(tokenize=False),
            "generation_prompt": lambda: apply(CHAT[:1], add_generation_prompt=True),
            "tensors": lambda: apply(return_tensors="pt"),
            "dict": lambda: apply(return_dict=True),
            "dict_false": lambda: apply(return_dict=False),
            "dict_tensors": lambda: apply(return_dict=True, return_tensors="pt"),
            "batch": lambda: apply(two),
            "batch_text": lambda: apply(two, tokenize=False),
            "batch_dict_tensors": lambda: apply(two, return_dict=True, return_tensors="pt", padding=True),
            "assistant_mask": lambda: apply(**mask, chat_template=marked),
            "assistant_mask_unmarked": lambda: apply(**mask),
            "continue_final_message": lambda: apply(tokenize=False, continue_final_message=True),
            "tuple": lambda: apply(tuple(CHAT), tokenize=False),
            "empty": lambda: apply([], tokenize=False),
            "get_chat_template": lambda: part(tokenizer, "get_chat_template")(),
            "wrong_none": lambda: apply(None),
            "wrong_text": lambda: apply("What color is the sky?"),
            "wrong_no_template": lambda: bare.apply_chat_template(CHAT),
            "wrong_no_content": lambda: apply([{"role": "user"}]),
            "wrong_template": lambda: apply(chat_template="{% for %}"),
            "wrong_mask_without_dict": lambda: apply(return_assistant_tokens_mask=True, return_dict=False),
            "wrong_prompt_and_continue": lambda: apply(
                add_generation_prompt=True, continue_final_message=True
            ),
        },
    )


def call_collators(lab: Lab) -> None:
    import transformers

    tokenizer = lab.load_tokenizer()
    rows = [dict(tokenizer(text)) for text in STRINGS]
    labelled = [{**row, "labels": row["input_ids"]} for row in rows]
    same = [{**rows[0], "label": 1, "text": "a"}, {**rows[0], "label": 0, "text": "b"}]
    masking = copy.deepcopy(tokenizer)
    masking.mask_token = masking.unk_token

    def collate(name: str, data: Any, **options: Any) -> Any:
        return part(transformers, name)(**{"tokenizer": tokenizer, **options})(data)

    language, seq2seq = "DataCollatorForLanguageModeling", "DataCollatorForSeq2Seq"
    flattening = "DataCollatorWithFlattening"
    describe_calls(
        lab,
        {
            "language": lambda: collate(language, rows, mlm=False),
            "language_np": lambda: collate(language, rows, mlm=False, return_tensors="np"),
            "language_masked": lambda: collate(language, rows, tokenizer=masking),
            "language_multiple": lambda: collate(language, rows, mlm=False, pad_to_multiple_of=8),
            "padding": lambda: collate("DataCollatorWithPadding", rows),
            "padding_label": lambda: collate(
                "DataCollatorWithPadding", [{**row, "label": 1} for row in rows]
            ),
            "seq2seq": lambda: collate(seq2seq, labelled),
            "seq2seq_unlabelled": lambda: collate(seq2seq, rows),
            "seq2seq_np": lambda: collate(seq2seq, labelled, return_tensors="np"),
            "default": lambda: transformers.default_data_collator(same),
            "flattening": lambda: part(transformers, flattening)()(rows),
            "wrong_language_ragged_labels": lambda: collate(language, labelled, mlm=False),
            "wrong_language_no_mask_token": lambda: collate(language, rows),
            "wrong_padding_ragged_labels": lambda: collate("DataCollatorWithPadding", labelled),
            "wrong_padding_text": lambda: collate("DataCollatorWithPadding", same),
            "wrong_default_ragged": lambda: transformers.default_data_collator(rows),
            "wrong_empty": lambda: collate(language, [], mlm=False),
            "wrong_no_input_ids": lambda: collate("DataCollatorWithPadding", [{"text": "a"}]),
        },
    )


def call_datasets(lab: Lab) -> None:
    import datasets
    from torch.utils.data import DataLoader

    rows = [{"text": row["text"], "ids": [1, 2], "score": 0.5} for row in TEXTS]
    data = datasets.Dataset.from_list(rows)
    numbers = data.remove_columns("text")
    stream = data.to_iterable_dataset()
    describe_calls(
        lab,
        {
            "from_list": lambda: data,
            "first": lambda: data[0],
            "slice": lambda: data[:2],
            "indices": lambda: data[[0, 1]],
            "column": lambda: data["text"],
            "column_slice": lambda: data["text"][:2],
            "column_of_lists": lambda: data["ids"],
            "iteration": lambda: next(iter(data)),
            "batches": lambda: next(data.iter(batch_size=2)),
            "to_list": lambda: data.to_list(),
            "to_dict": lambda: data.to_dict(),
            "features": lambda: data.features,
            "map": lambda: data.map(lambda row: {"length": len(row["text"])}),
            "map_batched": lambda: data.map(
                lambda batch: {"length": [len(text) for text in batch["text"]]},
                batched=True,
                remove_columns=["text"],
            ),
            "filter": lambda: data.filter(lambda row: row["score"] > 1),
            "split": lambda: data.train_test_split(test_size=0.5, seed=1),
            "select": lambda: data.select([0, 1]),
            "shuffle": lambda: data.shuffle(seed=1),
            "concatenate": lambda: datasets.concatenate_datasets([data, data]),
            "torch_first": lambda: data.with_format("torch")[0],
            "torch_column": lambda: data.with_format("torch")["ids"],
            "numpy_first": lambda: data.with_format("numpy")[0],
            "stream": lambda: stream,
            "stream_first": lambda: next(iter(stream)),
            "stream_map": lambda: next(iter(stream.map(lambda row: {"n": 1}))),  # noqa: ARG005  # map calls it with the row
            "loader": lambda: next(iter(DataLoader(data, batch_size=2))),
            "loader_torch": lambda: next(iter(DataLoader(numbers.with_format("torch"), batch_size=2))),
        },
    )


def call_datasets_misuse(lab: Lab) -> None:
    """Loading a file, and wrong uses of data."""
    import datasets

    data = datasets.Dataset.from_list([dict(row) for row in TEXTS])
    folder = home(lab)
    file = folder / "rows.json"
    file.write_text("\n".join(json.dumps(row) for row in TEXTS))

    def load(file: Any = file, **options: Any) -> Any:
        return datasets.load_dataset("json", data_files=str(file), cache_dir=str(folder / "cache"), **options)

    describe_calls(
        lab,
        {
            "load": load,
            "load_split": lambda: load(split="train[:2]"),
            "load_stream": lambda: next(iter(load(split="train", streaming=True))),
            "wrong_index": lambda: data[len(TEXTS)],
            "wrong_column": lambda: data["no such column"],
            "wrong_remove": lambda: data.remove_columns("no such column"),
            "wrong_lengths": lambda: datasets.Dataset.from_dict({"a": [1], "b": [1, 2]}),
            "wrong_kinds": lambda: datasets.Dataset.from_list([{"a": 1}, {"a": "one"}]),
            "wrong_map": lambda: data.map(lambda row: row["text"]),
            "wrong_split": lambda: data.train_test_split(test_size=9),
            "wrong_split_name": lambda: load(split="no such split"),
            "wrong_file": lambda: load(folder / "none.json"),
            "wrong_folder": lambda: datasets.load_dataset(str(folder / "none")),
            "wrong_stream_index": lambda: data.to_iterable_dataset()[0],
        },
    )


ALL: Final = (call_tokenizer, call_chat_template, call_collators, call_datasets, call_datasets_misuse)
