"""The kinds of rows that trl's trainers document, a few of each."""

from __future__ import annotations

from typing import Any, Final

from tunematrix.harness.measures.preferences import PAIRS, chat_pair
from tunematrix.harness.measures.texts import CHATS, LONG, PROMPT_CHATS, PROMPTS, TEXTS

Rows = list[dict[str, Any]]
SFT: Final = ("text", "prompts", "chats", "prompt_chats", "text_and_chats", "tokenized")
DPO: Final = ("pairs", "chat_pairs", "implicit_pairs")


def of(kind: str, tokenizer: Any = None) -> Rows:
    """Four or five rows of a kind, of different lengths; ``tokenized`` ones need the tokenizer."""
    texts: Rows = [*map(dict, TEXTS), {"text": LONG[:100]}]
    if kind == "tokenized":
        return [{"input_ids": tokenizer(row["text"])["input_ids"]} for row in texts]
    chats: Rows = [dict(row) for row in CHATS * 2]
    kinds: dict[str, Rows] = {
        "text": texts,
        "prompts": [dict(row) for row in PROMPTS * 2],
        "chats": chats,
        "prompt_chats": [dict(row) for row in PROMPT_CHATS * 2],
        "text_and_chats": [{**text, **chat} for text, chat in zip(texts, chats, strict=False)],
        "pairs": [dict(row) for row in PAIRS * 2],
        "chat_pairs": [chat_pair(row) for row in PAIRS * 2],
        "implicit_pairs": [_implicit_pair(chat_pair(row)) for row in PAIRS * 2],
    }
    return kinds[kind]


def _implicit_pair(row: Any) -> dict[str, Any]:
    """The prompt only in the conversations themselves."""
    return {name: [*row["prompt"], *row[name]] for name in ("chosen", "rejected")}
