"""Which changes of the stack a team's own code meets, and where: all others are one counted line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.code.fix import Edit
from tunematrix.code.uses import Code, Use
from tunematrix.verdict.diff import ABSENT, Diff
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.sentences import value

SURFACE: Final = ("default", "call_site", "signature")  # the kinds of change that code can meet
FIELD: Final = re.compile(r"[A-Z]\w*\.\w+")  # CLASS.OPTION of a configuration
PLACES: Final = 3  # named in one line


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Code that meets the change ``name``: ``text`` says what happens; an ``edit``, or another default."""

    name: str
    uses: tuple[Use, ...]
    text: str
    edit: bool
    after: Any = ABSENT

    @property
    def title(self) -> str:
        places = list(dict.fromkeys(use.place for use in self.uses))
        more = f" and {len(places) - PLACES} more" if len(places) > PLACES else ""
        return f"{', '.join(places[:PLACES])}{more}: {self.text}"


def places(code: Code, changes: Mapping[str, tuple[Any, Any]]) -> Iterator[Place]:
    """Where ``code`` meets the ``changes`` of names, arguments and defaults, in the order of the code."""
    found = [place for name, pair in changes.items() if (place := _place(code.uses, name, *pair))]
    yield from sorted(found, key=lambda place: (not place.edit, place.uses[0]))


def edits(places: Iterable[Place]) -> list[Edit]:
    """The mechanical edits: arguments that are gone or renamed, and names that moved to another module."""
    found = []
    for place in places:
        if not place.edit:
            continue
        for use in place.uses:
            if use.argument:
                new = place.after if isinstance(place.after, str) and place.after.isidentifier() else None
                found.append(Edit(use.file, use.line, use.argument, new))
            elif isinstance(place.after, str) and "." in place.after:
                module, _, last = place.after.rpartition(".")
                if last == place.name.rpartition(".")[2]:
                    found.append(Edit(use.file, use.line, last, last, module))
    return found


def _place(uses: Sequence[Use], name: str, before: Any, after: Any) -> Place | None:
    if "(" in name:
        call, _, argument = name.rstrip(")").partition("(")
        met = [use for use in uses if use.argument == argument and same_call(use.name, call)]
        short = call.rpartition(".")[2]
        end = f"is now {after}=" if after and after != ABSENT else "is gone"
        return _made(name, met, f"{short}({argument}=) {end}", after) if after != before else None
    if FIELD.fullmatch(name):
        owner, _, argument = name.partition(".")
        if after == ABSENT:
            met = [use for use in uses if use.argument == argument and same_call(use.name, owner)]
            return _made(name, met, f"{owner}({argument}=) is gone")
        if before == ABSENT or after is None:
            return None
        text = f"{owner}({argument}=) is not set: its default {value(before)} is now {value(after)}"
        return _made(name, _without(uses, owner, argument), text, edit=False)
    if before != "present":
        return None
    met = [use for use in uses if use.name == name or use.name.startswith(f"{name}.")]
    return _made(name, met, f"{name} is {'gone' if after == ABSENT else f'now {after}'}", after)


def _made(
    name: str, met: Iterable[Use], text: str, after: Any = ABSENT, *, edit: bool = True
) -> Place | None:
    uses = tuple(sorted(met))
    return Place(name=name, uses=uses, text=text, edit=edit, after=after) if uses else None


def _without(uses: Sequence[Use], owner: str, argument: str) -> list[Use]:
    """Where the class is made without the argument."""
    of_class = [use for use in uses if use.called and use.name.rpartition(".")[2] == owner]
    given = {(use.file, use.name) for use in of_class if use.argument == argument}
    return [use for use in of_class if not use.argument and (use.file, use.name) not in given]


def same_call(used: str, changed: str) -> bool:
    """Whether code that calls ``used`` calls ``changed``: the same, or what it inherits from that class."""
    if used == changed or used.rpartition(".")[2] == changed:
        return True
    mine, theirs = used.split("."), changed.split(".")
    if theirs[-1][:1].isupper():  # a class
        return mine[-1] == theirs[-1] or theirs[-1] in bases(mine[-1])
    if mine[-1] != theirs[-1]:
        return False
    return len(theirs) < 3 or len(mine) < 3 or theirs[-2] in (mine[-2], *bases(mine[-2]))


def bases(name: str) -> tuple[str, ...]:
    """The classes of transformers that a class of the stack extends, as its name says."""
    if name.endswith("Trainer") and name != "Trainer":
        return ("Trainer",)
    if name.endswith("Config") and name not in ("LoraConfig", "GenerationConfig", "ModelConfig"):
        return ("TrainingArguments",)
    if "Tokenizer" in name:
        return ("PreTrainedTokenizerBase", "AutoTokenizer")
    if name.startswith(("AutoModel", "PeftModel")) or name.endswith(("ForCausalLM", "LMHeadModel")):
        return ("PreTrainedModel", "GenerationMixin", "PeftModel")
    return ()


def narrow(found: Iterable[Finding], diff: Diff, code: Code) -> tuple[Finding, ...]:
    """``found`` with one finding for each change that the code meets, and one for all others.

    Findings about anything but names, arguments and defaults stay as they are.
    """
    surface = {
        change.name: (change.before, change.after) for change in diff.changes if change.kind in SURFACE
    }
    kept: list[Finding] = []
    edits: list[Place] = []
    unmet = 0
    for finding in found:
        if finding.severity not in ("edit", "default") or not all(name in surface for name in finding.fields):
            kept.append(finding)
            continue
        met = list(places(code, {name: surface[name] for name in finding.fields}))
        edits += [place for place in met if place.edit]
        unmet += len(finding.fields) - len(met)
        kept += [_finding(finding, place) for place in met]
    kept = [_explained(finding, edits) for finding in kept]
    if unmet:
        title = f"{unmet} other names, arguments and defaults changed; your code does not meet them"
        kept.append(Finding(id="info-unmet", severity="info", title=title, fields=()))
    return tuple(kept)


def _explained(finding: Finding, edits: Iterable[Place]) -> Finding:
    """A failure whose message names what an edit is about is mended by that edit."""
    if finding.severity != "broken":
        return finding
    for place in edits:
        named = place.uses[0].argument or place.name.rpartition(".")[2]
        if f"'{named}'" in finding.title:
            return dataclasses.replace(finding, action=f"edit {place.uses[0].place}, as below; --fix does it")
    return finding


def _finding(finding: Finding, place: Place) -> Finding:
    name = re.sub(r"[^a-z0-9]+", "-", place.name.lower()).strip("-")
    return dataclasses.replace(
        finding,
        id=f"{'edit' if place.edit else 'default'}-{name}"[:60],
        severity="edit" if place.edit else "default",
        title=place.title,
        fields=(place.name,),
        evidence=(),
        action="" if place.edit else finding.action,
    )
