"""Mechanical edits of files: what is changed is told, and what is left to a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.code.edits import Edit
from tunematrix.code.fix import NO_PLACE, NOT_EDITED, apply


def test_each_changed_file_comes_with_its_diff(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("f(a=1, b=2)\n")
    (tmp_path / "b.py").write_text("f(b=2)\n")
    made = dict(apply(tmp_path, [Edit("a.py", 1, "b", column=7), Edit("b.py", 9, "b")]))
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
    made = dict(
        apply(
            tmp_path,
            [Edit("link.py", 2, "b", column=len(b'f(output="hf_Dataset2024abcdefghijklmnop", name="..", '))],
        )
    )
    assert real.read_bytes() == text.replace(", b=2", "").encode("latin-1")
    assert real.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "link.py").is_symlink()
    assert "***" not in made["link.py"]


def test_a_file_that_cannot_be_edited_is_told_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"f(b=2, c='\xff')\n")
    (tmp_path / "b.py").write_text("f(b=2)\n")
    made = dict(apply(tmp_path, [Edit("a.py", 1, "b", column=2), Edit("b.py", 1, "b", column=2)]))
    assert made["a.py"] == f"{NOT_EDITED}SyntaxError"
    assert (tmp_path / "b.py").read_text() == "f()\n"


def test_a_byte_order_mark_and_mixed_indents_are_kept(tmp_path: Path) -> None:
    text = "\ufeffif 1:\n\tif 1:\n        \tf(b=2)\r\n"
    (tmp_path / "a.py").write_bytes(text.encode())
    assert list(dict(apply(tmp_path, [Edit("a.py", 3, "b", column=11)]))) == ["a.py"]
    assert (tmp_path / "a.py").read_bytes() == text.replace("b=2", "").encode()


def test_a_link_to_a_file_elsewhere_is_left_and_one_inside_edited_once(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.py", tmp_path / "mine"
    folder.mkdir()
    for path in (outside, folder / "a.py"):
        path.write_text("f(b=2)\n")
    (folder / "inside.py").symlink_to("a.py")
    (folder / "out.py").symlink_to(outside)
    edits = [Edit(name, 1, "b", column=2) for name in ("a.py", "inside.py", "out.py")]
    made = dict(apply(folder, edits))
    assert outside.read_text() == "f(b=2)\n"
    assert (folder / "a.py").read_text() == "f()\n"
    assert list(made) == ["a.py", "out.py"]
    assert made["out.py"].startswith(NOT_EDITED)


def test_what_is_for_a_person_is_told_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from trl.a import B, C\nf(b=2)\n")
    edits = [Edit("a.py", 1, "B", "B", "trl.b", 18), Edit("a.py", 2, "b", column=2, doubt="why not")]
    assert dict(apply(tmp_path, edits)) == {
        "a.py:1": f"{NOT_EDITED}B: {NO_PLACE}",
        "a.py:2": f"{NOT_EDITED}b: why not",
    }
