"""YAML without surprises: bounded depth, no recursive or multiplying aliases, no duplicate keys."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

from tunematrix.shared.reading import BAD_NUMBER, MAX_BITS, MAX_DEPTH

MAX_CHARACTERS: Final = 2**20  # PyYAML reads some 100 kB a second
MAX_EXPANDED_NODES: Final = 10_000  # with aliases; a file of more nodes without aliases is read
MERGE_TAG: Final = "tag:yaml.org,2002:merge"
QUOTED: Final = re.compile(r"'[^'<>]{2,}'|\"[^\"<>]{2,}\"")


def load(text: str, *, allow_nan: bool) -> Any:
    """The one document in ``text``; raises ``ValueError`` with line and column, without text of the file."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"larger than {MAX_CHARACTERS // 2**20} MB")
    try:
        return Loader(text, allow_nan=allow_nan).get_single_data()
    except yaml.MarkedYAMLError as error:
        raise ValueError(_describe(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"a character that is not allowed (line {line})") from None


def _describe(error: yaml.MarkedYAMLError) -> str:
    """What is wrong and where, without the names that PyYAML quotes: they are text of the file."""
    mark = error.problem_mark or error.context_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    context = f"{error.context}, " if error.context and isinstance(error, ComposerError) else ""
    return QUOTED.sub("'...'", f"{context}{error.problem or 'invalid'}") + place


class Loader(yaml.SafeLoader):
    """``yaml.SafeLoader`` with limits."""

    def __init__(self, text: str, *, allow_nan: bool) -> None:
        super().__init__(text)
        self.allow_nan = allow_nan
        self.depth = 0
        self.sizes: dict[int, int] = {}  # nodes in the expansion of a composed node, by id()

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's stubs
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ConstructorError(None, None, f"nested more than {MAX_DEPTH} levels deep", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if alias and id(node) not in self.sizes:
            raise ConstructorError(None, None, "an alias inside the value that it stands for", mark)
        if node is not None and not alias:
            self.sizes[id(node)] = self._expanded_size(node)
        return node

    def _expanded_size(self, node: Node) -> int:
        """The number of nodes if each alias is replaced by what it stands for."""
        children: list[Node] = []
        if isinstance(node, MappingNode):
            _check_keys(node)
            children = [item for pair in node.value for item in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        size = 1 + sum(self.sizes[id(child)] for child in children)
        # Every composed node has one entry in sizes, so a larger number comes from aliases alone.
        if size > max(MAX_EXPANDED_NODES, 1 + len(self.sizes)):
            raise ConstructorError(
                None, None, f"aliases that expand to more than {MAX_EXPANDED_NODES} values", node.start_mark
            )
        return size

    def construct_object(self, node: Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  # PyYAML's
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception:  # PyYAML's constructors raise what int(), date() and dict access raise
            kind = node.tag.rpartition(":")[2] if node.tag.startswith("tag:yaml.org,2002:") else "value"
            raise ConstructorError(None, None, f"not a valid {kind}", node.start_mark) from None
        infinite = isinstance(value, float) and not math.isfinite(value) and not self.allow_nan
        if infinite or (isinstance(value, int) and value.bit_length() > MAX_BITS):
            raise ConstructorError(None, None, BAD_NUMBER, node.start_mark)
        return value


def _check_keys(node: MappingNode) -> None:
    """Raise for a duplicate key, of which PyYAML would silently take the last value."""
    seen = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode) and key.tag != MERGE_TAG:
            if (key.tag, key.value) in seen:
                raise ConstructorError(None, None, "a duplicate key", key.start_mark)
            seen.add((key.tag, key.value))
