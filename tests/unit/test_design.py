"""The map in docs/design.md names what exists, and everything that exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/tunematrix"
TEXT = (ROOT / "docs/design.md").read_text(encoding="utf-8")
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
NAMED = re.findall(rf"`((?:{'|'.join(FOLDERS)})\.\w+(?:\.\w+)?)`", TEXT)
FILES = re.findall(r"`([\w./-]+/[\w.-]*)`", TEXT)


def test_every_room_is_on_the_map() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) | {"hub"}

    assert rows == set(FOLDERS)


@pytest.mark.parametrize("name", sorted(set(NAMED)))
def test_every_function_on_the_path_of_a_cell_exists(name: str) -> None:
    room, module, *function = name.split(".")
    loaded = importlib.import_module(f"tunematrix.{room}.{module}")

    assert all(hasattr(loaded, attribute) for attribute in function)


@pytest.mark.parametrize("name", sorted(set(FILES)))
def test_every_file_on_the_map_exists(name: str) -> None:
    made = ("results/",)  # by a run
    assert name.startswith(made) or any((folder / name).exists() for folder in (ROOT, PACKAGE))


def test_the_map_is_not_empty() -> None:
    assert len(NAMED) > 10
    assert len(FILES) > 15
