"""Small tokenizers of the kinds that causal language models have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tunematrix.hub.models.files import bpe
from tunematrix.hub.models.tiny import CHAT_SPECIAL, WORDS, vocabulary
from tunematrix.hub.models.tokenizer_files import Part, Tokenizer

SPACE: Final = "\u2581"  # what represents a space in sentencepiece's vocabularies
QWEN2_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
NO_AFFIXES: Final = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
BYTE_LEVEL: Final[Mapping[str, Any]] = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
LLAMA_DECODER: Final[Mapping[str, Any]] = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ],
}
CHAT_ROLES: Final[Mapping[str, str]] = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "pad_token": "<|im_end|>",
    "unk_token": "<|endoftext|>",
}
LLAMA_ROLES: Final[Mapping[str, str]] = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
UNIGRAM_ROLES: Final[Mapping[str, str]] = {
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}


def byte_level_tokens() -> list[str]:
    return vocabulary(CHAT_SPECIAL)[0]


def byte_level() -> Tokenizer:
    """A byte-level BPE of no particular architecture."""
    tokens, merges = vocabulary(CHAT_SPECIAL)
    return Tokenizer(
        class_4="PreTrainedTokenizerFast",
        class_5="TokenizersBackend",
        model=_bpe(tokens, merges),
        pre_tokenizer=dict(BYTE_LEVEL),
        decoder={**BYTE_LEVEL, "add_prefix_space": True},
        special=CHAT_SPECIAL,
        roles=CHAT_ROLES,
    )


def gpt2() -> Tokenizer:
    tokenizer = byte_level()
    return replace(
        tokenizer,
        model=tokenizer.model | NO_AFFIXES,
        class_4="GPT2Tokenizer",
        class_5="GPT2Tokenizer",
        post_processor={**BYTE_LEVEL, "add_prefix_space": True, "trim_offsets": False},
        options_4={"add_bos_token": False, "add_prefix_space": False, "errors": "replace"},
        options_5={"add_prefix_space": False, "errors": "replace"},
        vocabulary_files=True,
    )


def qwen2() -> Tokenizer:
    """Qwen 2: its own rule for splitting, one digit a piece, and no first token."""
    split = {"type": "Split", "pattern": {"Regex": QWEN2_SPLIT}, "behavior": "Isolated", "invert": False}
    return replace(
        gpt2(),
        class_4="Qwen2Tokenizer",
        class_5="Qwen2Tokenizer",
        normalizer={"type": "NFC"},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split, {**BYTE_LEVEL, "use_regex": False}]},
        post_processor={**BYTE_LEVEL, "add_prefix_space": True, "trim_offsets": False},
        roles={"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        options_4={
            "bos_token": None,
            "errors": "replace",
            "split_special_tokens": False,
            "unk_token": None,
            "clean_up_tokenization_spaces": False,
        },
        options_5={"add_prefix_space": None, "bos_token": None, "errors": "replace", "unk_token": None},
        vocabulary_files=True,
    )


def llama() -> Tokenizer:
    """Llama 2: sentencepiece's BPE, with a normalizer that puts a space before the text."""
    tokens, merges = _metaspace_vocabulary()
    space = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    return Tokenizer(
        class_4="LlamaTokenizer",
        class_5="LlamaTokenizer",
        model=_bpe(tokens, merges) | {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
        normalizer={"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, space]},
        pre_tokenizer=None,
        post_processor=_first_token("<s>"),
        decoder=dict(LLAMA_DECODER),
        special=tokens[:3],
        roles=LLAMA_ROLES,
        options_4=_llama_options(legacy=True),
        options_5={
            "add_prefix_space": None,
            "clean_up_tokenization_spaces": False,
            "use_default_system_prompt": False,
        },
    )


def llama_first() -> Tokenizer:
    """The Llama kind since 4.39: not ``legacy``, a space before the text's first piece alone."""
    metaspace = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": False}
    return replace(llama(), normalizer=None, pre_tokenizer=metaspace, options_4=_llama_options(legacy=False))


def llama_5() -> Tokenizer:
    """What transformers 5 makes of ``llama_first``: its model has no unknown token."""
    tokenizer = llama_first()
    return replace(tokenizer, model=tokenizer.model | {"unk_token": None})


def llama_bytes() -> Tokenizer:
    """A byte-level BPE that calls itself Llama's, as DeepSeek's do; digits are single pieces."""
    digits = {"type": "Digits", "individual_digits": True}
    return replace(
        byte_level(),
        class_4="LlamaTokenizerFast",
        class_5="LlamaTokenizer",
        pre_tokenizer={"type": "Sequence", "pretokenizers": [digits, dict(BYTE_LEVEL)]},
        post_processor=_first_token("<|im_start|>"),
        options_4=_llama_options(legacy=True),
    )


def unigram() -> Tokenizer:
    """A Unigram tokenizer of no particular architecture, whose spaces are sentencepiece's."""
    metaspace = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    return Tokenizer(
        class_4="PreTrainedTokenizerFast",
        class_5="TokenizersBackend",
        model={"type": "Unigram", "unk_id": 2, "vocab": _unigram_vocabulary(), "byte_fallback": False},
        pre_tokenizer=metaspace,
        decoder=dict(metaspace),
        special=("<pad>", "</s>", "<unk>"),
        roles=UNIGRAM_ROLES,
    )


def t5() -> Tokenizer:
    """T5's, with the form of metaspace before tokenizers 0.15: ``add_prefix_space`` and ``str_rep``."""
    metaspace = {"type": "Metaspace", "replacement": SPACE, "str_rep": SPACE, "add_prefix_space": True}
    return replace(
        unigram(),
        class_4="T5Tokenizer",
        class_5="T5Tokenizer",
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        decoder=metaspace,
        post_processor=_last_token("</s>"),
        options_4={"additional_special_tokens": [], "extra_ids": 0},
    )


def _bpe(tokens: Sequence[str], merges: Sequence[str]) -> Part:
    vocab = {token: index for index, token in enumerate(tokens)}
    return bpe(vocab, merges, ignore_merges=False)


def _metaspace_vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges of a BPE over characters with one token for each of ``WORDS``, bytes as fallback."""
    pieces = [space + word for word in WORDS for space in ("", SPACE)]
    characters = sorted({character for piece in pieces for character in piece})
    merges = dict.fromkeys(f"{piece[:end]} {piece[end]}" for piece in pieces for end in range(1, len(piece)))
    merged = [merge.replace(" ", "") for merge in merges]
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    return list(dict.fromkeys(["<unk>", "<s>", "</s>", *bytes_, *characters, *merged])), list(merges)


def _unigram_vocabulary() -> list[list[Any]]:
    """Pieces and scores: whole words are likelier than their characters; no piece for other characters."""
    words = [SPACE + word for word in WORDS]
    characters = sorted({character for word in words for character in word})
    scores = dict.fromkeys(("<pad>", "</s>", "<unk>"), 0.0) | dict.fromkeys(characters, -8.0)
    scores |= {word: -4.0 - index / 64 for index, word in enumerate(words)}
    return [[piece, score] for piece, score in scores.items()]


def _llama_options(*, legacy: bool) -> Part:
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": None,
        "clean_up_tokenization_spaces": False,
        "legacy": legacy,
        "use_default_system_prompt": False,
    }


def _sequence(name: str, type_id: int = 0) -> Part:
    return {"Sequence": {"id": name, "type_id": type_id}}


def _token(token: str, type_id: int = 0) -> Part:
    return {"SpecialToken": {"id": token, "type_id": type_id}}


def _template(single: list[Part], pair: list[Part], **ids: int) -> Part:
    special = {token: {"id": token, "ids": [index], "tokens": [token]} for token, index in ids.items()}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def _first_token(token: str) -> Part:
    """A post-processor that puts ``token``, whose id is 1, before each text."""
    texts = [[_token(token, type_id), _sequence(name, type_id)] for type_id, name in enumerate("AB")]
    return _template(texts[0], texts[0] + texts[1], **{token: 1})


def _last_token(token: str) -> Part:
    """A post-processor that puts ``token``, whose id is 1, after each text."""
    texts = [[_sequence(name), _token(token)] for name in "AB"]
    return _template(texts[0], texts[0] + texts[1], **{token: 1})
