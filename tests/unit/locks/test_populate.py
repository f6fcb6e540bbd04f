"""Cells by rule: which releases count, which cells change, and that hand-written cells stay."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.version import Version

from tunematrix.base.errors import UnresolvableError, UsageError
from tunematrix.cli import main as cli
from tunematrix.locks import lock, populate, releases, table, uv
from tunematrix.locks.releases import Release
from tunematrix.locks.table import Cell, Policy

TODAY = datetime.date(2026, 1, 31)
TEXT = """# a comment
schema = 1
baseline = "base"

[policy]
since = 2025-01-01
cool_down = 7
skews = ["peft"]

[[cell]]
name = "base"  # hand-written
[cell.pins]
transformers = "4.0.0"
peft = "0.2.0"
trl = "0.2.0"
# the end
"""


def release(version: str, day: str, *, yanked: bool = False) -> Release:
    return Release(Version(version), datetime.date.fromisoformat(day), yanked)


TRL = (
    release("0.0.9", "2024-12-31"),
    release("0.1.0", "2025-01-10"),
    release("0.1.1", "2025-02-10"),
    release("0.1.2", "2025-02-11", yanked=True),
    release("0.2.0", "2025-06-01"),
    release("0.3.0rc1", "2025-09-01"),
    release("0.4.0", "2025-12-01"),
    release("0.5.0", "2026-01-30"),
)
PEFT = (release("0.1.0", "2025-01-01"), release("0.2.0", "2025-05-01"), release("0.3.0", "2025-11-01"))
TRANSFORMERS = (release("4.0.0", "2025-01-01"),)


def newest(package_releases: Iterable[Release], day: datetime.date) -> Version:
    return max(
        release.version
        for release in package_releases
        if release.day <= day and not release.version.is_prerelease
    )


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``matrix.toml``, and a resolver that takes the newest releases of a day."""
    index = {"trl": TRL, "peft": PEFT, "transformers": TRANSFORMERS}

    def resolve(cell: Cell, today: datetime.date, *_: str, over: object = None) -> str:
        day = cell.as_of or today
        packages = {
            name: cell.pins.get(name) or str(newest(package_releases, day))
            for name, package_releases in index.items()
        }
        if packages["peft"] == "0.1.0" and cell.name.startswith("base"):
            raise UnresolvableError("no\nBecause peft is too old")
        return "".join(f"{name}=={version}\n" for name, version in packages.items())

    monkeypatch.setattr(releases, "releases", index.__getitem__)
    monkeypatch.setattr(lock, "resolve", resolve)
    monkeypatch.setattr(populate, "floors", lambda trl, _: {"peft": "0.1.0", "transformers": "4.0.0"})
    monkeypatch.setattr(uv, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, "uv 1", ""))
    (tmp_path / "matrix.toml").write_text(TEXT)
    return tmp_path


def pins_by_cell(cells: Iterable[Cell]) -> dict[str, str]:
    return {
        cell.name: " ".join(f"{name}{version}" for name, version in sorted(cell.pins.items()))
        for cell in cells
    }


def test_each_rule_generates_its_cells(folder: Path) -> None:
    edits = populate.plan(table.load(folder), TODAY)

    assert pins_by_cell(cell for cell, _ in edits.added) == {
        "trl-0.1": "peft0.1.0 transformers4.0.0 trl0.1.1",
        "trl-0.2": "peft0.2.0 transformers4.0.0 trl0.2.0",
        "base-peft-ahead": "peft0.3.0 transformers4.0.0 trl0.2.0",
        "trl-0.4": "peft0.3.0 transformers4.0.0 trl0.4.0",
        "latest-floor": "peft0.1.0 transformers4.0.0 trl0.4.0",
        "latest": "peft0.3.0 transformers4.0.0 trl0.4.0",
    }
    assert edits.left_out == {"base-peft-behind": "the resolver refuses it: Because peft is too old"}


def test_populating_keeps_chronological_order_and_comments(folder: Path) -> None:
    populate.apply(table.load(folder), populate.plan(table.load(folder), TODAY))

    text = (folder / "matrix.toml").read_text()
    cells = table.load(folder).cells
    assert [cell.name for cell in cells] == [
        "trl-0.1", "base", "trl-0.2", "base-peft-ahead", "trl-0.4", "latest-floor", "latest",
    ]  # fmt: skip
    assert [cell.rule for cell in cells][:3] == ["diagonal", None, "diagonal"]
    assert "# a comment" in text
    assert "# hand-written" in text
    assert "# the end" in text
    again = populate.plan(table.load(folder), TODAY)
    assert (again.added, again.removed) == ([], [])


def test_cells_outside_the_policy_are_removed_unless_hand_written(folder: Path) -> None:
    populate.apply(table.load(folder), populate.plan(table.load(folder), TODAY))
    (folder / "trl-0.1.txt").write_text(lock.sealed("# made\n", "trl==0.1.1\n"))
    path = folder / "matrix.toml"
    path.write_text(path.read_text().replace("since = 2025-01-01", "since = 2025-03-01"))

    edits = populate.plan(table.load(folder), TODAY)
    populate.apply(table.load(folder), edits)

    assert [cell.name for cell in edits.removed] == ["trl-0.1"]
    assert not (folder / "trl-0.1.txt").exists()
    assert "base" in [cell.name for cell in table.load(folder).cells]


def test_the_lock_of_a_removed_cell_stays_if_it_was_edited_by_hand(folder: Path) -> None:
    populate.apply(table.load(folder), populate.plan(table.load(folder), TODAY))
    mine = folder / "trl-0.1.txt"
    mine.write_text("trl==0.1.1\n")
    path = folder / "matrix.toml"
    path.write_text(path.read_text().replace("since = 2025-01-01", "since = 2025-03-01"))

    kept = populate.apply(table.load(folder), populate.plan(table.load(folder), TODAY))

    assert kept == [mine]
    assert mine.read_text() == "trl==0.1.1\n"


def test_a_baseline_without_a_package_of_the_skews_raises(folder: Path) -> None:
    path = folder / "matrix.toml"
    path.write_text(path.read_text().replace('peft = "0.2.0"\n', ""))

    with pytest.raises(UsageError, match="skews: the baseline 'base' does not pin peft"):
        populate.plan(table.load(folder), TODAY)


def test_a_hand_written_cell_of_the_same_name_stays(folder: Path) -> None:
    path = folder / "matrix.toml"
    path.write_text(path.read_text().replace('"base"', '"trl-0.2"'))

    edits = populate.plan(table.load(folder), TODAY)

    assert "trl-0.2" not in pins_by_cell(cell for cell, _ in edits.added)
    assert "hand-written" in edits.left_out["trl-0.2"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["0.1.1", "0.2.0", "0.4.0", "0.5.0"]),
        ({"cool_down": 7}, ["0.1.1", "0.2.0", "0.4.0"]),
        ({"prereleases": True}, ["0.1.1", "0.2.0", "0.3.0rc1", "0.4.0", "0.5.0"]),
        ({"every": 200}, ["0.2.0", "0.5.0"]),
        ({"since": datetime.date(2024, 1, 1)}, ["0.0.9", "0.1.1", "0.2.0", "0.4.0", "0.5.0"]),
    ],
)
def test_yanked_recent_and_pre_releases_do_not_count(options: dict[str, object], expected: list[str]) -> None:
    policy = Policy(**{"since": datetime.date(2025, 1, 1), **options})  # type: ignore[arg-type]  # options by name

    assert [str(release.version) for release in populate.minor_releases(TRL, policy, TODAY)] == expected


def test_populating_without_a_policy_raises(folder: Path) -> None:
    (folder / "matrix.toml").write_text(
        TEXT.split("[policy]", maxsplit=1)[0] + "[[cell]]" + TEXT.split("[[cell]]")[1]
    )

    with pytest.raises(UsageError, match=r"no \[policy\]"):
        populate.plan(table.load(folder), TODAY)


def test_populate_prints_the_edits_and_locks_the_new_cells(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(folder))
    monkeypatch.setattr(lock, "header", lambda *_: "# a header\n")

    out = CliRunner().invoke(cli.cli, ["lock", "--populate"]).output

    assert "+ trl-0.1: transformers==4.0.0 peft==0.1.0 trl==0.1.1 as of 2025-02-10" in out
    assert "base-peft-behind: left out, the resolver refuses it" in out
    assert (folder / "trl-0.1.txt").read_text().startswith("# a header")
    assert "matches its policy" in CliRunner().invoke(cli.cli, ["lock", "--populate"]).output
