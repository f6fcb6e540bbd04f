"""Which changes of the stack a team's own code meets, and where: all others are one counted line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.code import mentions
from tunematrix.code.edits import Edit
from tunematrix.code.reader import Use
from tunematrix.code.uses import Code
from tunematrix.shared.settings import COMMANDS, is_setting, split_setting
from tunematrix.verdict import prediction, releases
from tunematrix.verdict.diff import ABSENT, Diff
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.releases import Rung
from tunematrix.verdict.sentences import value

SURFACE: Final = ("default", "call_site", "signature")  # the kinds of change that code can meet
FIELD: Final = re.compile(r"[A-Z]\w*\.\w+")  # CLASS.OPTION of a configuration
TRAINS: Final = "without it, training changes"
PLACES: Final = 3  # named in one line


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Code that meets the change ``name``: ``text`` says what happens; an ``edit``, or another default.

    ``also`` are other names of the same change. ``trains`` if training changes without the argument;
    ``doubt`` says why a person has to make the edit.
    """

    name: str
    uses: tuple[Use, ...]
    text: str
    edit: bool
    after: Any = ABSENT
    also: tuple[str, ...] = ()
    trains: bool = False
    doubt: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also)

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(use.place for use in self.uses))

    @property
    def title(self) -> str:
        places = self.places
        more = f" and {len(places) - PLACES} more" if len(places) > PLACES else ""
        by_hand = f"; {self.doubt}: edit it by hand" if self.doubt else ""
        return f"{', '.join(places[:PLACES])}{more}: {self.text}{by_hand}"


def places(
    code: Code, changes: Mapping[str, tuple[Any, Any]], known: Mapping[str, tuple[Any, Any]] | None = None
) -> Iterator[Place]:
    """Where ``code`` meets the ``changes`` of names, arguments and defaults, in the order of the code.

    ``known`` are all changes that say what an option did, by default ``changes`` themselves.
    """
    known = changes if known is None else known
    found = [place for name, pair in changes.items() if (place := _place(code.uses, name, *pair))]
    gone = [name for name, (_, after) in changes.items() if is_setting(name) and after == ABSENT]
    found += _settings(code, gone)
    once = [_explain_removal(place, known) for place in _merged(found)]
    yield from sorted(once, key=lambda place: (not place.edit, place.uses[0]))


def _settings(code: Code, names: Sequence[str]) -> Iterator[Place]:
    """Where the repository names environment variables that are no longer read, or commands that are gone."""
    if code.path is None or not names:
        return
    settings = {name: split_setting(name) for name in names}
    met = list(mentions.find(code.path, {setting for _, _, setting in settings.values()}))
    for name, (package, kind, setting) in settings.items():
        end = "is gone from" if kind == COMMANDS else "is no longer read by"
        place = _made(name, [use for use in met if use.name == setting], f"{setting} {end} {package}")
        if place:
            yield place


def count_edits(places: Iterable[Place]) -> int:
    """How many places in the code are to be edited."""
    return len(
        {(use.place, use.column, use.argument) for place in places if place.edit for use in place.uses}
    )


def edits(places: Iterable[Place]) -> list[Edit]:
    """The mechanical edits: arguments that are gone or renamed, and names that moved to another module.

    Those for a person are among them, with the reason.
    """
    found: dict[tuple[str, int, int, str], Edit] = {}
    for place in places:
        for use in place.uses if place.edit else ():
            edit = _edit(place, use)
            key = (use.file, use.line, use.column, use.argument)
            if edit and (key not in found or found[key].new is None):  # a new name is better than none
                found[key] = edit
    return list(found.values())


def _edit(place: Place, use: Use) -> Edit | None:
    doubt = place.doubt or use.doubt
    if use.argument:
        new = place.after if _is_name(place.after) else None
        return Edit(use.file, use.line, use.argument, new, column=use.column, doubt=doubt)
    if isinstance(place.after, str) and "." in place.after:
        module, _, last = place.after.rpartition(".")
        if last == place.name.rpartition(".")[2]:
            return Edit(use.file, use.line, last, last, module, use.column, doubt)
    return None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _merged(places: Iterable[Place]) -> list[Place]:
    """Changes of one argument that code meets in the same places are one, told with its new name."""
    found: dict[tuple[str, tuple[Use, ...]], Place] = {}
    for place in places:
        key = (place.uses[0].argument or place.name, place.uses) if place.edit else (place.name, ())
        both = sorted((found.get(key, place), place), key=lambda each: not _is_name(each.after))
        also = (*both[0].also, *both[1].names) if key in found else ()
        found[key] = dataclasses.replace(both[0], also=also)
    return list(found.values())


def _explain_removal(place: Place, known: Mapping[str, tuple[Any, Any]]) -> Place:
    """Only a person can replace an option that did something, unless the workflow itself does without it."""
    gone = [name for name in place.names if FIELD.fullmatch(name)]
    if not place.edit or _is_name(place.after) or not any(_had_effect(name, known) for name in gone):
        return place
    calls = [f"{owner}({argument})" for owner, _, argument in (name.partition(".") for name in gone)]
    adapted = any(name.endswith(call) for name in known for call in calls)
    return dataclasses.replace(place, trains=True, doubt="" if adapted else TRAINS)


def _had_effect(option: str, known: Mapping[str, tuple[Any, Any]]) -> bool:
    """Whether a run with ``CLASS.OPTION`` did otherwise than one without it, before the option was gone."""
    return any(_is_effect(pair[0]) for name, pair in known.items() if name.endswith(f".sweep.{option}"))


def brought(option: str, rung: Rung) -> list[str]:
    """The options that came with the release in which CLASS.OPTION went, and that change training too."""
    owner = option.partition(".")[0]
    names = (
        name.partition(f".sweep.{owner}.")[2] for name, (_, new) in rung.changes.items() if _is_effect(new)
    )
    return [name for name in names if name and rung.changes.get(f"{owner}.{name}", ("",))[0] == ABSENT]


def _is_effect(effect: Any) -> bool:
    """A checksum stands for a longer result, which is one of effects."""
    if isinstance(effect, Mapping):
        return any(isinstance(each, Mapping) for each in effect.values())
    return isinstance(effect, str) and effect.startswith("#")


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
        if before == ABSENT or after is None or after == [before]:  # another spelling
            return None
        text = f"{owner}({argument}=) is not set: its default {value(before)} is now {value(after)}"
        return _made(name, _without(uses, owner, argument), text, edit=False)
    if before != "present" or is_setting(name):
        return None
    met = [use for use in uses if use.name == name or use.name.startswith(f"{name}.")]
    return _made(name, met, f"{name} is {'gone' if after == ABSENT else f'now {after}'}", after)


def _made(
    name: str, met: Iterable[Use], text: str, after: Any = ABSENT, *, edit: bool = True
) -> Place | None:
    once = {(use.place, use.column, use.argument): use for use in sorted(met)}
    uses = tuple(once.values())
    return Place(name=name, uses=uses, text=text, edit=edit, after=after) if uses else None


def _without(uses: Sequence[Use], owner: str, argument: str) -> list[Use]:
    """The calls that make an object of the class without the argument."""
    of_class = [use for use in uses if use.called and use.name.rpartition(".")[2] == owner]
    given = {(use.file, use.call) for use in of_class if use.argument == argument}
    return [use for use in of_class if not use.argument and (use.file, use.call) not in given]


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
    found = list(found)
    ours = [finding for finding in found if _is_of_code(finding, surface)]
    asked = {name: surface[name] for finding in ours for name in finding.fields}
    met = list(places(code, asked, known_effects(diff)))
    names = {name for place in met for name in place.names}
    kept: list[Finding] = []
    for finding in found:
        if finding in ours:
            kept += [_finding(finding, place) for place in met if place.name in finding.fields]
        else:
            kept.append(_explained(finding, [place for place in met if place.edit]))
    if unmet := len(asked.keys() - names):
        kept.append(Finding(id="info-unmet", severity="info", title=_unmet(unmet, code), fields=()))
    return tuple(kept)


def known_effects(diff: Diff) -> dict[str, tuple[Any, Any]]:
    """What options did, as measured here, or else on the ladder: a team's scripts do not try options."""
    own = {change.name: (change.before, change.after) for change in diff.changes}
    before, after = ({name: pair[side] or "" for name, pair in diff.packages.items()} for side in (0, 1))
    return {**prediction.net_changes(before, after, releases.load()), **own}


def _is_of_code(finding: Finding, surface: Mapping[str, Any]) -> bool:
    return finding.severity in ("edit", "default") and all(name in surface for name in finding.fields)


def _unmet(number: int, code: Code) -> str:
    title = f"{number} other names, arguments and defaults changed; your code does not meet them"
    if code.unreadable:
        title = f"{number} other names, arguments and defaults changed; what could be read does not meet them"
    return title


def _explained(finding: Finding, edits: Iterable[Place]) -> Finding:
    """A failure whose message names what an edit is about is mended by that edit."""
    if finding.severity != "broken":
        return finding
    for place in edits:
        named = place.uses[0].argument or place.name.rpartition(".")[2]
        if f"'{named}'" in finding.title:
            doubt = place.doubt or place.uses[0].doubt
            who = "by hand" if doubt else "as below; --fix does it"
            return dataclasses.replace(finding, action=f"edit {place.uses[0].place}, {who}")
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
        places=place.places,
    )
