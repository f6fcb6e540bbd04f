"""Which folder defines cells, and where the results lie then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.cells import has_cells
from tunematrix.base.store import STATE, results_folder


@pytest.fixture(name="constraints")
def _constraints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TUNEMATRIX_CONSTRAINTS", "TUNEMATRIX_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "constraints").mkdir()
    return Path("constraints")


def test_pip_constraints_of_a_team_are_no_cells(constraints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command said that there is no baseline."""
    (constraints / "base.txt").write_text("numpy<2\npytest==8.0\ntrl==1.0\n")
    (constraints / "accepted.toml").touch()
    assert not has_cells(constraints)
    assert results_folder() == Path(STATE)

    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", "constraints")  # named, each text is a lock
    assert has_cells(constraints)
    assert results_folder() == Path("results")
    assert not has_cells(Path("elsewhere"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("matrix.toml", ""),
        ("ours.txt", "# Imported from x; installed exactly as written.\ntrl==1.0\n"),
        ("ours.txt", "# Every package\n# inputs: 0\ntrl==1.0\n"),
        ("ours.txt", "trl==1.0\npytest-reportlog==1.0\n"),
    ],
)
def test_a_matrix_or_a_lock_makes_a_folder_of_cells(constraints: Path, name: str, text: str) -> None:
    (constraints / name).write_text(text)
    assert has_cells(constraints)
    assert results_folder() == Path("results")
