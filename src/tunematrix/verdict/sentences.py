"""Sentences for findings: a title that people understand, and what they can do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tunematrix.shared.settings import COMMANDS, ENVIRONMENT, is_setting, split_setting
from tunematrix.verdict.atoms import Atom
from tunematrix.verdict.diff import ABSENT, Diff
from tunematrix.verdict.edits import describe_edit_of
from tunematrix.verdict.effects import is_option
from tunematrix.verdict.topics import OPTION, SENTENCES, WITHOUT_TOKENS, Topic
from tunematrix.verdict.topics import topic as topic_of

UNEXPLAINED: Final = "unexplained"
LISTED: Final = 3
# The packages to look at first for a field, by a part of its name; the last entry is for all others.
LIKELY: Final = {
    ".adapter.": ("peft", "transformers", "trl", "accelerate"),
    ".LoraConfig.": ("peft", "transformers", "trl", "accelerate"),
    ".TrainingArguments.": ("transformers", "accelerate", "trl", "peft"),
    ".format.": ("transformers", "tokenizers", "trl", "peft"),
    ".relation.": ("transformers", "trl", "peft", "accelerate"),
    "": ("trl", "transformers", "peft", "accelerate"),
}
SAME_TOKENS: Final = " on the same tokens"
BROKEN: Final = {
    "import": "the packages no longer import together",
    "download": "the model no longer downloads",
    "finetune": "fine-tuning fails",
    "finetune-resume": "a fine-tuning checkpoint no longer resumes",
    "align": "DPO fails",
    "align-resume": "a DPO checkpoint no longer resumes",
    "generate": "saved models no longer reload and generate",
    "exchange:load": "models saved by the baseline no longer load",
    "exchange:finetune-resume": "a fine-tuning checkpoint of the baseline no longer resumes",
    "exchange:align-resume": "a DPO checkpoint of the baseline no longer resumes",
}
WRONG: Final = {
    "finetune-resume": "a resumed fine-tuning run is not the uninterrupted one",
    "align-resume": "a resumed DPO run is not the uninterrupted one",
    "generate": "a reloaded model is not the saved one",
    "exchange:load": "models saved by the baseline load with other weights",
    "exchange:finetune-resume": "a fine-tuning checkpoint of the baseline resumes in the wrong place",
    "exchange:align-resume": "a DPO checkpoint of the baseline resumes in the wrong place",
}
RELATIONS: Final = {
    "SFT resume": "a resumed SFT run is not the uninterrupted one",
    "DPO resume": "a resumed DPO run is not the uninterrupted one",
    "an adapter": "a saved or merged adapter is not the model that was trained",
    "tokenizer": "text does not come back from the tokenizer",
    "a relation": "results that must be equal differ",
    "a trainer beyond SFT and DPO": "a trainer beyond SFT and DPO does not do what it should",
    "a checkpoint saved by another release": "checkpoints of another release are not read as they were saved",
}
# One of them, and several.
INFO: Final = {
    "declared": ("default declared in another way", "defaults declared in another way"),
    "none-now": (
        "default is None now and is filled in later",
        "defaults are None now and are filled in later",
    ),
    "added": ("new field or argument", "new fields and arguments"),
    "still-works": ("name moved and still works", "names moved and still work"),
    "warnings": ("new warning", "new warnings"),
    "last-digits": ("number differs in its last digits", "numbers differ in their last digits"),
    "measured-on-one-side": ("number is measured on one side", "numbers are measured on one side"),
    "works-now": ("thing that was wrong works now", "things that were wrong work now"),
    "details": ("detail of files, logs or names", "details of files, logs and names"),
    "fails-differently": ("failure has another message", "failures have other messages"),
}
EDITS: Final = {
    "calls": ("call", "to edit"),
    "fields": ("configuration field", "gone"),
    "arguments": ("argument", "gone"),
    "names": ("name", "gone"),
    ENVIRONMENT: ("environment variable", "no longer read"),
    COMMANDS: ("command", "gone"),
    "options": ("option", "now refused"),
    "raises": ("call", "now raising"),
    "returns": ("call", "with another result"),
}

# What is counted of each severity, worst first.
COUNTED: Final[Mapping[str, tuple[str, str]]] = {
    "broken": ("broken", "broken"),
    "wrong": ("silently wrong", "silently wrong"),
    "training": ("train otherwise", "train otherwise"),
    "default": ("changed default", "changed defaults"),
    "edit": ("edit", "edits"),
}


def title(members: list[Atom], diff: Diff) -> str:
    """One sentence for a group of atoms."""
    first = members[0]
    if first.severity == "info":
        if first.known:
            return first.known.cause
        words = INFO.get(first.group, ("other difference", "other differences"))
        sentence = f"{len(members)} {words[len(members) > 1]}"
        if first.group != "works-now":
            return sentence
        topics = [topic_of(atom.name) for atom in members]
        places = dict.fromkeys(f"{found.family} on {found.subject}" for found in topics)
        return _with_names(sentence, list(places))
    if first.severity == "edit":
        noun, end = EDITS[first.group]
        return _with_names(f"{_count(members, noun)} {end}", [edit(atom) for atom in members])
    if first.kind == "stage":
        return _stage_title(members)
    if _told_by_cause(first):
        return _known_title(members, diff)
    if first.severity == "default":
        return _with_names(f"{_count(members, 'default')} changed", _default_names(members))
    return _measured_title(members)


def _default_names(members: list[Atom]) -> list[str]:
    """``bf16 False -> True (DPOConfig, SFTConfig)``: a default that several classes share is named once."""
    owners: dict[str, list[str]] = {}
    for atom in members:
        owner, _, argument = atom.name.partition(".")
        owners.setdefault(f"{argument} {value(atom.before)} -> {value(atom.after)}", []).append(owner)
    return [f"{change} ({', '.join(classes)})" for change, classes in owners.items()]


def _told_by_cause(atom: Atom) -> bool:
    """Whether the known change's own words say what happened; of options they do not name any."""
    return (
        atom.known is not None
        and not is_option(atom.name)
        and not (atom.severity == "default" and is_broad(atom))
    )


def is_broad(atom: Atom) -> bool:
    """Whether the known change names the whole class, so that its cause says nothing about this default."""
    return (
        atom.known is not None and atom.known.specificity(atom.name) <= len(atom.name.partition(".")[0]) + 1
    )


def _count(members: list[Atom], noun: str) -> str:
    return f"1 {noun}" if len(members) == 1 else f"{len(members)} {noun}s"


def _stage_title(members: list[Atom]) -> str:
    first = members[0]
    name = first.name.removeprefix("probe:")
    if first.group.startswith("fixed-"):
        return f"{name} failed before and passes now"
    words = (WRONG if first.severity == "wrong" else BROKEN).get(name)
    sentence = words or (f"{name} gives a wrong result" if first.severity == "wrong" else f"{name} fails")
    others = [atom.name.removeprefix("probe:") for atom in members[1:] if not atom.topic]
    sentence = f"{sentence} (also {', '.join(others)})" if others else sentence
    return f"{sentence}: {first.error.one_line}" if first.severity == "broken" and first.error else sentence


def _known_title(members: list[Atom], diff: Diff) -> str:
    known = members[0].known
    assert known is not None
    versions = diff.packages[known.package]
    undone = _release(versions[0]) > _release(versions[1])
    sentence = f"undone by going back: {known.cause}" if undone else known.cause
    if members[0].severity != "broken":
        return sentence
    errors = ", ".join(sorted({str(atom.after) for atom in members}))
    topics = dict.fromkeys(f"{atom.topic.family} on {atom.topic.subject}" for atom in members if atom.topic)
    return f"{', '.join(topics)} raises {errors}: {sentence}"


def _measured_title(members: list[Atom]) -> str:
    topic = members[0].headline
    assert topic is not None
    subjects = list(dict.fromkeys(atom.topic.subject for atom in members if atom.topic))
    if members[0].severity == "broken":
        errors = sorted({str(atom.after) for atom in members})
        return _with_names(f"{topic.family} raises {', '.join(errors)}", subjects)
    if members[0].severity == "wrong":
        return _with_names(_wrong_sentence(members[0], topic), subjects)
    sentence = SENTENCES[topic.quantity].format(family=topic.family)
    if topic.family in WITHOUT_TOKENS:
        sentence = sentence.removesuffix(SAME_TOKENS)
    return _with_names(sentence, subjects)


def _wrong_sentence(atom: Atom, topic: Topic) -> str:
    if atom.group == "nan":
        return f"{topic.family} gives NaN"
    if topic.subject == "gradient accumulation":
        return "gradient accumulation no longer gives the same training"
    if atom.group == "leak":
        return f"{', '.join(atom.after)} changes later runs of the same process"
    if atom.group == "no-effect":
        return f"options of {topic.family} are accepted and have no effect any more"
    if topic.quantity == OPTION:
        return SENTENCES[OPTION].format(family=topic.family)
    return RELATIONS.get(topic.family, f"{topic.family}: values that must be equal differ")


def _with_names(sentence: str, names: list[str]) -> str:
    listed = ", ".join(names[:LISTED])
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{sentence}: {listed}{more}"


def action(members: list[Atom], diff: Diff, options: str) -> str:
    """What to do about it, in one line; empty for what needs nothing."""
    first = members[0]
    if first.severity == "info":
        return ""
    if first.issue:
        return f"{first.issue.cause}; fixed by {first.issue.fix}"
    if first.known and first.known.action and _told_by_cause(first):
        return first.known.action
    if first.severity == "edit":
        return "edit the calls that you use"
    if first.severity == "default":
        old = dict.fromkeys(f"{atom.name.partition('.')[2]}={atom.before!r}" for atom in members)
        return f"to keep the old ones: {', '.join(list(old)[:LISTED])}"
    if first.known:
        return f"accept it, or stay on {first.known.package}<{first.known.since}"
    return _search(min(members, key=lambda atom: atom.weight), diff, options)


def _search(atom: Atom, diff: Diff, options: str) -> str:
    """The command that finds the release of something unexplained."""
    if atom.group.startswith("fixed-"):
        return "accept it: it passes now"
    likely = next((names for part, names in LIKELY.items() if part in f".{atom.name}"), LIKELY[""])
    moved = [name for name in likely if None not in diff.packages.get(name, (None,))]
    package = (moved or [name for name, pair in diff.packages.items() if None not in pair] or [""])[0]
    if not package:
        return ""
    before, after = diff.packages[package]
    aspect = f"--metric {atom.name}" if atom.kind == "fingerprint" else f"--stage {atom.name}"
    return f"{UNEXPLAINED}; find the release: tunematrix bisect {package} {before} {after} {aspect} {options}"


def edit(atom: Atom) -> str:
    """The edit that an atom asks for: ``DPOConfig(max_prompt_length=) is gone``."""
    if atom.kind == "call_site":
        return describe_edit_of(atom.name, atom.before, atom.after)
    if atom.kind == "default":
        owner, _, argument = atom.name.partition(".")
        return f"{owner}({argument}=)"
    if atom.kind == "fingerprint":
        return atom.topic.subject if atom.topic else atom.name
    if is_setting(atom.name):
        return split_setting(atom.name)[2]
    call, _, argument = atom.name.partition("(")
    name = f"{call}({argument.rstrip(')')}=)" if argument else call
    if atom.after == ABSENT:
        return name
    return f"{name} -> {atom.after}=" if argument else f"{name} -> {atom.after}"


def value(item: Any) -> str:
    text = repr(item) if isinstance(item, str) else str(item)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _release(version: str | None) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", str(version)))


def counted(counts: Mapping[str, int]) -> str:
    """How many findings there are of each severity above ``info``, worst first; empty if there is none."""
    return ", ".join(
        f"{number} {many if number > 1 else one}"
        for severity, (one, many) in COUNTED.items()
        if (number := counts.get(severity, 0))
    )
