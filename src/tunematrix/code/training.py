"""The training programs of a repository: its scripts, and the commands of its Makefile that start them."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.code import arguments, commands, makefiles, stages
from tunematrix.code.arguments import OF_TRAINING, Argument
from tunematrix.code.stages import Program, Stage
from tunematrix.code.uses import python_files, uses_of
from tunematrix.run import project, scripts
from tunematrix.shared import reading
from tunematrix.shared.repos import TINY, is_repo_id

# The kind of training by the class that does it; what stands later starts from what stands earlier.
KINDS: Final = {"SFTTrainer": "sft", "Trainer": "train", "RewardTrainer": "reward", "DPOTrainer": "dpo"}
OTHER_KIND: Final = "train"
LONGEST: Final = 40  # characters of a stage's name
LEFT_OUT: Final = ("tests", "test", "docs", "examples")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The stages, and where a command of the team's is not taken as it is, a line each."""

    stages: tuple[Stage, ...]
    notes: tuple[str, ...] = ()


def find(folder: Path) -> Found:
    """A stage for each program that trains, those that others start from first.

    A script that a Makefile or a justfile starts gets the options that it has there, with another model,
    other outputs, and two steps.
    """
    programs = {program.name: program for program in _scripts(folder)}
    started, notes = _started(folder, programs)
    names = {program.name for program in started}
    found: list[Stage] = []
    order = list(KINDS.values())
    for program in sorted(
        [*(program for program in programs.values() if program.name not in names), *started],
        key=lambda each: order.index(each.kind if each.kind in order else OTHER_KIND),
    ):
        name = _free_name(program.kind, program.target or program.name, [stage.name for stage in found])
        found.append(stages.make(name, program, found, folder))
    return Found(stages=tuple(found), notes=tuple(notes))


def _started(folder: Path, programs: Mapping[str, Program]) -> tuple[list[Program], list[str]]:
    """The commands that train, those that do the same once; and what to tell of those that are left out."""
    try:
        lines = makefiles.read(folder)
    except reading.UnreadableError as error:
        return [], [f"{str(error).removeprefix(f'{folder}/')}; its commands are not taken"]
    found: dict[tuple[str, ...], Program] = {}
    notes = []
    roots = ("", *project.read(folder).roots)
    for line in lines:
        for start in commands.starts(line.text, programs, roots):
            program = dataclasses.replace(
                programs.get(start.program) or _of_trl(start.program),
                words=start.words,
                given=start.given,
                target=line.target,
            )
            words = tuple(stages.replaced_words(program))
            if reason := _refused(start, program):
                notes.append(f"{line.place}: not used, since {reason}; see the stage in {scripts.FILE}")
            else:
                found.setdefault(words, program)
                if start.launcher:
                    notes.append(
                        f"{line.place}: started without {start.launcher}: a stage is one process on a CPU"
                    )
    return list(found.values()), notes


def _refused(start: commands.Start, program: Program) -> str:
    """Why a command cannot be taken as it is; empty if it can."""
    if start.elsewhere:
        return "it runs in another folder"
    unknown = [word for word in stages.replaced_words(program) if commands.is_open(word)]
    return f"the file gives no value to {', '.join(unknown)}" if unknown else ""


def _of_trl(name: str) -> Program:
    """A command of trl's, such as ``trl sft``; its arguments are those that all of them have."""
    options = [
        Argument(flag=f"--{option}", required=False) for option in ("model_name_or_path", *OF_TRAINING)
    ]
    return Program(name=name, kind=name.split()[1], arguments=options, words=tuple(name.split()))


def _free_name(kind: str, file: str, names: Sequence[str]) -> str:
    """The kind, or with the file's name behind it, in the letters that the name of a stage may have."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(file).stem)
    name = f"{kind}-{stem}"[:LONGEST].strip("-").removesuffix(scripts.RESUME) if kind in names else kind
    numbered = (f"{name[: LONGEST - 3]}-{number}" for number in itertools.count(2))
    return name if name not in names else next(each for each in numbered if each not in names)


def _scripts(folder: Path) -> Iterator[Program]:
    """Each script that makes a trainer and is started as a program."""
    for path in python_files(folder):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] in LEFT_OUT:
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        made = [use.name.rpartition(".")[2] for use in uses_of(tree, name) if use.called and not use.argument]
        trainers = [each for each in made if each.endswith("Trainer")]
        if trainers and _is_program(tree):
            yield Program(
                name=name,
                kind=KINDS.get(trainers[0], OTHER_KIND),
                arguments=arguments.of_script(tree, made),
                words=("python", name),
            )


def _is_program(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body
    ) or any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) for node in tree.body)


def to_toml(stages: Sequence[Stage], folder: Path) -> str:
    """The content of a ``workload.toml`` for ``folder``."""
    lines = ["# What the cells run: docs/your-repository.md of tunematrix explains the keys."]
    lines += _model_lines(next((stage.model for stage in stages if stage.model), ""), folder)
    for stage in stages:
        lines += ["", "[[stage]]", f'name = "{stage.name}"']
        lines += [f'after = ["{stage.after}"]'] if stage.after else []
        lines += [f"# still to give: {' '.join(stage.open)}"] if stage.open else []
        lines += [f"run = {_quoted(stage.run)}"]
        lines += (
            [f"resume = {_quoted(stage.resume)}", f'keep = ["{{out}}/{stage.name}"]'] if stage.resume else []
        )
    return "\n".join(lines) + "\n"


def _model_lines(model: str, folder: Path) -> Iterator[str]:
    """A tiny model of the team's architecture; from the Hub only on request, since it needs a network."""
    path = Path(model)
    if model and not path.is_absolute() and (folder / path / "config.json").is_file():
        yield f"model = {_quoted(f'{TINY}./{path.as_posix()}')}"
    elif is_repo_id(model) and "/" in model:
        yield "# {model} is a small Llama; a tiny model of your architecture, if the Hub can be reached:"
        yield f"# model = {_quoted(f'{TINY}{model}')}"


def _quoted(text: str) -> Any:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
