"""The mechanical edits: arguments that were renamed or are gone, and names that moved; formatting is kept."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from tunematrix.base.files import write_atomic


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


def changed(text: str, edits: Sequence[Edit]) -> str:
    """``text`` with the edits that can be made in it; the others leave no trace."""
    wrapper = MetadataWrapper(cst.parse_module(text))
    return wrapper.visit(_Editor(edits)).code


def apply(folder: Path, edits: Sequence[Edit]) -> Iterator[tuple[str, str]]:
    """Make ``edits`` in the files of ``folder``; yields each changed file and its unified diff."""
    for name in sorted({edit.file for edit in edits}):
        path = folder / name
        content = path.read_bytes()
        text = content.decode()
        new = changed(text, [edit for edit in edits if edit.file == name])
        if new != text:
            write_atomic(path, new)
            lines = difflib.unified_diff(text.splitlines(), new.splitlines(), name, name, lineterm="", n=0)
            yield name, "\n".join(lines)


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
