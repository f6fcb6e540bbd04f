"""How somebody would start a training program for two steps, as a stage of a workload."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunematrix.code.arguments import MEANINGS, RESUME, Argument

DATA: Final = (".jsonl", ".json", ".csv", ".parquet")
PLAIN: Final = re.compile(r"[\w@%+=:,./{}-]+", re.ASCII)
CHECKPOINT: Final = re.compile(r"/checkpoint-\d+")
LAST_CHECKPOINT: Final = "/checkpoint-2"  # of two steps
FIXED: Final = ("{model}", "{out}", "2", "1")  # meanings whose value is the same for every script


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What trains: a script, or a command of trl's. ``words`` start it.

    ``given`` are the words behind them in a command of the team's, ``target`` what it is called there;
    ``given`` is None where no command is known.
    """

    name: str
    kind: str
    arguments: Sequence[Argument]
    words: tuple[str, ...]
    given: tuple[str, ...] | None = None
    target: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A program as a stage; ``open`` are required options for which nothing was found.

    ``model`` is the one that the script uses by itself: a repository of the Hub, or a folder. ``writes`` is
    the folder that the team's own command writes.
    """

    name: str
    run: str
    resume: str = ""
    after: str = ""
    open: tuple[str, ...] = ()
    model: str = ""
    writes: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A word of a command, or an option with its value: ``--model x`` or, with ``equals``, ``--model=x``."""

    flag: str = ""
    value: str = ""
    equals: bool = False

    @property
    def name(self) -> str:
        return Argument(flag=self.flag, required=False).name

    def words(self, value: str) -> list[str]:
        """The words with another value."""
        if self.equals:
            return [f"{self.flag}={value}"]
        return [word for word in (self.flag, value) if word]


def options(words: Sequence[str]) -> Iterator[Option]:
    """The options in the words of a command, and the words that belong to none."""
    left = list(words)
    while left:
        flag, equals, value = left.pop(0).partition("=")
        if not flag.startswith("--"):
            yield Option(value=f"{flag}{equals}{value}")
        elif equals or not left or left[0].startswith("-"):
            yield Option(flag=flag, value=value, equals=bool(equals))
        else:
            yield Option(flag=flag, value=left.pop(0))


def make(name: str, program: Program, earlier: Sequence[Stage], folder: Path) -> Stage:
    """The stage ``name`` of a program; it starts from what the ``earlier`` ones wrote."""
    words, passed, after = list(program.words), set[str](), ""
    for option in options(program.given or ()):
        passed.add(option.name)
        value, source = _replaced(option, name, earlier)
        after = source or after
        if option.name not in RESUME:
            words += option.words(value)
    open_ = []
    for argument in program.arguments:
        if argument.name in {*passed, *RESUME}:
            continue
        value = _value(argument, name, [stage.name for stage in earlier], folder)
        if program.given is not None and value not in (*FIXED, f"{{out}}/{name}"):
            continue  # the team's command does without it
        if value:
            words += [argument.flag, value] if argument.flag.startswith("-") else [value]
            after = earlier[-1].name if earlier and value == f"{{out}}/{earlier[-1].name}" else after
        elif argument.required:
            open_.append(argument.flag)
    return Stage(
        name=name,
        run=" ".join(map(_shell_word, words)),
        resume=_resume(name, program),
        after=after,
        open=tuple(open_),
        model=_model(program),
        writes=next(
            (each.value for each in options(program.given or ()) if _meaning(each.name) == "{out}"), ""
        ),
    )


def replaced_words(program: Program, earlier: Sequence[Stage] = ()) -> list[str]:
    """The words of the team's command that stay, with placeholders in place of the values that do not."""
    found = [
        word
        for option in options(program.given or ())
        if option.name not in RESUME
        for word in option.words(_replaced(option, "", earlier)[0])
    ]
    return [*program.words, *found]


def _replaced(option: Option, stage: str, earlier: Sequence[Stage]) -> tuple[str, str]:
    """The value of an option for a run of two steps, and the stage whose output it is, if it is one."""
    meaning = _meaning(option.name)
    if option.value and meaning == "{out}":
        return f"{{out}}/{stage}", ""
    path = posixpath.normpath(option.value)
    for each in reversed(earlier):
        own = posixpath.normpath(each.writes)
        if option.value and each.writes and (path == own or path.startswith(f"{own}/")):
            rest = CHECKPOINT.sub(LAST_CHECKPOINT, path.removeprefix(own))
            return f"{{out}}/{each.name}{rest}", each.name
    return (meaning if option.value and meaning in FIXED else option.value), ""


def _resume(name: str, program: Program) -> str:
    by_name = {argument.name: argument for argument in program.arguments}
    found = next((by_name[option] for option in by_name if option in RESUME), None)
    if found is None or not {"max_steps", "save_steps"} <= by_name.keys():
        return ""
    return f"{found.flag} {{out}}/{name}/checkpoint-1"


def _model(program: Program) -> str:
    """The model of the team's command, else the default of its script."""
    given = [each.value for each in options(program.given or ()) if _meaning(each.name) == "{model}"]
    defaults = [each.default for each in program.arguments if _meaning(each.name) == "{model}"]
    return next(iter([*given, *defaults]), "")


def _shell_word(word: str) -> str:
    """The word as it is typed; the braces of a placeholder need no quotes."""
    return word if PLAIN.fullmatch(word) else shlex.quote(word)


def _meaning(option: str) -> str:
    return next((value for value, names in MEANINGS.items() if option in names), "")


def _value(argument: Argument, stage: str, earlier: Sequence[str], folder: Path) -> str:
    """The value of an option for a run of two steps; empty if its default does, or if nothing was found."""
    meaning = _meaning(argument.name)
    if meaning == "{out}":
        return f"{{out}}/{stage}"
    if meaning == "adapter":
        return f"{{out}}/{earlier[-1]}" if earlier else ""
    if meaning == "data":
        return _data(folder, stage) if argument.required else ""
    return meaning


def _data(folder: Path, stage: str) -> str:
    """A data file whose name speaks of the stage, else the first there is."""
    words = {"sft": ("sft", "chat", "instruct", "train"), "dpo": ("dpo", "pair", "prefer")}.get(stage, ())
    found = [
        path.relative_to(folder).as_posix()
        for suffix in DATA
        for path in sorted(folder.glob(f"data*/**/*{suffix}"))
    ]
    named = [path for word in words for path in found if word in Path(path).name.lower()]
    return next(iter([*named, *found]), "")
