"""What is wrong with a stage of ``workload.toml``, found before anything is installed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from itertools import dropwhile
from pathlib import Path, PurePosixPath
from typing import Final

from tunematrix.base.errors import UsageError
from tunematrix.shared.repositories import LEFT_OUT
from tunematrix.shared.suggest import did_you_mean

PLACEHOLDERS: Final = ("model", "out")
PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
OUT: Final = "{out}"
ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
INTERPRETER: Final = re.compile(r"python[\d.]*|bash|sh")
SCRIPT: Final = (".py", ".sh")
# No shell runs a command, so what only a shell understands would be an argument of the program.
OPERATORS: Final = ";&|<>"
SHELL_VARIABLE: Final = re.compile(r"\$[A-Za-z_{(]|`")


def check_command(text: str, where: str) -> None:
    """Raise ``UsageError`` for a command line that no program would understand as it is meant."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error} in {text[:80]!r}") from None
    check_placeholders(text, where)
    if text and not list(dropwhile(ASSIGNMENT.fullmatch, words)):
        raise UsageError(f"{where}: {text[:80]!r} has no program; type what you type in a shell")
    for word in _unquoted(text):
        if set(word) <= set(OPERATORS):
            raise UsageError(
                f"{where}: {word!r} is for a shell, and none runs this; make each command a stage, "
                "or write bash -c '...'"
            )
        if found := SHELL_VARIABLE.search(word):
            name = word[found.start() :][:80]
            raise UsageError(f"{where}: {name!r} is for a shell, and none runs this; write the value itself")


def _unquoted(text: str) -> list[str]:
    """The words without quotes or escapes, and the operators of a shell between them."""
    lexer = shlex.shlex(text, posix=False, punctuation_chars=OPERATORS)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return [word for word in lexer if not set(word) & {"'", '"', "\\"}]
    except ValueError:  # an apostrophe within a word, which only the shell's rules allow
        return []


def check_placeholders(text: str, where: str) -> None:
    for name in PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            raise UsageError(f"{where}: {{{name}}}{did_you_mean(name, PLACEHOLDERS)}")


def check_kept(folders: Iterable[str], stage: str, where: str, kept: dict[str, str]) -> None:
    """Raise ``UsageError`` for a folder that is not in ``{out}``, or that another stage keeps too.

    ``kept`` are the folders of earlier stages, each with its stage; those of this one are added.
    """
    for folder in folders:
        check_placeholders(folder, where)
        path = PurePosixPath(folder)
        if path.parts[:1] != (OUT,) or len(path.parts) == 1 or ".." in path.parts or folder.count("{") > 1:
            raise UsageError(f"{where}: {folder[:80]!r} is no folder in {{out}}, such as '{{out}}/sft'")
        for other, owner in kept.items():
            if path.is_relative_to(other) or PurePosixPath(other).is_relative_to(path):
                raise UsageError(
                    f"{where}: {folder[:80]!r}: stage {owner} keeps {other!r} already; "
                    "let each stage write a folder of its own"
                )
        kept[str(path)] = stage


def check_after(after: Iterable[str], number: int, names: Sequence[str], where: str) -> None:
    """Raise ``UsageError`` unless the stage ``number`` of ``names`` is after stages that stand above it."""
    for other in after:
        if other in names[:number]:
            continue
        if other == names[number]:
            reason = "a stage cannot come after itself"
        elif other in names:
            reason = f"stage {other} stands below it; stages run from top to bottom, so put it above"
        else:
            reason = f"no earlier stage '{other}'{did_you_mean(other, names[:number])}"
        raise UsageError(f"{where}: {names[number]}: after: {reason}")


def check_program(command: str, folder: Path, where: str) -> None:
    """Raise ``UsageError`` for a script that is not in ``folder``, where people type the command."""
    words = list(dropwhile(ASSIGNMENT.fullmatch, shlex.split(command)))
    if INTERPRETER.fullmatch(PurePosixPath(words[0]).name):
        words = words[1:]
        if not words or words[0].startswith("-"):
            return
    elif not words[0].endswith(SCRIPT):
        return
    script = words[0]
    if "{" in script or "\0" in script:
        return
    if not (folder / script).is_file():
        raise UsageError(f"{where}: {script[:200]}: no such file in {folder.resolve()}")
    parts = PurePosixPath(os.path.normpath(script)).parts
    if parts[0] == "..":
        raise UsageError(f"{where}: {script[:200]} is outside of the folder, of which a cell gets a copy")
    hidden = [part for part in parts[:-1] if part in LEFT_OUT]
    if hidden and not os.path.isabs(script):  # noqa: PTH117  # of a text
        raise UsageError(
            f"{where}: {script[:200]}: a cell gets no folder called {hidden[0]}; move the script"
        )
