"""``matrix.toml``: reading it, and the errors for mistakes in it."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.locks import table

GOOD = """
schema = 1
baseline = "old"
[defaults]
python = "3.12"
torch = "2.13.0"
[[cell]]
name = "old"
why = "first"
as_of = 2024-12-10
tags = ["smoke"]
[cell.pins]
Transformers = "4.46.3"
trl = "0.12.2"
[[cell]]
name = "new"
torch = "2.14.0"
[cell.pins]
trl = "1.0.0"
"""


def load(tmp_path: Path, text: str) -> table.Matrix:
    (tmp_path / "matrix.toml").write_text(text)
    return table.load(tmp_path)


@pytest.mark.parametrize("key", ["as_of = 2026-01-01", 'imported_from = "b.txt"'])
def test_a_cell_over_another_is_resolved_today(key: str, tmp_path: Path) -> None:
    cell = '[[cell]]\nname = "{}"\n{}\n[cell.pins]\ntrl = "1.0"\n'
    text = "schema = 1\n" + cell.format("ours", 'imported_from = "a.txt"')
    assert load(tmp_path, text + cell.format("ahead", 'over = "ours"')).cell("ahead").over == "ours"
    with pytest.raises(UsageError, match="ahead: over: goes neither with imported_from nor with as_of"):
        load(tmp_path, text + cell.format("ahead", f'over = "ours"\n{key}'))


def test_cells_keep_their_order_and_get_the_defaults(tmp_path: Path) -> None:
    matrix = load(tmp_path, GOOD)

    assert matrix.baseline == "old"
    assert matrix.cells == (
        table.Cell(
            name="old",
            why="first",
            python="3.12",
            pins={"torch": "2.13.0", "transformers": "4.46.3", "trl": "0.12.2"},
            as_of=datetime.date(2024, 12, 10),
            tags=("smoke",),
        ),
        table.Cell(name="new", python="3.12", pins={"torch": "2.14.0", "trl": "1.0.0"}),
    )
    assert matrix.lock_path(matrix.cell("new")) == tmp_path / "new.txt"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("schema = 1", "schema = 2", "schema is 2; this release reads schema = 1"),
        ('baseline = "old"', 'baseline = "odl"', "baseline: no cell 'odl'; did you mean 'old'?"),
        ('tags = ["smoke"]', 'tag = ["smoke"]', "[[cell]] old: unknown key 'tag'; did you mean 'tags'?"),
        ('tags = ["smoke"]', 'tags = "smoke"', "[[cell]] old: tags: must be a list"),
        ("as_of = 2024-12-10", 'as_of = "today"', "as_of: must be a day such as 2024-12-10"),
        ('python = "3.12"', "python = 3.12", "[defaults]: python: must be text"),
        ('trl = "0.12.2"', 'trl = ">=0.12"', "pins.trl: '>=0.12' is not a version, such as '4.57.6'"),
        ('trl = "0.12.2"', "trl = 0.12", "pins.trl: 0.12 is not a version"),
        ('name = "new"', 'name = "old"', "the name 'old' is used twice"),
        ('name = "new"', 'name = "a/b"', "the name 'a/b' must consist of letters, digits, dots and dashes"),
        ('name = "new"', 'why = ""', "the name None must consist of letters"),
        (
            'name = "new"',
            'name = "new"\nover = "old"',
            "new: over: no other cell with an imported lock 'old'",
        ),
        (
            'name = "new"',
            'name = "new"\nover = "new"',
            "new: over: no other cell with an imported lock 'new'",
        ),
        ("[defaults]", "[default]", "unknown key 'default'; did you mean 'defaults'?"),
        ("schema = 1", "schema = ", "not TOML"),
        ("schema = 1", "schema = 2\nfuture = 1", "schema is 2; this release reads schema = 1"),
        ("schema = 1", "schema = true", "schema is True; this release reads schema = 1"),
        ("schema = 1", "", "schema is missing; add 'schema = 1' as the first line"),
        ("schema = 1", "schema = " + "9" * 5000, "a number is too large"),
        ("schema = 1", "schema = 1\nx = " + "[" * 3000, "nested more than 100 levels deep"),
        ("as_of = 2024-12-10", "as_of = 9999-12-31", "as_of: 9999-12-31 is too late"),
        ('trl = "1.0.0"', f'trl = "{"9" * 5000}"', "is not a version"),
        ('trl = "1.0.0"', '"t r l" = "1.0.0"', "pins: 't r l' is not the name of a package"),
        ('python = "3.12"', 'python = "abc"', "python: 'abc' is not a Python version, such as '3.11'"),
        ('name = "new"', f'name = "{"x" * 300}"', "must consist of letters, digits, dots and dashes"),
        ("[defaults]", "[policy]\nsince = 9999-12-31\n[defaults]", "[policy]: since: 9999-12-31 is too late"),
        (
            "[defaults]",
            "[policy]\nsince = 2025-01-01\ncool_down = 99999999\n[defaults]",
            "[policy]: cool_down: must be a number of days from 0 to 36500",
        ),
    ],
)
def test_an_error_names_the_file_the_key_and_the_remedy(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD

    with pytest.raises(UsageError, match=re.escape(expected)) as raised:
        load(tmp_path, GOOD.replace(old, new))

    assert str(raised.value).startswith(f"{tmp_path}/matrix.toml: ")


def test_an_imported_cell_needs_no_pins_and_has_no_default_torch(tmp_path: Path) -> None:
    text = 'schema = 1\n[defaults]\ntorch = "2.13.0"\n[[cell]]\nname = "a"\nimported_from = "r.txt"\n'

    assert load(tmp_path, text).cell("a").pins == {}


def test_a_file_that_is_not_utf_8_raises(tmp_path: Path) -> None:
    (tmp_path / "matrix.toml").write_bytes(GOOD.encode() + b"# \xff")

    with pytest.raises(UsageError, match=r"matrix\.toml: not UTF-8 text \(line 20\); save it as UTF-8"):
        table.load(tmp_path)


def test_a_cell_without_pins_raises(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\[\[cell\]\] a: no pins; name at least transformers"):
        load(tmp_path, 'schema = 1\n[[cell]]\nname = "a"\n')


def test_the_error_for_an_unknown_cell_suggests_a_similar_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no cell 'nwe' in .*; did you mean 'new'\?"):
        load(tmp_path, GOOD).cell("nwe")


def test_without_matrix_toml_every_lock_is_a_cell(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text("trl==1.0.0\n")

    assert [cell.name for cell in table.load(tmp_path).cells] == ["a", "b"]
    assert [cell.imported_from for cell in table.load(tmp_path).cells] == ["a.txt", "b.txt"], (
        "nox -s lock must not remake them"
    )


def test_a_folder_without_matrix_toml_and_locks_raises(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no matrix\.toml and no locks"):
        table.load(tmp_path)


def test_the_environment_sets_the_constraints_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    (tmp_path / "matrix.toml").write_text(GOOD)

    assert table.load().folder == tmp_path


@pytest.mark.parametrize("folder", ["x" * 300, "~nouser/x"])
def test_a_constraints_folder_that_is_no_path_raises(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", folder)

    with pytest.raises(UsageError, match=r"too long|no such user"):
        table.load()


def test_every_shipped_cell_has_a_lock_and_a_reason() -> None:
    matrix = table.load(Path(__file__).parents[3] / "constraints")

    assert len(matrix.cells) >= 6
    assert all(len(cell.why) > 20 for cell in matrix.cells)
    assert all(matrix.lock_path(cell).is_file() for cell in matrix.cells)


@pytest.mark.parametrize(
    "name",
    [
        "summary", "Summary", "candidates", "interrupted", "partial", "running", "a.json", "a.JSON", "a.txt",
        "a.lock", "x" * 81, "-a", ".a", "a b", "a\n", "",
    ],
)  # fmt: skip
def test_a_name_that_is_no_file_of_its_own_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="where: the name"):
        table.check_name(name, "where")


@pytest.mark.parametrize("name", ["a", "trl-0.26", "a.jsonx", "summary-2", "x" * 80])
def test_other_names_are_fine(name: str) -> None:
    assert table.check_name(name, "where") == name


def test_names_that_are_one_file_where_case_is_ignored_are_refused(tmp_path: Path) -> None:
    for name in ("ours", "OURS"):
        (tmp_path / f"{name}.txt").write_text("trl==1.0\n")

    with pytest.raises(UsageError, match="the name 'ours' differs from 'OURS' in case only; rename one"):
        table.load(tmp_path)
    with pytest.raises(UsageError, match="the name 'Old' differs from 'old' in case only"):
        load(tmp_path, GOOD.replace('name = "new"', 'name = "Old"'))
