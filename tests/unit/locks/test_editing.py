"""Edits of matrix.toml: every line that is not meant stays as it was, byte for byte."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.locks import table
from tunematrix.locks.editing import Edits, edit
from tunematrix.locks.table import Cell

TEXT = """\
# top
schema = 1 # c
baseline = "a"
[[cell]]
name = "a"   # first
[cell.pins] # pins
trl = "1.0"   # why

# about b
[[ cell ]]
"name" = "b"
why = '''
[[cell]]
'''
imported_from = "b.txt" # kept
[cell.pins]
transformers = "4.0"
trl = "1.0" # kept too
# the end
[policy]
since = 2025-01-01
"""
NEW = Cell(name="new", why='a "why"', as_of=datetime.date(2025, 1, 1), tags=("x",), pins={"trl": "2.0"})
ADDED = """[[cell]]
name = "new"
why = "a \\"why\\""
as_of = 2025-01-01
tags = ["x"]

[cell.pins]
trl = "2.0"
"""


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "matrix.toml"
    path.write_text(TEXT)
    return path


def test_a_cell_is_appended(path: Path) -> None:
    edit(path.parent, Edits(add=[(NEW, None)]))

    assert path.read_text() == f"{TEXT}\n{ADDED}"


def test_a_cell_is_inserted_above_the_comment_of_the_next(path: Path) -> None:
    edit(path.parent, Edits(add=[(NEW, "b")]))

    assert path.read_text() == TEXT.replace("# about b", f"{ADDED}\n# about b")


def test_a_cell_is_removed_and_its_comments_stay(path: Path) -> None:
    edit(path.parent, Edits(remove=["b"]))

    start, stop = TEXT.index("[[ cell"), TEXT.index("# the end")
    assert path.read_text() == TEXT[:start] + TEXT[stop:]


def test_the_pins_of_a_cell_are_replaced_in_place(path: Path) -> None:
    cell = table.load(path.parent).cell("b")
    changed = Cell(name="b", why=cell.why, imported_from="new.txt", pins={"trl": "1.1", "peft": "0.1"})

    edit(path.parent, Edits(replace=[changed]))

    expected = TEXT.replace('"b.txt"', '"new.txt"').replace('transformers = "4.0"\n', "")
    expected = expected.replace('trl = "1.0" # kept too', 'trl = "1.1" # kept too\npeft = "0.1"')
    assert path.read_text() == expected


@pytest.mark.parametrize("python", [None, "3.12"])
def test_only_another_python_than_the_default_is_written(path: Path, python: str | None) -> None:
    edit(path.parent, Edits(add=[(Cell(name="new", python=python or "3.11", pins={"trl": "1"}), None)]))

    assert ('python = "3.12"' in path.read_text()) == (python is not None)


def test_a_cell_gets_the_default_torch_when_it_is_read_again(path: Path) -> None:
    path.write_text(TEXT + '[defaults]\ntorch = "2.13.0"\n')

    edit(path.parent, Edits(add=[(NEW, "b")]))

    assert table.load(path.parent).cell("new").pins == {"torch": "2.13.0", "trl": "2.0"}


def test_line_ends_stay_and_new_lines_get_those_of_most(path: Path) -> None:
    windows = TEXT.replace("\n", "\r\n")
    mixed = windows.replace("\r\n", "\n", 2)
    for text in (windows, mixed):
        path.write_bytes(text.encode())
        edit(path.parent, Edits(add=[(NEW, None)]))
        assert path.read_bytes().decode() == text + f"\n{ADDED}".replace("\n", "\r\n")


def test_a_byte_order_mark_a_link_and_a_missing_last_line_end_are_no_obstacle(
    path: Path, tmp_path: Path
) -> None:
    real = tmp_path / "real.toml"
    real.write_bytes(b"\xef\xbb\xbf" + TEXT.strip().encode())
    path.unlink()
    path.symlink_to(real)

    edit(tmp_path, Edits(add=[(NEW, None)]))

    assert path.is_symlink()
    assert real.read_bytes().decode() == f"\ufeff{TEXT}\n{ADDED}"


@pytest.mark.parametrize(
    "text",
    [
        'schema = 1\ncell = [{name = "a", pins = {trl = "1.0"}}]\n',
        'schema = 1\ncell = [\n  {name = "a", pins = {trl = "1.0"}},\n]\n[defaults]\n',
    ],
)
def test_a_table_that_cannot_be_edited_stays_and_the_message_says_how_to_write_it(
    path: Path, text: str
) -> None:
    path.write_text(text)

    for edits in (Edits(add=[(NEW, None)]), Edits(add=[(NEW, "a")]), Edits(remove=["a"])):
        with pytest.raises(UsageError, match=r"write each cell as a table: \[\[cell\]\]"):
            edit(path.parent, edits)
    assert path.read_text() == text


def test_an_edit_that_would_make_the_table_wrong_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be edited"):
        edit(path.parent, Edits(remove=["a"]))  # the baseline
    assert path.read_text() == TEXT
