"""The climb: each rung as a cell of its own lock, one environment for each job, in the order of the chain."""

from __future__ import annotations

import datetime
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.locks.rungs import Rung
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import ladder
from tunematrix.run import cell as cells
from tunematrix.run.options import Options


def rung(tmp_path: Path, number: int) -> Rung:
    path = tmp_path / "locks" / f"2026-01-{number:02}-trl-1.{number}.txt"
    return Rung(name=path.stem, day=datetime.date(2026, 1, number), path=path, packages={})


def test_rungs_run_side_by_side_each_job_in_its_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=20)
    running: set[Path] = set()
    seen: dict[str, Options] = {}

    def run(matrix: Matrix, cell: Cell, options: Options, store: Store, _: object) -> Record:
        assert options.venv
        assert options.venv not in running
        running.add(options.venv)
        both.wait()
        running.remove(options.venv)
        seen[cell.name] = options
        assert matrix.lock_path(cell) == tmp_path / "locks" / f"{cell.name}.txt"
        assert store.root == tmp_path / "results" / ladder.FOLDER
        return Record(cell=cell.name, outcome="passed")

    monkeypatch.setattr(cells, "run", run)
    chain = [rung(tmp_path, number) for number in range(1, 7)]
    store = Store(tmp_path / "results", "tiny-gpt2")
    climbed = list(ladder.climb(store, chain, Options(model="tiny-gpt2"), jobs=2))
    assert [(each.name, record.cell) for each, record in climbed] == [(each.name,) * 2 for each in chain]
    assert len({options.venv for options in seen.values()}) == 2


@pytest.mark.parametrize(
    ("package", "also", "named", "beside"),
    [
        (
            "tokenizers",
            {"transformers": ("4.55", "4.56"), "typer": ("", "1")},
            "transformers",
            ["tokenizers", "typer"],
        ),
        ("tokenizers", {"transformers": ("", "4.56")}, "tokenizers", ["transformers"]),
        ("trl", {"transformers": ("4.55", "4.56")}, "trl", ["transformers"]),
        ("tokenizers", {}, "tokenizers", []),
    ],
)
def test_a_rung_of_several_is_that_of_what_people_pin(
    package: str, also: dict[str, tuple[str, str]], named: str, beside: list[str], tmp_path: Path
) -> None:
    climbed = replace(rung(tmp_path, 1), package=package, before="1", after="2", also=also)
    found = ladder._bare(climbed)
    assert (found.package, list(found.also)) == (named, beside)
    pairs = {found.package: (found.before, found.after), **found.also}
    assert pairs == {package: ("1", "2"), **also}, "none is lost"
