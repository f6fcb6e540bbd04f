"""The training scripts of a repository, and how somebody would start each for two steps."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.code.reader import PARSERS
from tunematrix.code.uses import python_files, uses_of
from tunematrix.run import scripts
from tunematrix.shared.repos import TINY, is_repo_id

# The kind of training by the class that does it; what stands later starts from what stands earlier.
KINDS: Final = {"SFTTrainer": "sft", "Trainer": "train", "RewardTrainer": "reward", "DPOTrainer": "dpo"}
OTHER_KIND: Final = "train"
# What arguments are called that mean the same in every script; a value, or what has to be found for it.
MEANINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "{model}": ("model", "model_name", "model_name_or_path", "model_path", "model_id", "base_model"),
    "{out}": ("output", "output_dir", "out", "out_dir", "save_dir"),
    "adapter": ("adapter", "adapter_path", "adapter_dir", "adapter_name_or_path", "peft_model", "lora_path"),
    "data": ("data", "data_path", "data_file", "dataset", "dataset_path", "dataset_name", "train_file"),
    "2": ("max_steps",),
    "1": ("save_steps",),
}
# The options of the stack's own classes that two steps need, by the end of the class's name.
OF_TRAINING: Final = ("output_dir", "max_steps", "save_steps", "resume_from_checkpoint")
PARSED: Final[Mapping[str, tuple[str, ...]]] = {
    "ScriptArguments": ("dataset_name",),
    "ModelConfig": ("model_name_or_path",),
    "TrainingArguments": OF_TRAINING,
    **{f"{kind}Config": OF_TRAINING for kind in ("SFT", "DPO", "KTO", "GRPO", "RLOO", "Reward")},
}
FOUND: Final = ("dataset_name", "output_dir")  # without which they do not start
RESUME: Final = ("resume_from_checkpoint", "resume", "resume_from", "checkpoint")
DATA: Final = (".jsonl", ".json", ".csv", ".parquet")
LONGEST: Final = 40  # characters of a stage's name
PLAIN: Final = re.compile(r"[\w@%+=:,./{}-]+", re.ASCII)
LEFT_OUT: Final = ("tests", "test", "docs", "examples")


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """An option of a script's command line, such as ``--max_steps``."""

    flag: str
    required: bool
    default: str = ""

    @property
    def name(self) -> str:
        return self.flag.lstrip("-").replace("-", "_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A script as a stage; ``open`` are required options for which nothing was found.

    ``model`` is the one that the script uses by itself: a repository of the Hub, or a folder.
    """

    name: str
    run: str
    resume: str = ""
    after: str = ""
    open: tuple[str, ...] = ()
    model: str = ""


def find(folder: Path) -> list[Stage]:
    """A stage for each script that trains, those that others start from first."""
    found = sorted(_scripts(folder), key=lambda item: (list(KINDS.values()).index(item[1]), item[0]))
    stages: list[Stage] = []
    for file, kind, arguments in found:
        names = [stage.name for stage in stages]
        name = _free_name(kind, file, names)
        stages.append(_stage(name, file, arguments, names, folder))
    return stages


def _free_name(kind: str, file: str, names: Sequence[str]) -> str:
    """The kind, or with the file's name behind it, in the letters that the name of a stage may have."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(file).stem)
    name = f"{kind}-{stem}"[:LONGEST].strip("-").removesuffix(scripts.RESUME) if kind in names else kind
    numbered = (f"{name[: LONGEST - 3]}-{number}" for number in itertools.count(2))
    return name if name not in names else next(each for each in numbered if each not in names)


def _scripts(folder: Path) -> Iterator[tuple[str, str, list[Argument]]]:
    """Path, kind and options of each script that makes a trainer and is started as a program."""
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
            yield name, KINDS.get(trainers[0], OTHER_KIND), [*_arguments(tree), *_parsed(tree, made)]


def _is_program(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body
    ) or any(isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) for node in tree.body)


def _arguments(tree: ast.Module) -> Iterator[Argument]:
    """The options that ``argparse`` is given; positional arguments are required."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        values = [item.value for item in node.args if isinstance(item, ast.Constant)]
        flags = [value for value in values if isinstance(value, str)]
        if node.func.attr == "add_argument" and flags:
            required = any(
                keyword.arg == "required" and getattr(keyword.value, "value", False)
                for keyword in node.keywords
            )
            flag = next((flag for flag in flags if flag.startswith("--")), flags[0])
            defaults = [keyword.value for keyword in node.keywords if keyword.arg == "default"]
            yield Argument(
                flag=flag, required=required or not flag.startswith("-"), default=_text_of(*defaults)
            )


def _parsed(tree: ast.Module, made: Sequence[str]) -> Iterator[Argument]:
    """The options that a parser of the stack makes of its classes, and of the file's own."""
    if not any(name in PARSERS for name in made):
        return
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for owner, options in PARSED.items():
        if any(name.endswith(owner) for name in made):
            for option in options:
                if option not in RESUME or option in names:  # one that is not looked at does nothing
                    yield Argument(flag=f"--{option}", required=option in FOUND)
    for node in ast.walk(tree):
        for field in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                required = field.value is None or not _has_default(field.value)
                yield Argument(flag=f"--{field.target.id}", required=required, default=_text_of(field.value))


def _text_of(value: ast.expr | None = None) -> str:
    """The text that ``value`` is, or that ``field(default=...)`` has; empty for all else."""
    if isinstance(value, ast.Call):
        value = next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _has_default(value: ast.expr) -> bool:
    """Whether a field of a dataclass has one: ``field(metadata=...)`` has none."""
    is_field = isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field")
    keywords = value.keywords if isinstance(value, ast.Call) else []
    return not is_field or any((keyword.arg or "").startswith("default") for keyword in keywords)


def _stage(
    name: str, file: str, arguments: Sequence[Argument], earlier: Sequence[str], folder: Path
) -> Stage:
    words, open_, resume, after = ["python", file], [], "", ""
    for argument in arguments:
        value = _value(argument, name, earlier, folder)
        if argument.name in RESUME:
            resume = f"{argument.flag} {{out}}/{name}/checkpoint-1"
        elif value:
            words += [argument.flag, value] if argument.flag.startswith("-") else [value]
            after = earlier[-1] if value == f"{{out}}/{earlier[-1] if earlier else ''}" else after
        elif argument.required:
            open_.append(argument.flag)
    steps = {argument.name for argument in arguments}
    return Stage(
        name=name,
        run=" ".join(map(_shell_word, words)),
        resume=resume if {"max_steps", "save_steps"} <= steps else "",
        after=after,
        open=tuple(open_),
        model=next((each.default for each in arguments if each.name in MEANINGS["{model}"]), ""),
    )


def _shell_word(word: str) -> str:
    """The word as it is typed; the braces of a placeholder need no quotes."""
    return word if PLAIN.fullmatch(word) else shlex.quote(word)


def _value(argument: Argument, stage: str, earlier: Sequence[str], folder: Path) -> str:
    """The value of an option for a run of two steps; empty if its default does, or if nothing was found."""
    meaning = next((value for value, names in MEANINGS.items() if argument.name in names), "")
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
