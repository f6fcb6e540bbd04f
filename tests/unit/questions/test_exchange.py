"""The exchange: what is run again, and what happens to a cell that takes no part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.errors import UninstallableError
from tunematrix.base.store import Store
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import exchange
from tunematrix.run import exchange as cells
from tunematrix.run.exchange import Member, Writer
from tunematrix.run.frozen import Frozen

LOCK = "transformers=={}\n"


class World:
    """Cells whose processes are replaced; ``did`` is what they were asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.did: list[tuple[str, ...]] = []
        self.unwritable: dict[str, str] = {}
        self.stops: dict[str, str] = {}
        monkeypatch.setattr(cells, "write", self.write)
        monkeypatch.setattr(cells, "read", self.read)
        for place, name in enumerate(("a", "b", "c")):
            self.lock(name, f"4.{place}.0")

    def lock(self, name: str, version: str) -> None:
        (self.folder / f"{name}.txt").write_text(LOCK.format(version))

    def members(self, *names: str) -> list[Member]:
        matrix = Matrix(folder=self.folder, cells=tuple(Cell(name=name, why="") for name in names))
        return [
            Member(cell=cell, matrix=matrix, results=self.folder / "results", venv=self.folder / "venv")
            for cell in matrix.cells
        ]

    def write(self, member: Member, seconds: float) -> str:
        del seconds
        self.did.append(("write", member.name))
        if reason := self.unwritable.get(member.name):
            if reason.startswith("no env"):
                raise UninstallableError(reason)
            return reason
        member.artifacts.mkdir(parents=True, exist_ok=True)
        (member.folder / cells.KEY_FILE).write_text(member.key())
        return ""

    def read(
        self, member: Member, writers: Sequence[Writer], seconds: float
    ) -> tuple[Sequence[Mapping[str, Any]], str]:
        del seconds
        names = [writer.name for writer in writers]
        self.did.append(("read", member.name, *names))
        found = [{"writer": name, "model": "m", "artifact": "lora", "outcome": "same"} for name in names]
        return (found[:1], self.stops[member.name]) if member.name in self.stops else (found, "")

    def run(self, *names: str, **options: Any) -> exchange.Exchange:
        self.did.clear()
        store = Store(self.folder / "results")
        return exchange.run(self.members(*names), store, 1, 10.0, lambda _: None, **options)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_two_processes_for_each_cell_and_a_pair_for_each_two(world: World) -> None:
    outcome = world.run("a", "b", "c")
    assert world.did == [
        ("write", "a"),
        ("write", "b"),
        ("write", "c"),
        ("read", "a", "a", "b", "c"),
        ("read", "b", "a", "b", "c"),
        ("read", "c", "a", "b", "c"),
    ]
    assert {(pair.writer, pair.reader) for pair in outcome.pairs} == {(w, r) for w in "abc" for r in "abc"}


def test_nothing_is_run_again(world: World) -> None:
    first = world.run("a", "b")
    assert world.run("a", "b").pairs == first.pairs
    assert world.did == []


def test_a_new_cell_reads_all_and_is_read_by_all(world: World) -> None:
    world.run("a", "b")
    world.run("a", "b", "c")
    assert world.did == [("write", "c"), ("read", "a", "c"), ("read", "b", "c"), ("read", "c", "a", "b", "c")]


def test_a_changed_lock_repeats_its_pairs_alone(world: World) -> None:
    world.run("a", "b", "c")
    world.lock("b", "4.9.0")
    world.run("a", "b", "c")
    assert world.did == [("write", "b"), ("read", "a", "b"), ("read", "b", "a", "b", "c"), ("read", "c", "b")]


def test_only_the_pairs_asked_for(world: World) -> None:
    outcome = world.run("a", "b", between=[("a", "b")])
    assert [(pair.writer, pair.reader) for pair in outcome.pairs] == [("a", "b")]


@pytest.mark.parametrize("reason", ["no environment here", "its packages do not import together"])
def test_a_cell_that_takes_no_part_is_told_and_hides_no_other(world: World, reason: str) -> None:
    world.unwritable["b"] = reason
    outcome = world.run("a", "b")
    assert outcome.absent == {"b": reason}
    told = {(pair.writer, pair.reader): (pair.outcome, pair.detail) for pair in outcome.pairs}
    assert told["a", "a"] == ("same", "")
    assert told["a", "b"] == told["b", "a"] == told["b", "b"] == ("unavailable", reason)


def test_what_a_stopped_reader_read_is_told_and_read_again(world: World) -> None:
    world.stops["b"] = "its process ended early"
    outcome = world.run("a", "b")
    found = [(pair.writer, pair.outcome) for pair in outcome.pairs if pair.reader == "b"]
    assert found == [("a", "same"), ("a", "unavailable"), ("b", "unavailable")]
    world.stops.clear()
    world.run("a", "b")
    assert world.did == [("read", "b", "a", "b")]


def test_a_broken_file_of_results_is_read_again(world: World) -> None:
    world.run("a", "b")
    [member] = [member for member in world.members("a", "b") if member.name == "a"]
    (member.folder / cells.READS).write_text("{")
    world.run("a", "b")
    assert world.did == [("read", "a", "a", "b")]


def frozen_set(world: World, digest: str = "1") -> Frozen:
    folder = world.folder / "frozen/a"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lock.txt").write_text(LOCK.format("4.0.0"))
    return Frozen(cell="a", folder=folder, unpacked=world.folder / "unpacked", digest=digest)


def test_a_frozen_set_is_read_by_every_cell_and_reads_none(world: World) -> None:
    outcome = world.run("a", "b", frozen=[frozen_set(world)])
    assert world.did[2:] == [("read", "a", "a (frozen)", "a", "b"), ("read", "b", "a (frozen)", "a", "b")]
    assert {pair.reader for pair in outcome.pairs} == {"a", "b"}
    [side] = [side for side in outcome.sides if not side.reads]
    assert (side.name, side.packages) == ("a (frozen)", {"transformers": "4.0.0"})


def test_another_frozen_set_is_read_alone(world: World) -> None:
    world.run("a", frozen=[frozen_set(world)])
    world.run("a", frozen=[frozen_set(world)])
    assert world.did == []
    world.run("a", frozen=[frozen_set(world, "2")])
    assert world.did == [("read", "a", "a (frozen)")]


def test_a_reader_that_takes_no_part_is_told_for_frozen_sets_too(world: World) -> None:
    world.unwritable["b"] = "no import"
    outcome = world.run("a", "b", frozen=[frozen_set(world)])
    told = {(pair.writer, pair.reader): pair.outcome for pair in outcome.pairs}
    assert told["a (frozen)", "a"] == "same"
    assert told["a (frozen)", "b"] == "unavailable"
