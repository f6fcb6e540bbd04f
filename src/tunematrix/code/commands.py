"""Command lines that people type to train: which script one starts, and with which words behind it."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

ENDS: Final = frozenset(";&|")
OPERATORS: Final = ";&|<>"
MOVES: Final = ("cd", "pushd")
ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
PYTHON: Final = re.compile(r"python[\d.]*")
SPREADS: Final = ("torchrun", "accelerate", "deepspeed", "torch.distributed.run", "torch.distributed.launch")
RUNS: Final = "run"  # uv run, poetry run, pdm run, hatch run
TRL: Final = ("sft", "dpo", "kto", "grpo", "rloo", "reward")
# What is not known before the command runs: variables and what other commands print.
OPEN: Final = re.compile(r"\$|`|\{\{|\{(?!model\}|out\})\w*\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A command that trains: ``program`` is the script's file, or ``trl sft``; ``given`` is what follows it.

    ``words`` start it in one process, also where a launcher (``launcher``) starts several.
    """

    program: str
    words: tuple[str, ...]
    given: tuple[str, ...]
    launcher: str = ""
    elsewhere: bool = False  # in another folder, after a ``cd``


def starts(text: str, files: Collection[str], roots: Sequence[str] = ("",)) -> Iterator[Start]:
    """The commands in a line for a shell that start one of ``files``, or a command of trl's.

    ``files`` are paths below the folder of the repository; ``roots`` are the folders of its modules there.
    """
    modules = {module: file for file in files for module in _modules(file, roots)}
    elsewhere = False
    for words in _simple_commands(text):
        elsewhere |= words[0].lstrip("(") in MOVES
        if found := _start(words, modules, set(files), elsewhere=elsewhere):
            yield found


def is_open(word: str) -> bool:
    """Whether a word of a command, or a part of it, stands for what is not known before it runs."""
    return bool(OPEN.search(word))


def _modules(file: str, roots: Sequence[str]) -> Iterator[str]:
    for root in roots:
        path = posixpath.relpath(file, root or ".")
        if not path.startswith(".."):
            yield path.removesuffix(".py").removesuffix("/__main__").replace("/", ".")


def _simple_commands(text: str) -> Iterator[list[str]]:
    """The commands between ``;``, ``&&`` and the like, as words, without what they redirect."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    redirected = False
    try:
        for word in (*lexer, ";"):
            if set(word) <= ENDS:
                if words:
                    yield words
                words, redirected = [], False
            elif word[:1] in "<>" and set(word) <= set(OPERATORS):
                redirected = True
                if words and words[-1].isdigit():  # the 2 of 2>&1
                    words.pop()
            elif not redirected:
                words.append(word)
    except ValueError:  # a quote that is not closed
        return


def _start(
    words: Sequence[str], modules: Mapping[str, str], files: set[str], *, elsewhere: bool
) -> Start | None:
    variables = tuple(takewhile(ASSIGNMENT.fullmatch, words))
    command = words[len(variables) :]
    for index, word in enumerate(command):
        before, after = command[:index], tuple(command[index + 1 :])
        start: tuple[str, ...]
        launcher = next((each for each in before if each in SPREADS), "")
        follows = after[0] if after else ""
        if word == "-m" and follows in modules and _is_run((*before, "python"), launcher):
            program, start, after = modules[follows], ("python", "-m", follows), after[1:]
        elif (file := posixpath.normpath(word)) in files and _is_run(before, launcher):
            program, start = file, ("python", file)
        elif Path(word).name == "trl" and follows in TRL:
            program, start, after = f"trl {follows}", ("trl", follows), after[1:]
        else:
            continue
        return Start(
            program=program,
            words=(*variables, *start),
            given=after,
            launcher=launcher,
            elsewhere=elsewhere,
        )
    return None


def _is_run(before: Sequence[str], launcher: str) -> bool:
    """Whether what stands before a script starts it, rather than checks or copies it."""
    if "-m" in before:  # another module gets the script as its argument
        return bool(launcher)
    return not before or bool(launcher) or before[-1] == RUNS or _has_python(before)


def _has_python(words: Sequence[str]) -> bool:
    return any(PYTHON.fullmatch(Path(word).name) for word in words)
