"""The mechanical edits: arguments that were renamed or are gone, and names that moved; formatting is kept."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

NOT_EDITED: Final = "not edited, make the edit by hand: "  # in place of a diff, with the reason


@dataclass(frozen=True, order=True, slots=True)
class Edit:
    """At ``line`` of ``file``: the argument, or the imported name, ``old`` becomes ``new``; it goes if None.

    ``module`` is the new module of a name that moved.
    """

    file: str
    line: int
    old: str
    new: str | None = None
    module: str = ""


def changed(content: str | bytes, edits: Sequence[Edit]) -> cst.Module:
    """The module ``content`` with the edits that can be made in it; the others leave no trace.

    Raises ``libcst.ParserSyntaxError`` or ``UnicodeDecodeError`` for what is not to be edited.
    """
    wrapper = MetadataWrapper(cst.parse_module(content))
    arguments = _Arguments()
    wrapper.visit(arguments)
    # Of two calls on a line with an argument of that name, only a person knows which is meant.
    sure = [edit for edit in edits if edit.module or arguments.found[edit.line, edit.old] <= 1]
    return wrapper.visit(_Editor(sure))


def apply(folder: Path, edits: Sequence[Edit]) -> Iterator[tuple[str, str]]:
    """Make ``edits`` in the files of ``folder``; yields each changed file and its unified diff.

    A file in which they cannot be made is left as it is, and says so in place of its diff.
    """
    for name in sorted({edit.file for edit in edits}):
        path = folder / name
        content = path.read_bytes()
        try:
            module = changed(content, [edit for edit in edits if edit.file == name])
        except (cst.ParserSyntaxError, UnicodeDecodeError, SyntaxError, RecursionError, MemoryError) as error:
            yield name, f"{NOT_EDITED}{type(error).__name__}"
            continue
        if module.bytes != content:
            _replace(path.resolve(), module.bytes)
            texts = content.decode(module.encoding).splitlines(), module.code.splitlines()
            yield name, "\n".join(difflib.unified_diff(*texts, name, name, lineterm="", n=0))


def _replace(path: Path, content: bytes) -> None:
    """Replace a person's file, byte for byte and with its mode; if the disk is full, the old one stays."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copymode(path, temporary)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


class _Arguments(cst.CSTVisitor):
    """How often a keyword argument stands on a line."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[tuple[int, str]] = Counter()

    def visit_Arg(self, node: cst.Arg) -> None:
        if node.keyword is not None:
            line = int(self.get_metadata(PositionProvider, node).start.line)
            self.found[line, node.keyword.value] += 1


class _Editor(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, edits: Sequence[Edit]) -> None:
        super().__init__()
        self.arguments = {(edit.line, edit.old): edit for edit in edits if not edit.module}
        self.imports = {(edit.line, edit.old): edit for edit in edits if edit.module}

    def _line(self, node: cst.CSTNode) -> int:
        return int(self.get_metadata(PositionProvider, node).start.line)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg | cst.RemovalSentinel:
        if original_node.keyword is None:
            return updated_node
        edit = self.arguments.get((self._line(original_node), original_node.keyword.value))
        if edit is None:
            return updated_node
        if edit.new is None:
            return cst.RemoveFromParent()
        return updated_node.with_changes(keyword=cst.Name(edit.new))

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """A call whose last argument is gone ends as it ended before, with its comma and its new line."""
        before, after = original_node.args, updated_node.args
        if len(after) < len(before) and after:
            last = after[-1].with_changes(
                comma=before[-1].comma, whitespace_after_arg=before[-1].whitespace_after_arg
            )
            return updated_node.with_changes(args=[*after[:-1], last])
        return updated_node

    def leave_ImportFrom(self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom) -> cst.ImportFrom:
        """Of an import of one name that moved, the module is the new one; of several, people decide."""
        if isinstance(original_node.names, cst.ImportStar) or len(original_node.names) != 1:
            return updated_node
        alias = original_node.names[0]
        edit = self.imports.get((self._line(original_node), str(alias.evaluated_name)))
        if edit is None:
            return updated_node
        return updated_node.with_changes(module=cst.parse_expression(edit.module))
