"""``.github/requirements.txt`` pins what runs nox, tests and checks, as ``pyproject.toml`` wants it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILE = ".github/requirements.txt"
TEXT = (ROOT / FILE).read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = [Requirement(line) for line in TEXT.splitlines() if not line.startswith("#")]
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
GROUPS = PROJECT["dependency-groups"]
WANTED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["build-system"]["requires"],
    *(entry for group in GROUPS.values() for entry in group if isinstance(entry, str)),
]


def unsatisfied(wanted: list[str], pins: list[Requirement]) -> Iterator[str]:
    """The requirements that no pin satisfies."""
    for text in wanted:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        versions = [
            clause.version for pin in pins if canonicalize_name(pin.name) == name for clause in pin.specifier
        ]
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            yield text


def test_every_requirement_of_the_project_is_pinned_to_a_version_that_it_allows() -> None:
    assert list(unsatisfied(WANTED, PINS)) == []


def test_the_check_finds_a_pin_that_is_missing_or_too_old() -> None:
    pins = [Requirement("click==7.0"), *(pin for pin in PINS if pin.name not in ("click", "rich"))]

    assert [Requirement(text).name for text in unsatisfied(WANTED, pins)] == ["click", "rich"]


def test_it_has_exact_versions_and_no_address() -> None:
    assert all([clause.operator for clause in pin.specifier] == ["=="] and not pin.url for pin in PINS)
    assert not re.search(r"://|^-", TEXT, re.MULTILINE)


def test_it_names_the_command_that_renews_it() -> None:
    assert "nox -s renew" in TEXT
    assert set(GROUPS) == set(
        re.findall(r'"(\w+)"', re.findall(r"^GROUPS = (.*)$", NOXFILE, re.MULTILINE)[0])
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.name
)
def test_every_workflow_that_installs_this_checkout_uses_it(path: Path) -> None:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "pip install" in path.read_text() and "-e ." in path.read_text():
        names = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")
        assert [content["env"][name] for name in names] == [FILE, FILE]


def test_the_whole_ci_uses_it() -> None:
    assert f'PIP_CONSTRAINT="$PWD/{FILE}"' in (ROOT / ".ci/run").read_text(encoding="utf-8")
