"""Mechanical edits: what goes and what is renamed, with the formatting of people kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.code.fix import NOT_EDITED, Edit, apply, changed


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        ("f(a=1, b=2)  # why\n", [Edit("x", 1, "b")], "f(a=1)  # why\n"),
        ("f(a=1, b=2)\n", [Edit("x", 1, "a")], "f(b=2)\n"),
        ("f(b=2)\n", [Edit("x", 1, "b")], "f()\n"),
        ("f(\n    a=1,\n    b=2,\n)\n", [Edit("x", 3, "b")], "f(\n    a=1,\n)\n"),
        ("f(\n    a=1,\n    b=2,\n)\n", [Edit("x", 2, "a")], "f(\n    b=2,\n)\n"),
        ("f(tokenizer = t)\n", [Edit("x", 1, "tokenizer", "processing_class")], "f(processing_class = t)\n"),
        ("f(b=2); g(b=3)\n", [Edit("x", 2, "b")], "f(b=2); g(b=3)\n"),
        ("f(b=2); g(b=3)\n", [Edit("x", 1, "b")], "f(b=2); g(b=3)\n"),
        ("f(a=g(b=1), b=2)\n", [Edit("x", 1, "b")], "f(a=g(b=1), b=2)\n"),
        ("from trl.a import B  # c\n", [Edit("x", 1, "B", "B", "trl.b")], "from trl.b import B  # c\n"),
        ("from trl.a import B, C\n", [Edit("x", 1, "B", "B", "trl.b")], "from trl.a import B, C\n"),
    ],
)
def test_an_edit_changes_what_it_names_and_nothing_else(before: str, edits: list[Edit], after: str) -> None:
    assert changed(before, edits).code == after


def test_each_changed_file_comes_with_its_diff(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("f(a=1, b=2)\n")
    (tmp_path / "b.py").write_text("f(b=2)\n")
    made = dict(apply(tmp_path, [Edit("a.py", 1, "b"), Edit("b.py", 9, "b")]))
    assert list(made) == ["a.py"]
    assert "-f(a=1, b=2)\n+f(a=1)" in made["a.py"]
    assert (tmp_path / "a.py").read_text() == "f(a=1)\n"


def test_a_file_keeps_its_secrets_its_mode_its_encoding_and_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "output")
    real = tmp_path / "real.py"
    text = '# coding: latin-1\nf(output="hf_Dataset2024abcdefghijklmnop", name="\u00e9", b=2)\r\n'
    real.write_bytes(text.encode("latin-1"))
    real.chmod(0o700)
    (tmp_path / "link.py").symlink_to("real.py")
    made = dict(apply(tmp_path, [Edit("link.py", 2, "b")]))
    assert real.read_bytes() == text.replace(", b=2", "").encode("latin-1")
    assert real.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "link.py").is_symlink()
    assert "***" not in made["link.py"]


def test_a_file_that_cannot_be_edited_is_told_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"f(b=2, c='\xff')\n")
    (tmp_path / "b.py").write_text("f(b=2)\n")
    made = dict(apply(tmp_path, [Edit("a.py", 1, "b"), Edit("b.py", 1, "b")]))
    assert made["a.py"] == f"{NOT_EDITED}SyntaxError"
    assert (tmp_path / "b.py").read_text() == "f()\n"
