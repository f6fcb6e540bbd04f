"""The kinds of rows that trl's trainers document, a few of each."""

from __future__ import annotations

from typing import Any, Final

from tunematrix.harness.measures.preferences import PAIRS
from tunematrix.harness.measures.texts import CHATS, LONG, QUESTIONS, TEXTS, message

Rows = list[dict[str, Any]]
SFT: Final = ("text", "prompts", "chats", "prompt_chats", "text_and_chats", "tokenized")
DPO: Final = ("pairs", "chat_pairs", "implicit_pairs")


def of(kind: str, tokenizer: Any = None) -> Rows:
    """Four or five rows of a kind, of different lengths; ``tokenized`` ones need the tokenizer."""
    texts: Rows = [*map(dict, TEXTS), {"text": LONG[:100]}]
    if kind == "tokenized":
        return [{"input_ids": tokenizer(row["text"])["input_ids"]} for row in texts]
    chats: Rows = [dict(row) for row in CHATS * 2]
    questions = QUESTIONS * 2
    kinds: dict[str, Rows] = {
        "text": texts,
        "prompts": [{"prompt": prompt, "completion": completion} for prompt, completion in questions],
        "chats": chats,
        "prompt_chats": [
            {"prompt": [message("user", prompt)], "completion": [message("assistant", completion.strip())]}
            for prompt, completion in questions
        ],
        "text_and_chats": [{**text, **chat} for text, chat in zip(texts, chats, strict=False)],
        "pairs": [dict(row) for row in PAIRS * 2],
        "chat_pairs": [_chat_pair(row) for row in PAIRS * 2],
        "implicit_pairs": [_implicit_pair(_chat_pair(row)) for row in PAIRS * 2],
    }
    return kinds[kind]


def _chat_pair(row: Any) -> dict[str, Any]:
    answers = {name: [message("assistant", row[name].strip())] for name in ("chosen", "rejected")}
    return {"prompt": [message("user", row["prompt"])], **answers}


def _implicit_pair(row: Any) -> dict[str, Any]:
    """The prompt only in the conversations themselves."""
    return {name: [*row["prompt"], *row[name]] for name in ("chosen", "rejected")}
