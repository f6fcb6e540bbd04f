"""Relations that hold in every stack, of tokenizers: a text, its ids and its pieces say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.texts import CHATS

STRINGS: Final[Mapping[str, str]] = {
    "plain": "The sky is blue.",
    "leading_space": " leading",
    "trailing_space": "trailing ",
    "double_spaces": "two  spaces   three",
    "space_before_mark": "a space , a mark ! it 's not",
    "newlines": "\none\n\ntwo\r\n\tthree\n",
    "unicode": "naïve café 日本語 🙂 e\u0301",
    "special_token": "before <|im_end|> after<|im_start|>",
    "empty": "",
}


def relation_tokenizer(lab: Lab) -> None:
    """Texts come back as they were; a batch equals its texts; saved and loaded it is the same tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = lab.load_tokenizer()
    ids = {name: list(tokenizer(text)["input_ids"]) for name, text in STRINGS.items()}
    for name, text in STRINGS.items():
        decoded = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
        lab.add_number(f"{name}_equal", decoded == text)
    lab.add_number("batch_equal", tokenizer(list(STRINGS.values()))["input_ids"] == list(ids.values()))
    padded = tokenizer(list(STRINGS.values()), padding=True)
    rows = zip(padded["input_ids"], padded["attention_mask"], strict=True)
    kept = [[token for token, mark in zip(*row, strict=True) if mark] for row in rows]
    lab.add_number("padded_batch_equal", kept == list(ids.values()))
    tokenizer.save_pretrained(str(lab.folder / lab.name))
    loaded = AutoTokenizer.from_pretrained(str(lab.folder / lab.name))
    lab.add_number(
        "saved_equal", {name: list(loaded(text)["input_ids"]) for name, text in STRINGS.items()} == ids
    )
    pieces = [tokenizer.convert_ids_to_tokens(row) for row in ids.values()]
    back = [tokenizer.convert_tokens_to_ids(row) for row in pieces]
    lab.add_number("pieces_equal", back == list(ids.values()))


def relation_chat_template(lab: Lab) -> None:
    """The ids of a conversation are those of its text; with the prompt for an answer it begins the same."""
    if not lab.has_chat_template:
        raise Unavailable("the tokenizer has no chat template")
    tokenizer, messages = lab.load_tokenizer(), CHATS[0]["messages"]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    lab.add_number("ids_equal", _ids(tokenizer.apply_chat_template(messages, tokenize=True)) == ids)
    batch = tokenizer.apply_chat_template([messages, messages], tokenize=True)
    lab.add_number("batch_equal", [list(row) for row in _ids(batch)] == [ids, ids])
    prompt = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    lab.add_number("prompt_prefix_equal", text.startswith(prompt))


def _ids(encoded: Any) -> list[Any]:
    """The ids of a conversation: newer releases return them among other things."""
    return list(encoded["input_ids"] if hasattr(encoded, "keys") else encoded)


ALL: Final = (relation_tokenizer, relation_chat_template)
