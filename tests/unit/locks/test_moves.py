"""What moves between two files: releases, and what comes from git, by its package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.locks import moves, package_files
from tunematrix.locks.package_files import PackageFile

OLD, NEW = "a" * 40, "b" * 40
UV = """\
version = 1
[[package]]
name = "trl"
version = "1.17.0.dev0"
source = {{ git = "https://host/trl?rev=main#{commit}" }}
"""
PYLOCK = """\
lock-version = "1.0"
[[packages]]
name = "trl"
vcs = {{ type = "git", url = "https://host/trl", commit-id = "{commit}" }}
"""
POETRY = """\
[[package]]
name = "trl"
version = "1.17.0"
[package.source]
type = "git"
url = "https://host/trl"
reference = "main"
resolved_reference = "{commit}"
"""
REQUIREMENTS = "trl @ git+https://user:hf_canary@host/trl@{commit}\nnumpy==2.0\n"
FILES = {
    "uv.lock": (UV, "https://host/trl?rev=main#"),
    "pylock.toml": (PYLOCK, "https://host/trl@"),
    "poetry.lock": (POETRY, "https://host/trl@"),
    "requirements.txt": (REQUIREMENTS, "git+https://host/trl@"),
}


def read(folder: Path, name: str, text: str) -> PackageFile:
    (folder / name).write_text(text)
    return package_files.read(folder / name, "3.11")


@pytest.mark.parametrize("name", FILES)
def test_a_package_from_git_moves_with_its_commit(name: str, tmp_path: Path) -> None:
    text, url = FILES[name]
    old, new = (read(tmp_path, name, text.format(commit=commit)) for commit in (OLD, NEW))
    assert moves.unreleased(old, new) == {"trl": (f"{url}{OLD[:12]}", f"{url}{NEW[:12]}")}
    assert moves.unreleased(old, old) == {}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("trl==1.0", "trl @ git+https://host/trl@x", {"trl": ("1.0", "git+https://host/trl@x")}),
        ("trl @ git+https://host/trl@x", "trl>=1", {"trl": ("git+https://host/trl@x", ">=1")}),
        ("-e git+https://h/x@a#egg=TRL", "-e git+https://h/x@b#egg=TRL",
         {"trl": ("git+https://h/x@a#egg=TRL", "git+https://h/x@b#egg=TRL")}),
        ("git+https://h/trl.git@a", "git+https://h/trl.git@b",
         {"trl": ("git+https://h/trl.git@a", "git+https://h/trl.git@b")}),
        ("", "./wheels/trl.whl", {"trl-whl": ("(none)", "./wheels/trl.whl")}),
        ("-e .\ntrl==1.0", "-e .\ntrl==2.0", {}),
    ],
)  # fmt: skip
def test_what_is_no_release_on_either_side_moves(
    before: str, after: str, expected: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    old, new = read(tmp_path, "old.txt", before), read(tmp_path, "new.txt", after)
    assert moves.unreleased(old, new) == expected


def test_what_the_work_may_import_matters() -> None:
    assert [moves.matters(name, own_scripts=False) for name in ("trl", "flash-attn", "ours", "ruff")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [moves.matters(name, own_scripts=True) for name in ("trl", "ours", "ruff")] == [True, True, False]
