"""The command lines in a team's Makefile or justfile, with the variables to which the file gives a value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tunematrix.shared import reading

MAKEFILES: Final = ("GNUmakefile", "makefile", "Makefile")  # make reads the first of them
JUSTFILES: Final = ("justfile", "Justfile", ".justfile")
CONTINUED: Final = re.compile(r"(?<![ \t])[ \t]*+\\\n[ \t]*")
PREFIX: Final = "@-+ \t"  # of a recipe's line: how make runs it
ASSIGNMENT: Final = re.compile(r"(?:(?:export|override)\s+)*([\w.-]+)\s*(:{0,3}=|\?=|\+=|!=)\s*(.*)")
RULE: Final = re.compile(r"([^\s:=#][^:=#]*+)::?(?!=)([^;]*+)(?:;(.*))?")
CONDITION: Final = re.compile(r"\s*(ifn?eq|ifn?def|endif)\b")
VARIABLE: Final = re.compile(r"\$(\$)|\$\(([\w.-]+)\)|\$\{([\w.-]+)\}")
# make runs there, and so do the stages of a workload.
BUILT_IN: Final = {"CURDIR": ".", "PWD": "."}
JUST_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?([\w-]+)\s*(:=)\s*(.*)")
JUST_RULE: Final = re.compile(r"@?([\w-]++)()[^:=]*+(?:=[^:]*+)?:(?!=).*()")
JUST_VARIABLE: Final = re.compile(r"(?!)()|\{\{\s*([\w-]+)\s*\}\}()")
QUOTED: Final = re.compile(r"\"([^\"\\]*)\"|'([^']*)'")
MAX_LENGTH: Final = 10_000  # characters that a variable may stand for: each can hold others twice
MAX_VARIABLES: Final = 1_000  # in one line
MAX_DEPTH: Final = 50  # of variables in variables


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A line of the recipe of ``target``; what has no value in the file stays as it is written there."""

    file: str
    line: int
    target: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line} ({self.target})"


def read(folder: Path) -> list[Command]:
    """The command lines of the Makefile and of the justfile at the top of ``folder``, in their order.

    Raises ``UnreadableError`` for a file that is too large or no text.
    """
    found: list[Command] = []
    for names, just in ((MAKEFILES, False), (JUSTFILES, True)):
        if name := next((name for name in names if (folder / name).is_file()), ""):
            reader = _Reader(name, just=just)
            reader.read(reading.read_text(folder / name))
            found += reader.commands()
    return found


@dataclass(slots=True)
class _Reader:
    """Variables have their last value, as in a recipe, which runs when all of the file is read."""

    file: str
    just: bool = field(kw_only=True)
    values: dict[str, str | None] = field(default_factory=lambda: dict(BUILT_IN))  # None: not known
    lines: list[tuple[int, str, str]] = field(default_factory=list)  # number, target, text of a recipe
    known: dict[str, str | None] = field(default_factory=dict)  # variables with all in them replaced

    def read(self, text: str) -> None:
        target, conditions, defines = "", 0, False
        for number, line in _logical_lines(text):
            if defines or line.startswith("define "):
                defines = not line.startswith("endef")
            elif found := CONDITION.match(line):
                conditions += -1 if found[1] == "endif" else 1
            elif target and line[:1] in ("\t", *(" " if self.just else "")):
                self.lines.append((number, target, line.lstrip(PREFIX)))
            elif found := (JUST_ASSIGNMENT if self.just else ASSIGNMENT).fullmatch(_uncommented(line)):
                self.assign(found[1], found[2], found[3].strip(), conditional=conditions > 0)
            elif found := (JUST_RULE if self.just else RULE).fullmatch(_uncommented(line)):
                target = found[1].strip()
                if own := ASSIGNMENT.fullmatch(found[2].strip()):  # for this target alone
                    self.assign(own[1], own[2], own[3], conditional=True)
                elif found[3]:
                    self.lines.append((number, target, found[3].lstrip(PREFIX)))

    def assign(self, name: str, sign: str, value: str, *, conditional: bool) -> None:
        if self.just:
            found = QUOTED.fullmatch(value)
            self.values[name] = (found[1] or found[2] or "") if found else None
        elif conditional or sign == "!=":
            self.values[name] = None
        elif sign == "+=" and (before := self.values.get(name, "")) is not None:
            self.values[name] = f"{before} {value}".strip()
        elif sign != "+=" and not (sign == "?=" and name in self.values):
            self.values[name] = value

    def commands(self) -> Iterator[Command]:
        for number, target, text in self.lines:
            yield Command(file=self.file, line=number, target=target, text=self.expanded(text))

    def expanded(self, text: str, above: tuple[str, ...] = ()) -> str:
        def value_of(found: re.Match[str]) -> str:
            name = found[2] or found[3]
            if found[1]:
                return "$"
            value = None if name in above or len(above) > MAX_DEPTH else self.value(name, above)
            return found[0] if value is None else value

        pattern = JUST_VARIABLE if self.just else VARIABLE
        return pattern.sub(value_of, text) if text.count("$") + text.count("{{") <= MAX_VARIABLES else text

    def value(self, name: str, above: tuple[str, ...]) -> str | None:
        """What a variable stands for; None if that is not known, or too long."""
        if name not in self.known:
            value = self.values.get(name)
            value = None if value is None else self.expanded(value, (*above, name))
            self.known[name] = value if value is None or len(value) <= MAX_LENGTH else None
        return self.known[name]


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; one that ends in a backslash goes on in the next."""
    number = 1
    for line in re.split(r"(?<!\\)\n", text.replace("\r\n", "\n")):
        yield number, CONTINUED.sub(" ", line)
        number += line.count("\n") + 1


def _uncommented(line: str) -> str:
    return re.sub(r"(?:^|(?<=\s))#.*", "", line).rstrip()
