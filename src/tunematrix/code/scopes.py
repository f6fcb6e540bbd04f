"""What names stand for in a file, by scope: something of the stack, or something else that hides it."""

from __future__ import annotations

import ast
import dataclasses
from dataclasses import dataclass
from typing import Final

OBJECT: Final = ("self", "cls")  # what methods call their object: its attributes belong to the class
OTHER_MEANING: Final = "its name stands for something else too"
Block = tuple[int, ...]  # the lines of the conditional blocks around a statement, the outermost first


@dataclass(frozen=True, slots=True)
class Meaning:
    """The dotted name in the stack that a name stands for, empty for anything else.

    ``doubt`` says why it may be something else. Of a class in the file that extends one of the stack,
    ``defined`` is its line and column, and ``own`` are the arguments that it takes itself.
    """

    name: str
    doubt: str = ""
    defined: tuple[int, int] | None = None
    own: frozenset[str] = frozenset()

    def attribute(self, name: str) -> Meaning:
        return dataclasses.replace(self, name=f"{self.name}.{name}")


ELSE: Final = Meaning("")


class Scope:
    """The names that a module, a class, a function or a comprehension binds."""

    def __init__(self, kind: str, parent: Scope | None = None) -> None:
        self.kind = kind
        self.parent = parent
        self.names: dict[str, tuple[Meaning, Block]] = {}
        self.mappings: dict[str, list[ast.AST]] = {}  # keys of dictionaries, by variable

    def bind(self, key: str, meaning: Meaning, block: Block = ()) -> None:
        """From here on ``key`` stands for ``meaning``; bound in another branch, it may stand for either."""
        scope = self._home(key)
        old, where = scope.names.get(key, (meaning, ()))
        if where[: len(block)] != block and old.name != meaning.name:
            meaning = Meaning(meaning.name or old.name, OTHER_MEANING)
        scope.names[key] = meaning, block
        scope.mappings.pop(key, None)

    def bind_mapping(self, key: str, keys: list[ast.AST]) -> None:
        self._home(key).mappings[key] = keys

    def find(self, key: str) -> Meaning | None:
        """What ``key``, such as ``trl`` or ``self.trainer``, stands for; None if no scope binds it."""
        scope = self._binding(key)
        return scope.names[key][0] if scope and key in scope.names else None

    def find_mapping(self, key: str) -> list[ast.AST]:
        scope = self._binding(key)
        return scope.mappings.get(key, []) if scope else []

    def _home(self, key: str) -> Scope:
        """The scope that a binding of ``key`` belongs to."""
        root, dot, _ = key.partition(".")
        return (self._class() if dot and root in OBJECT else None) or self

    def _class(self) -> Scope | None:
        scope: Scope | None = self
        while scope and scope.kind != "class":
            scope = scope.parent
        return scope

    def _binding(self, key: str) -> Scope | None:
        """The innermost scope that binds ``key``, or the name that it starts with.

        Names in a class are not seen by its methods.
        """
        root = key.partition(".")[0]
        if root in OBJECT and root != key:
            return self._home(key)
        scope: Scope | None = self
        while scope:
            visible = scope is self or scope.kind != "class"
            if visible and (key in scope.names or root in scope.names):
                return scope
            scope = scope.parent
        return None


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or an attribute of one; empty for other expressions."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def mapping_keys(node: ast.AST) -> list[ast.AST] | None:
    """The keys of ``{"a": 1}``, constants, or of ``dict(a=1)``, keywords; None for anything else."""
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if isinstance(key, ast.Constant)]
        return [key for key in keys if isinstance(key.value, str)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return [keyword for keyword in node.keywords if keyword.arg]
    return None
