"""The options of a training script's command line, and what they are called that mean the same everywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tunematrix.code.reader import PARSERS

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """An option of a script's command line, such as ``--max_steps``."""

    flag: str
    required: bool
    default: str = ""

    @property
    def name(self) -> str:
        return self.flag.lstrip("-").replace("-", "_")


def of_script(tree: ast.Module, made: Sequence[str]) -> list[Argument]:
    """The options of a parsed script; ``made`` are the names of the classes of the stack that it makes."""
    return [*_of_argparse(tree), *_of_parser(tree, made)]


def _of_argparse(tree: ast.Module) -> Iterator[Argument]:
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


def _of_parser(tree: ast.Module, made: Sequence[str]) -> Iterator[Argument]:
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
