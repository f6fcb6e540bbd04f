"""Where the modules and the commands of a team's project are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.run import project
from tunematrix.run.project import Project

POETRY = """
[tool.poetry]
packages = [{ include = "ours", from = "lib" }, { include = "more" }]
[tool.poetry.scripts]
train-it = "ours.cli:main"
odd = "not an entry point"
"""
SETUPTOOLS = """
[project]
name = "ours"
[project.scripts]
train-it = "ours.cli:main [extra]"
[tool.setuptools]
package-dir = { "" = "python" }
[tool.setuptools.packages.find]
where = ["lib", "absent"]
"""


@pytest.mark.parametrize(
    ("name", "text", "roots", "commands"),
    [
        ("pyproject.toml", "[project]\nname = 'ours'\n", ("src", "."), []),
        ("setup.cfg", "", ("src", "."), []),
        ("setup.py", "", ("src", "."), []),
        ("pyproject.toml", POETRY, ("lib", "src", "."), ["train-it"]),
        ("pyproject.toml", SETUPTOOLS, ("lib", "python", "src", "."), ["train-it"]),
        ("pyproject.toml", "[tool.ruff]\nline-length = 100\n", (), []),
        ("pyproject.toml", "tool = 1\nproject = 'x'\n", ("src", "."), []),
        ("README.md", "", (), []),
    ],
)
def test_roots_and_commands_are_those_of_an_installation(
    name: str, text: str, roots: tuple[str, ...], commands: list[str], tmp_path: Path
) -> None:
    for folder in ("src", "lib", "python"):
        (tmp_path / folder).mkdir()
    (tmp_path / name).write_text(text)
    found = project.read(tmp_path)
    assert found == Project(roots=roots, commands=dict.fromkeys(commands, ("ours.cli", "main")))


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project")
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        project.read(tmp_path)
