"""Edits of text change what they name and nothing else; comments and formatting of people are kept."""

from __future__ import annotations

import re

import pytest

from tunematrix.code.edits import Edit, changed


def edits_at(text: str, old: str, new: str | None = None, module: str = "") -> list[Edit]:
    """An edit at each place of ``old`` in ``text`` that is marked with ``!``."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for count, mark in enumerate(re.finditer("!", line)):
            column = len(line[: mark.start() - count].encode()) if not count else mark.start() - count
            found.append(Edit("x", number, old, new, module, column))
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("f(a=1, !b=2)  # why\n", "f(a=1)  # why\n"),
        ("f(!b=2, a=1)\n", "f(a=1)\n"),
        ("f(!b=2)\n", "f()\n"),
        ("f(a=1, !b=2,)\n", "f(a=1,)\n"),
        ("f(a=1, !b=2, c=3)\n", "f(a=1, c=3)\n"),
        ("f((1), !b=2)\n", "f((1))\n"),
        ("f(*a, !b=2, **c)\n", "f(*a, **c)\n"),
        ("f(\n    a=1,\n    !b=2,\n)\n", "f(\n    a=1,\n)\n"),
        ("f(\n    !b=2,\n    a=1,\n)\n", "f(\n    a=1,\n)\n"),
        ("f(\r\n    a=1,\r\n    !b=2,\r\n)\r\n", "f(\r\n    a=1,\r\n)\r\n"),
        ("f(a=1,\n  !b=2)\n", "f(a=1)\n"),
        ("f(a=1\n  , !b=2\n)\n", "f(a=1\n)\n"),
        ("f(a=1, !b=2,\n  c=3)\n", "f(a=1,\n  c=3)\n"),
        ("f(!b=2,\n  a=1)\n", "f(\n  a=1)\n"),
        ("f(!b=2); g(b=3)\n", "f(); g(b=3)\n"),
        ("f(a=g(b=1), !b=2)\n", "f(a=g(b=1))\n"),
        ("f(!b=g(!b=1), a=2)\n", "f(a=2)\n"),
        ("é = f('é', !b=2)\n", "é = f('é')\n"),
        ("x = f'{f(!b=2, a=1)}'\n", "x = f'{f(a=1)}'\n"),
        ("if 1:\n\tif 1:\n        \tf(!b=2)\n", "if 1:\n\tif 1:\n        \tf()\n"),
        ("f(!b=2)", "f()"),
    ],
)
def test_an_argument_goes_with_its_comma(before: str, after: str) -> None:
    edits = edits_at(before, "b")
    assert changed(before.replace("!", ""), edits) == (after, [])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "f(\n    a=1,  # measured\n    # prompts\n    !b=2,  # this one\n)\n",
            "f(\n    a=1,  # measured\n    # prompts\n)\n",
        ),
        ("f(\n    a=1,  # measured\n    !b=2)\n", "f(\n    a=1,  # measured\n    )\n"),
        ("f(\n    a=1,  # measured\n    !b=2\n)\n", "f(\n    a=1,  # measured\n)\n"),
        ("f(\n    a=1,\n    !b=2,\n    # the end\n)\n", "f(\n    a=1,\n    # the end\n)\n"),
        ("f(!b=2, # of b\n    a=1) # of f\n", "f(# of b\n    a=1) # of f\n"),
        ("f(!b=2 # of b\n  , a=1)\n", "f( # of b\n  a=1)\n"),
    ],
)
def test_comments_of_others_stay_where_they_are(before: str, after: str) -> None:
    """They once went with the last argument, or moved to another line."""
    assert changed(before.replace("!", ""), edits_at(before, "b")) == (after, [])


def test_names_change_where_they_are_meant() -> None:
    before = "f(!tokenizer = t); g(tokenizer=t)\n"
    assert changed(before.replace("!", ""), edits_at(before, "tokenizer", "processing_class")) == (
        "f(processing_class = t); g(tokenizer=t)\n",
        [],
    )
    moved = Edit("x", 1, "B", "B", "trl.b", 18)
    assert changed("from trl.a import B  # c\n", [moved]) == ("from trl.b import B  # c\n", [])


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("from trl.a import B, C\n", Edit("x", 1, "B", "B", "trl.b", 18)),
        ("f(tokenizer=t, processing_class=p)\n", Edit("x", 1, "tokenizer", "processing_class", column=2)),
    ],
)
def test_what_only_a_person_can_decide_is_left(text: str, edit: Edit) -> None:
    assert changed(text, [edit]) == (text, [edit])


def test_an_edit_of_code_that_has_changed_leaves_no_trace() -> None:
    assert changed("f(a=1)\n", [Edit("x", 1, "b", column=2), Edit("x", 9, "b")]) == ("f(a=1)\n", [])
