"""Edits of a person's Python text: an argument renamed or gone, a name imported from its new module.

Only the characters of the argument and its comma change, and the result is parsed: it must be the old code
with the edits and nothing else.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

NEW_LINE: Final = re.compile(r"\r\n|\r|\n")
BETWEEN: Final = re.compile(r"(?:[ \t\f\r\n\\]|#[^\r\n]*)*")  # what may stand around an argument
REST_OF_LINE: Final = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n)")
MODULE: Final = re.compile(r"from[ \t]+([\w.]+)[ \t]+import\b")

Span = tuple[int, int]  # of characters


@dataclass(frozen=True, order=True, slots=True)
class Edit:
    """At ``line`` of ``file``: the argument, or the imported name, ``old`` becomes ``new``; it goes if None.

    ``module`` is the new module of a name that moved. ``column`` is in bytes, as ``ast`` counts. ``doubt``
    says why a person has to make the edit.
    """

    file: str
    line: int
    old: str
    new: str | None = None
    module: str = ""
    column: int = 0
    doubt: str = ""


class NotEditedError(ValueError):
    """The edits would change more than they name."""


def changed(text: str, edits: Sequence[Edit]) -> tuple[str, list[Edit]]:
    """``text`` with the edits that can be made in it, and those that are for a person.

    Raises ``NotEditedError``, and ``SyntaxError`` for what is no Python.
    """
    tree = _parsed(text)
    source = _Source(text)
    targets = dict(_targets(tree))
    left: list[Edit] = []
    steps: list[tuple[Span, Edit, _Target]] = []
    for edit in edits:
        target = targets.get((edit.line, edit.column))
        if target is None or target.name != edit.old:
            continue  # the code has changed since it was read
        if target.takes(edit):
            steps.append((source.span(target.node), edit, target))
        else:
            left.append(edit)
    for span, edit, target in reversed(_outermost(steps)):  # from the end: what is before keeps its place
        new = target.edited(text, span, edit, source)
        if new is None:
            left.append(edit)
            continue
        text = new
        target.mark(edit)
    if ast.dump(tree) != ast.dump(_parsed(text)):
        raise NotEditedError("the edits would change other code too")
    return text, left


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in somebody's code
        return ast.parse(text)


def _outermost(steps: Sequence[tuple[Span, Edit, _Target]]) -> list[tuple[Span, Edit, _Target]]:
    """The steps in their order in the text, without those in an argument that goes as a whole."""
    kept: list[tuple[Span, Edit, _Target]] = []
    gone = 0
    for step in sorted(steps, key=lambda step: step[0]):
        if step[0][0] >= gone:
            kept.append(step)
            gone = step[0][1] if step[1].new is None else gone
    return kept


@dataclass(frozen=True, slots=True)
class _Target:
    """A keyword argument of a call, or a name that an import names."""

    node: ast.keyword | ast.alias
    owner: ast.Call | ast.ImportFrom

    @property
    def name(self) -> str | None:
        return self.node.name if isinstance(self.node, ast.alias) else self.node.arg

    def takes(self, edit: Edit) -> bool:
        """Whether the edit is one of this place; a call that has the new name too is for a person."""
        if isinstance(self.owner, ast.ImportFrom):  # of several names, only a person knows which moved
            return bool(edit.module) and len(self.owner.names) == 1
        taken = edit.new is not None and any(each.arg == edit.new for each in self.owner.keywords)
        return not (edit.module or taken)

    def edited(self, text: str, span: Span, edit: Edit, source: _Source) -> str | None:
        start, end = span
        if isinstance(self.owner, ast.ImportFrom):
            found = MODULE.match(text, source.span(self.owner)[0])
            return f"{text[: found.start(1)]}{edit.module}{text[found.end(1) :]}" if found else None
        if not text.startswith(edit.old, start):  # spelt in other letters, which Python reads as the same
            return None
        if edit.new is not None:
            return f"{text[:start]}{edit.new}{text[start + len(edit.old) :]}"
        beside: list[ast.expr | ast.keyword] = [*self.owner.args, *self.owner.keywords]
        others = [source.span(each)[1] for each in beside]
        return _without(text, start, end, max((other for other in others if other <= start), default=None))

    def mark(self, edit: Edit) -> None:
        """Make the edit in the parsed code too."""
        if isinstance(self.owner, ast.ImportFrom):
            self.owner.module = edit.module
        elif isinstance(self.node, ast.keyword) and edit.new is None:
            self.owner.keywords.remove(self.node)
        elif isinstance(self.node, ast.keyword):
            self.node.arg = edit.new


def _targets(tree: ast.Module) -> Iterator[tuple[tuple[int, int], _Target]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                yield (keyword.lineno, keyword.col_offset), _Target(keyword, node)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield (alias.lineno, alias.col_offset), _Target(alias, node)


class _Source:
    """Where the characters of a parsed text are: ``ast`` counts lines, and bytes in them."""

    def __init__(self, text: str) -> None:
        starts = [0, *(found.end() for found in NEW_LINE.finditer(text))]
        self.lines = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
        self.starts = starts

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.alias) -> Span:
        end = self._offset(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
        return self._offset(node.lineno, node.col_offset), end

    def _offset(self, line: int, column: int) -> int:
        before = self.lines[line - 1].encode()[:column]
        return self.starts[line - 1] + len(before.decode(errors="ignore"))


def _without(text: str, start: int, end: int, previous: int | None) -> str:
    """``text`` without the argument from ``start`` to ``end``; ``previous`` is where the one before it ends.

    Comments of other arguments stay; one behind an argument that has lines of its own goes with it.
    """
    after = _past(text, end)
    comma = after if text.startswith(",", after) else None
    if lines := _own_lines(text, start, end, comma):
        return text[: lines[0]] + text[lines[1] :]
    last = comma is None or text.startswith(")", _past(text, comma + 1))
    if last and previous is not None and "#" not in (gap := text[previous:start]):
        head = text[: previous + gap.index(",")].rstrip()
        return head + text[end:]
    tail = text[end:]
    if comma is not None:
        between = text[end:comma]
        tail = (between if between.strip() else "") + text[comma + 1 :].lstrip(" \t")
    head = text[:start]
    return (head.rstrip(" \t") if NEW_LINE.match(tail) else head) + tail


def _past(text: str, start: int) -> int:
    """Where the next token starts."""
    found = BETWEEN.match(text, start)
    return found.end() if found else start


def _own_lines(text: str, start: int, end: int, comma: int | None) -> Span | None:
    """The lines of an argument that shares them with nothing but its comma and its comment."""
    first = max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1
    if text[first:start].strip() or (comma is not None and text[end:comma].strip(" \t")):
        return None
    rest = REST_OF_LINE.match(text, end if comma is None else comma + 1)
    return (first, rest.end()) if rest else None
