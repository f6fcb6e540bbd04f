"""Tokenizer files as transformers 4.44, 4.45, 4.57 and 5 write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.hub.models.files import write_json
from tunematrix.hub.models.tiny import CHAT_TEMPLATE

Part = dict[str, Any]
NO_LIMIT: Final = int(1e30)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokenizer:
    """A tokenizer: its pipeline, and what releases of transformers 4 and 5 write beside it.

    ``model`` has text merges. ``options_4`` and ``options_5`` are what the class itself adds to the config.
    """

    class_4: str
    class_5: str
    model: Part
    pre_tokenizer: Part | None
    decoder: Part
    special: Sequence[str]
    roles: Mapping[str, str]
    normalizer: Part | None = None
    post_processor: Part | None = None
    options_4: Part = field(default_factory=dict)
    options_5: Part = field(default_factory=dict)
    vocabulary_files: bool = False


def write_4(
    folder: Path,
    tokenizer: Tokenizer,
    *,
    minor: int = 44,
    extra: list[str] | dict[str, str] | None = None,
    template_file: bool = False,
) -> None:
    """Write as transformers 4.44, 4.45 (merges are pairs), 4.48 (extra tokens have names) or 4.57.

    4.57 writes the chat template into a file beside; ``template_file`` is the option for it of earlier ones.
    ``extra`` are further special tokens: a list until 4.48, from then on a dict.
    """
    write_json(folder / "tokenizer.json", _pipeline(tokenizer, pairs=minor >= 45))
    if tokenizer.vocabulary_files:
        write_json(folder / "vocab.json", tokenizer.model["vocab"])
        lines = ["#version: 0.2", *tokenizer.model["merges"], ""]
        (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    tokens = _added_tokens(tokenizer)
    flags = {token["content"]: _without(token, "id", "special") for token in tokens}
    extras: Part = {"additional_special_tokens": extra} if isinstance(extra, list) else dict(extra or {})
    roles = {role: flags[token] for role, token in tokenizer.roles.items()}
    write_json(folder / "special_tokens_map.json", {**roles, **extras})
    named = {"extra_special_tokens": extra if isinstance(extra, dict) else {}}
    config = {
        "added_tokens_decoder": {str(token["id"]): _without(token, "id") for token in tokens},
        **tokenizer.roles,
        **extras,
        "clean_up_tokenization_spaces": minor < 45,  # the default
        **(named if minor >= 48 else {}),
        "model_max_length": NO_LIMIT,
        "tokenizer_class": tokenizer.class_4,
        **tokenizer.options_4,
    }
    _write_config(folder, tokenizer, config, template_file=minor >= 57 or template_file)


def write_5(folder: Path, tokenizer: Tokenizer, *, extra: list[str] | None = None) -> None:
    """Write as transformers 5: no ``special_tokens_map.json``, no vocabulary files, no decoder of tokens."""
    sequences = [{"Sequence": {"id": name, "type_id": type_id}} for type_id, name in enumerate("AB")]
    nothing = {
        "type": "TemplateProcessing",
        "single": sequences[:1],
        "pair": sequences,
        "special_tokens": {},
    }
    pipeline = _pipeline(tokenizer, pairs=True)
    pipeline["post_processor"] = pipeline["post_processor"] or nothing
    write_json(folder / "tokenizer.json", pipeline)
    config = {
        "backend": "tokenizers",
        **tokenizer.roles,
        **({"extra_special_tokens": extra} if extra else {}),
        "is_local": False,
        "model_max_length": NO_LIMIT,
        "tokenizer_class": tokenizer.class_5,
        **tokenizer.options_5,
    }
    _write_config(folder, tokenizer, config, template_file=True)


def _write_config(folder: Path, tokenizer: Tokenizer, config: Part, *, template_file: bool) -> None:
    """Write the config, and a chat template in it or beside it if the tokenizer has the tokens for one."""
    has_template = "<|im_start|>" in tokenizer.special
    inside = {"chat_template": CHAT_TEMPLATE} if has_template and not template_file else {}
    write_json(folder / "tokenizer_config.json", {**config, **inside})
    if has_template and template_file:
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def _pipeline(tokenizer: Tokenizer, *, pairs: bool) -> Part:
    """The content of a ``tokenizer.json``; tokenizers 0.20, with transformers 4.45, made merges pairs."""
    merges = tokenizer.model.get("merges")
    written = {"merges": [merge.split(" ") for merge in merges]} if merges and pairs else {}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(tokenizer),
        "normalizer": tokenizer.normalizer,
        "pre_tokenizer": tokenizer.pre_tokenizer,
        "post_processor": tokenizer.post_processor,
        "decoder": tokenizer.decoder,
        "model": {**tokenizer.model, **written},
    }


def _added_tokens(tokenizer: Tokenizer) -> list[Part]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{"id": index, "content": token, **flags} for index, token in enumerate(tokenizer.special)]


def _without(part: Part, *names: str) -> Part:
    return {name: value for name, value in part.items() if name not in names}
