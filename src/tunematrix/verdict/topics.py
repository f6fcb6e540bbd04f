"""Words for fingerprint fields: what a field is about, and which quantity of it the field holds.

A field is called ``[MODEL.]GROUP.MEASURE.NAME`` or, if a stage measures it, ``STAGE.NAME``. Fields with the
same subject describe one training run or one call, so they change together.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

# In the order of cause and effect within one run: other tokens give another loss, and so on.
QUANTITIES: Final = {
    "tokens": (
        "*input_ids",
        "*labels",
        "*_mask",
        "rows",
        "position_ids",
        "batches",
        "ids",
        "chat",
        "content",
    ),
    "loss": ("*loss", "*losses", "loss_ratio_*"),
    "gradient": ("grad_norm*",),
    "log-probabilities": ("logps_*", "rewards_*", "entropy", "num_tokens"),
    "output": ("text", "new_ids", "greedy_ids", "default_length", "*_abs_sum"),
    "learning rate": ("learning_rate",),
}
OTHER: Final = "other"
OPTION: Final = "option"
RANKS: Final = (*QUANTITIES, OTHER, OPTION)
FAMILIES: Final = {
    "finetune": "SFT",
    "finetune-resume": "SFT",
    "generate.finetuned": "SFT",
    "sft": "SFT",
    "align": "DPO",
    "align-resume": "DPO",
    "generate.aligned": "DPO",
    "dpo": "DPO",
    "resume.sft": "SFT resume",
    "resume.dpo": "DPO resume",
    "generate": "generation",
    "tokenizer": "tokenizer",
    "load": "loading",
    "adapter": "an adapter",
    "sweep.TrainingArguments.base": "Trainer",
    "sweep.LoraConfig.base": "LoRA",
    "sweep.SFTConfig": "SFT",
    "sweep.DPOConfig": "DPO",
    "call": "a call",
    "relation": "a relation",
    "trainer": "a trainer beyond SFT and DPO",
    "format": "a checkpoint saved by another release",
}
SUBJECTS: Final = {
    "finetune": "the fine-tuning stage",
    "finetune-resume": "the resumed fine-tuning stage",
    "generate.finetuned": "the fine-tuning stage",
    "sft.text": "text",
    "sft.prompts": "prompts and completions",
    "sft.prompts_chat": "chat prompts and completions",
    "sft.prompts_cut": "prompts longer than max_length",
    "sft.chat": "chats",
    "sft.text_and_chat": "rows with a text and a chat",
    "sft.tokenized": "tokenized data",
    "sft.packed": "packed text",
    "sft.cut": "text longer than max_length",
    "sft.accumulation": "gradient accumulation",
    "sft.defaults": "default settings",
    "sft.plain_arguments": "TrainingArguments instead of SFTConfig",
    "sft.given_adapter": "a model that already has an adapter",
    "align": "the DPO stage",
    "align-resume": "the resumed DPO stage",
    "generate.aligned": "the DPO stage",
    "dpo.text": "text pairs",
    "dpo.chat": "chat pairs",
    "dpo.chat_cut": "chat pairs longer than max_length",
    "dpo.long": "prompts longer than max_length",
    "dpo.ipo": "the IPO loss",
    "dpo.stacked": "stacked adapters",
    "dpo.accumulation": "gradient accumulation",
    "dpo.plain_arguments": "TrainingArguments instead of DPOConfig",
    "resume.sft.first_epoch": "in the first epoch",
    "resume.sft.later_epoch": "in a later epoch",
    "resume.dpo.first_epoch": "in the first epoch",
    "adapter.tied": "a trained head on tied embeddings",
    "load.dtype": "dtype without one requested",
    "generate": "greedy generation",
    "sweep.TrainingArguments.base": "a plain Trainer",
    "sweep.LoraConfig.base": "a plain Trainer with LoRA",
    "sweep.SFTConfig.base": "text",
    "sweep.SFTConfig.prompts": "prompts and completions",
    "sweep.SFTConfig.chats": "chats",
    "sweep.SFTConfig.prompt_chats": "chat prompts and completions",
    "sweep.SFTConfig.text_and_chats": "rows with a text and a chat",
    "sweep.SFTConfig.tokenized": "tokenized data",
    "sweep.DPOConfig.base": "text pairs",
    "sweep.DPOConfig.chat_pairs": "chat pairs",
    "sweep.DPOConfig.implicit_pairs": "pairs that hold their prompt",
}
# Of families that sentences name at length, what ids begin with.
SHORT_NAMES: Final = {
    FAMILIES["adapter"]: "adapter",
    FAMILIES["call"]: "call",
    FAMILIES["format"]: "format",
    FAMILIES["relation"]: "relation",
    FAMILIES["trainer"]: "further-trainer",
}
# Families whose measures do not record the tokens of a loss.
WITHOUT_TOKENS: Final = (
    *(FAMILIES[name] for name in ("adapter", "relation", "trainer", "format")),
    *("Trainer", "LoRA"),
)
# Runs that start where another one ends, or repeat it: what changes there changes here too.
FOLLOWS: Final = {
    ("SFT", "the resumed fine-tuning stage"): ("SFT", "the fine-tuning stage"),
    ("DPO", "the DPO stage"): ("SFT", "the fine-tuning stage"),
    ("DPO", "the resumed DPO stage"): ("DPO", "the DPO stage"),
    ("SFT resume", "in the first epoch"): ("SFT", "text"),
    ("SFT resume", "in a later epoch"): ("SFT", "text"),
    ("DPO resume", "in the first epoch"): ("DPO", "text pairs"),
}
# What the transformers library does alone, trl and peft do on top of it.
FOLLOWS_FAMILY: Final = dict.fromkeys(("SFT", "LoRA"), ("Trainer", "a plain Trainer"))
SCRIPT: Final = "your script"
OF_SCRIPTS: Final = ("sft", "dpo")  # families whose measures have more than two parts; stages of a team too
# The stages that may fail for the same reason as a measure.
STAGES_OF: Final = {
    "SFT": ("finetune",),
    "DPO": ("align",),
    "SFT resume": ("finetune-resume", "finetune"),
    "DPO resume": ("align-resume", "align"),
}
# How a sentence about a family goes on, by the first quantity of QUANTITIES that differs.
SENTENCES: Final = {
    "tokens": "{family} sees different tokens",
    "learning rate": "{family} logs a different learning rate",
    "loss": "{family} has a different loss on the same tokens",
    "gradient": "{family} has a different gradient norm at the same loss",
    "log-probabilities": "{family} logs different rewards or log-probabilities",
    "output": "{family} gives different output",
    OTHER: "{family} gives a different result",
    OPTION: "options of {family} have another effect",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """``family`` is what people call the work, ``subject`` its variant, ``quantity`` what was measured."""

    family: str
    subject: str
    quantity: str

    @property
    def run(self) -> tuple[str, str]:
        """The training run or call that the field belongs to."""
        return self.family, self.subject

    @property
    def rank(self) -> int:
        """The place of the quantity in the order of cause and effect; lower is earlier."""
        return RANKS.index(self.quantity)


def topic(name: str) -> Topic:
    """The topic of a fingerprint field."""
    parts = name.split(".")
    if parts[0].startswith("tiny-") and len(parts) > 1:
        parts = parts[1:]
    if len(parts) == 2 and (parts[0] in OF_SCRIPTS or parts[0] not in FAMILIES):  # STAGE.NAME of a script
        return Topic(family=parts[0], subject=SCRIPT, quantity=quantity(parts[1]))
    if parts[0] == "call":
        return Topic(family=FAMILIES["call"], subject=".".join(parts[1:]), quantity=OTHER)
    if parts[0] == "sweep" and len(parts) == 3:  # sweep.CLASS.OPTION
        return Topic(family=parts[1], subject=parts[2], quantity=OPTION)
    return Topic(
        family=_longest(FAMILIES, parts) or parts[0],
        subject=_longest(SUBJECTS, _with_epoch(parts)) or " ".join(parts[1:-1]) or parts[0],
        quantity=quantity(parts[-1]),
    )


def quantity(last_part: str) -> str:
    matches = (
        name
        for name, patterns in QUANTITIES.items()
        if any(fnmatchcase(last_part, pattern) for pattern in patterns)
    )
    return next(matches, OTHER)


def _with_epoch(parts: list[str]) -> list[str]:
    """``resume.sft.later_epoch_difference`` as ``resume.sft.later_epoch.difference``."""
    epochs = ("first_epoch", "later_epoch")
    prefix = next((epoch for epoch in epochs if parts[-1].startswith(f"{epoch}_")), None)
    return [*parts[:-1], prefix, parts[-1].removeprefix(f"{prefix}_")] if prefix else parts


def _longest(words: dict[str, str], parts: list[str]) -> str | None:
    """The entry of ``words`` for the longest beginning of ``parts``."""
    beginnings = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((words[beginning] for beginning in beginnings if beginning in words), None)
