"""The measures of the fingerprint: what a stack does with small, fixed inputs, as comparable numbers.

Each group of measures runs in one child process. A measure that raises records the type of its error
instead of its numbers, because that can be compared too; one that this stack has no feature for, the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures import (
    adapters,
    architectures,
    basics,
    calls,
    formats,
    preferences,
    relations,
    resumes,
    texts,
    trainers,
)
from tunematrix.harness.measures.lab import Lab, skip_repeated_work
from tunematrix.harness.measures.sweep import classes, further
from tunematrix.pipeline.trace import Trace

Measure = Callable[[Lab], None]

# What depends on the architecture is measured on both tiny models. Resuming and the handling of data depend
# only on the trainer, so one model is enough; for data it is the one with a chat template. The last of the
# losses may change the state of its process.
LOSSES: Final = (*basics.ALL, *preferences.LOSSES, *texts.LOSSES)
TINY_GROUPS: Final[Mapping[str, Mapping[str, tuple[Measure, ...]]]] = {
    "tiny-gpt2": {"losses": LOSSES, "resumes": resumes.ALL},
    "tiny-llama": {
        "losses": LOSSES,
        "kinds of data": (
            *texts.DATA_KINDS,
            *texts.USAGES,
            *preferences.DATA_KINDS,
            *preferences.USAGES,
        ),
    },
}
# What is measured by method, and not for a case that somebody met; ``--depth quick`` leaves it out. GPT-2 has
# its own attention and loss, so what rests on those is held on both.
GENERAL_GROUPS: Final[Mapping[str, Mapping[str, tuple[Measure, ...]]]] = {
    "tiny-llama": {
        **{measure.__name__.replace("_", " "): (measure,) for measure in classes.ALL},
        "relations": relations.ALL,
        "trainers": trainers.ALL,
        "calls": calls.ALL,
        "adapters and formats": (*adapters.ALL, *architectures.ALL, *formats.ALL),
    },
    "tiny-gpt2": {"relations": relations.OF_ARCHITECTURES},
}
DEEP_GROUPS: Final[Mapping[str, Mapping[str, tuple[Measure, ...]]]] = {
    "tiny-llama": {measure.__name__.replace("_", " "): (measure,) for measure in further.ALL}
}
GROUPS_BY_DEPTH: Final = {
    "quick": (TINY_GROUPS,),
    "full": (GENERAL_GROUPS, TINY_GROUPS),
    "deep": (DEEP_GROUPS, GENERAL_GROUPS, TINY_GROUPS),
}
# The chosen model may be of real size, so only cheap measures; the stages record its losses.
CHOSEN_MEASURES: Final = basics.CHEAP


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The measures of one child: their numbers' prefix, and the folders of a model and a tokenizer."""

    name: str
    prefix: str
    model: Path
    tokenizer: Path
    measures: tuple[Measure, ...]


def plan(tiny: Mapping[str, Path], chosen: Path | None, depth: str) -> list[Group]:
    """The groups to measure; ``depth`` is one of ``GROUPS_BY_DEPTH``.

    The chosen model's numbers have no prefix.

    The batches made from data depend only on the tokenizer, so the chosen one is measured with a tiny model.
    """
    groups = [
        Group(name=f"{name} {group}", prefix=name, model=path, tokenizer=path, measures=measures)
        for table in GROUPS_BY_DEPTH[depth]
        for name, path in tiny.items()
        for group, measures in table.get(name, {}).items()
    ]
    if chosen:
        groups.append(
            Group(name="model", prefix="", model=chosen, tokenizer=chosen, measures=CHOSEN_MEASURES)
        )
    if chosen and tiny:
        tiny_model = list(tiny.values())[-1]
        kinds = texts.DATA_KINDS
        groups.append(
            Group(name="kinds of data", prefix="", model=tiny_model, tokenizer=chosen, measures=kinds)
        )
    return groups


def make_work(group: Group, folder: Path) -> Callable[[Trace], None]:
    """All measures of ``group``, as work for one child."""

    def work(trace: Trace) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        skip_repeated_work()
        for measure in group.measures:
            lab = Lab(
                model=group.model,
                tokenizer=group.tokenizer,
                folder=folder,
                trace=trace,
                prefix=group.prefix,
                name=measure.__name__,
            )
            try:
                measure(lab)
            except Unavailable as reason:
                lab.add_number("unavailable", str(reason))
            except Exception as error:
                lab.add_number("error", type(error).__name__)
                print(f"{measure.__name__}: {type(error).__name__}: {error}")  # for people, in the cell's log

    return work
