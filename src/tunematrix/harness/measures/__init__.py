"""The fingerprint: what a stack does with small, fixed inputs, as numbers that two records can compare.

Each group of measures runs in a child of its own. A measure that raises tells the type of its error
instead of its numbers: also that is something to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunematrix.harness.measures import basics, preferences, resumes, texts
from tunematrix.harness.measures.lab import Lab
from tunematrix.pipeline.trace import Trace

Measure = Callable[[Lab], None]

# What depends on the architecture is measured on both tiny models. A resume is the trainer's, and so is
# handling of data, for which one of them has a chat template. The last of the losses may change the state
# of its process.
LOSSES: Final = (*basics.ALL, *preferences.LOSSES, *texts.LOSSES)
TINY: Final[Mapping[str, Mapping[str, tuple[Measure, ...]]]] = {
    "tiny-gpt2": {"losses": LOSSES, "resumes": resumes.ALL},
    "tiny-llama": {
        "losses": LOSSES,
        "kinds of data": (*texts.KINDS, *texts.HABITS, *preferences.KINDS, *preferences.HABITS),
    },
}
# Of a model of real size: what it costs little to see. Its losses are those of the stages.
CHOSEN: Final = basics.CHEAP


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The measures of one child: their numbers' prefix, a model, and the folder of its tokenizer."""

    name: str
    prefix: str
    model: Path
    words: Path
    measures: tuple[Measure, ...]


def plan(tiny: Mapping[str, Path], chosen: Path | None) -> list[Group]:
    """What to measure; the chosen model's numbers have no prefix.

    What becomes of data depends on the tokenizer alone, so the chosen one's is tried with a tiny model.
    """
    found = [
        Group(name=f"{name} {kind}", prefix=name, model=path, words=path, measures=measures)
        for name, path in tiny.items()
        for kind, measures in TINY.get(name, {}).items()
    ]
    if chosen:
        found.append(Group(name="model", prefix="", model=chosen, words=chosen, measures=CHOSEN))
    if chosen and tiny:
        stand_in = list(tiny.values())[-1]
        found.append(
            Group(name="kinds of data", prefix="", model=stand_in, words=chosen, measures=texts.KINDS)
        )
    return found


def work(group: Group, folder: Path) -> Callable[[Trace], None]:
    """All measures of ``group``, as work for one child."""

    def measured(trace: Trace) -> None:
        folder.mkdir(parents=True)
        for measure in group.measures:
            lab = Lab(
                model=group.model,
                words=group.words,
                folder=folder,
                trace=trace,
                prefix=group.prefix,
                name=measure.__name__,
            )
            try:
                measure(lab)
            except Exception as error:
                lab.number("error", type(error).__name__)

    return measured
