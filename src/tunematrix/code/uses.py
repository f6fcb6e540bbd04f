"""The names, calls and arguments of the stack that Python files use, read without running them."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunematrix.base.errors import UsageError

STACK: Final = (
    "transformers", "peft", "trl", "accelerate", "datasets", "huggingface_hub", "tokenizers", "safetensors",
)  # fmt: skip
LEFT_OUT: Final = (
    ".git", ".hg", ".venv", "venv", ".nox", ".tox", ".tunematrix", "node_modules", "results", "__pycache__",
    "site-packages", "build", "dist",
)  # fmt: skip
LONG: Final = 5  # sft, dpo, kto, grpo, rloo are acronyms; reward is none
MAX_BYTES: Final = 2_000_000  # of a file; larger ones are data
MAX_FILES: Final = 20_000


@dataclass(frozen=True, order=True, slots=True)
class Use:
    """One use of ``name``, such as ``trl.DPOConfig``, or of its argument ``argument``, at ``file``:``line``.

    ``called`` if it is called there.
    """

    file: str
    line: int
    name: str
    argument: str = ""
    called: bool = False

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """The uses in ``files`` Python files; ``unreadable`` are those that cannot be parsed, with the reason."""

    uses: tuple[Use, ...]
    files: int
    unreadable: tuple[str, ...] = ()


def read(path: Path) -> Code:
    """The uses in a Python file, or in all below a folder, environments and caches left out.

    Raises ``UsageError`` if there is nothing to read.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    root = path if path.is_dir() else path.parent
    uses: list[Use] = []
    unreadable: list[str] = []
    number = 0
    for file in python_files(path):
        name = file.relative_to(root).as_posix()
        number += 1
        try:
            uses += _uses(file.read_bytes(), name)
        except (SyntaxError, ValueError, RecursionError, OSError) as error:
            unreadable.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    if not number:
        raise UsageError(f"{path}: no Python file in it")
    return Code(uses=tuple(sorted(uses)), files=number, unreadable=tuple(unreadable))


def of_yaml(path: Path, command: str, root: Path) -> Iterator[Use]:
    """The keys of a configuration of trl's command line: of ``trl dpo``, the arguments of ``DPOConfig``."""
    owner = f"trl.{command.upper() if len(command) < LONG else command.capitalize()}Config"
    name = path.relative_to(root).as_posix()
    yield Use(name, 1, owner, called=True)
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if key := re.match(r"([A-Za-z]\w*)\s*:", line):
            yield Use(name, number, owner, key[1], called=True)


def python_files(path: Path) -> Iterator[Path]:
    """The Python files of a folder in the order of their names; no environments, caches and large files."""
    if path.is_file():
        yield path
        return
    found = 0
    for folder, folders, files in os.walk(path):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders if name not in LEFT_OUT and not (here / name / "pyvenv.cfg").is_file()
        )
        for name in sorted(files):
            file = here / name
            if name.endswith(".py") and file.is_file() and file.stat().st_size <= MAX_BYTES:
                found += 1
                if found > MAX_FILES:
                    raise UsageError(f"{path}: more than {MAX_FILES} Python files; name the folder of yours")
                yield file


def _uses(content: bytes, file: str) -> Iterable[Use]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in somebody's code
        tree = ast.parse(content)
    return uses_of(tree, file)


def uses_of(tree: ast.Module, file: str) -> Iterable[Use]:
    """The uses in a parsed file."""
    reader = _Reader(file)
    reader.visit(tree)
    return reader.uses


class _Reader(ast.NodeVisitor):
    """Follows imports, names of modules, and variables that hold what a class of the stack made."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.names: dict[str, str] = {}  # what a name in this file stands for
        self.mappings: dict[str, dict[str, int]] = {}  # keys of dictionaries, by variable, with their lines
        self.uses: set[Use] = set()

    def add(self, node: ast.AST, name: str, argument: str = "", *, called: bool = False) -> None:
        if name.partition(".")[0] in STACK:
            self.uses.add(Use(self.file, getattr(node, "lineno", 0), name, argument, called))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if top in STACK:
                self.names[alias.asname or top] = alias.name if alias.asname else top
                self.add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module or node.module.partition(".")[0] not in STACK:
            return
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self.names[alias.asname or alias.name] = name
            self.add(alias, name)

    def visit_Assign(self, node: ast.Assign) -> None:
        made = self.made(node.value)
        for target in node.targets:
            key = ast.unparse(target)
            if made:
                self.names[key] = made
            if (keys := _keys(node.value)) is not None:
                self.mappings[key] = keys
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if name := self.resolve(node):
            self.add(node, name)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if name := self.resolve(node.func):
            self.add(node, name, called=True)
            for keyword in node.keywords:
                if keyword.arg:
                    self.add(keyword, name, keyword.arg, called=True)
                else:
                    keys = _keys(keyword.value) or self.mappings.get(ast.unparse(keyword.value), {})
                    for key, line in keys.items():
                        self.uses.add(Use(self.file, line, name, key, called=True))
        self.generic_visit(node)

    def resolve(self, node: ast.AST) -> str | None:
        """The dotted name that an expression stands for: ``trl.DPOConfig``, ``trl.SFTTrainer.train``."""
        if isinstance(node, (ast.Name, ast.Attribute)) and (known := self.names.get(ast.unparse(node))):
            return known
        if isinstance(node, ast.Attribute) and (owner := self.resolve(node.value)):
            return f"{owner}.{node.attr}"
        return self.made(node)

    def made(self, node: ast.AST) -> str | None:
        """The class that a call makes an object of; a class method that loads one makes it too."""
        if not isinstance(node, ast.Call) or not (name := self.resolve(node.func)):
            return None
        owner, _, last = name.rpartition(".")
        if last == "get_peft_model":
            return "peft.PeftModel"
        if last == "from_pretrained":
            return owner
        return name if last[:1].isupper() else None


def _keys(node: ast.AST) -> dict[str, int] | None:
    """The keys of ``{"a": 1}`` or ``dict(a=1)``, with their lines; None for anything else."""
    if isinstance(node, ast.Dict):
        return {
            key.value: key.lineno
            for key in node.keys
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {keyword.arg: keyword.lineno for keyword in node.keywords if keyword.arg}
    return None
