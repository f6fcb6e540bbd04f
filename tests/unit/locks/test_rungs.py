"""The chain of locks: what joins alone, what waits, what joins together, and what is made only once."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.version import Version

from tunematrix.base.errors import UnresolvableError
from tunematrix.locks import lock, rungs, uv
from tunematrix.locks.releases import Release
from tunematrix.locks.rungs import Rung, Step
from tunematrix.locks.table import Cell

START = datetime.date(2026, 1, 1)
END = datetime.date(2026, 2, 1)
BASE = Cell(name="ladder", pins={"torch": "2.13.0"})
FIRST = {"torch": "2.13.0", "transformers": "5.0.0", "trl": "1.0.0", "huggingface-hub": "1.0.0"}


class Resolver:
    """Stands for uv: ``refused`` are the releases that do not go beside another's versions below a bound."""

    def __init__(self) -> None:
        self.refused: dict[tuple[str, str], tuple[str, str]] = {}
        self.calls: list[str] = []

    def __call__(
        self, rung: Rung, step: Step, day: datetime.date, others: Mapping[str, str], python: str
    ) -> str | None:
        self.calls.append(str(step))
        packages = {**rung.packages, step.package: str(step.version)}
        for (package, version), (needed, bound) in self.refused.items():
            if packages.get(package) == version and Version(packages[needed]) < Version(bound):
                if others.get(needed, "==").startswith("=="):
                    return None
                packages[needed] = bound
        return "".join(f"{name}=={version}\n" for name, version in sorted(packages.items()))


@pytest.fixture(name="resolver")
def _resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(rungs, "_compile", resolver)
    monkeypatch.setattr(rungs, "_exists_for", lambda *_: True)
    return resolver


def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *released: str) -> tuple[list[Rung], list[str]]:
    """The rungs of the releases ``DAY PACKAGE VERSION``, and what was told."""
    found: dict[str, list[Release]] = {}
    for line in released:
        day, package, version = line.split()
        release = Release(Version(version), START.replace(day=int(day)), yanked=version.endswith(".99"))
        found.setdefault(package, []).append(release)
    monkeypatch.setattr(rungs, "releases", lambda package: tuple(sorted(found.get(package, ()))))
    origin = f"# Python 3.11, {dict(BASE.pins)}\n"
    start = origin + "".join(f"{name}=={version}\n" for name, version in FIRST.items())
    (tmp_path / f"{START}-start.txt").write_text(start)
    told: list[str] = []
    return list(rungs.chain(tmp_path, START, END, BASE, told.append)), told


def names(found: list[Rung]) -> list[str]:
    return [rung.name.split("-", 3)[3] for rung in found]


@pytest.mark.usefixtures("resolver")
def test_releases_join_in_the_order_of_their_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, told = chain(tmp_path, monkeypatch, "9 trl 1.2.0", "3 trl 1.1.0", "5 transformers 5.1.0")
    assert names(found) == ["start", "trl-1.1.0", "transformers-5.1.0", "trl-1.2.0"]
    assert [(rung.before, rung.after) for rung in found[1:]] == [
        ("1.0.0", "1.1.0"),
        ("5.0.0", "5.1.0"),
        ("1.1.0", "1.2.0"),
    ]
    assert all(not rung.also for rung in found)
    assert found[-1].packages == {**FIRST, "trl": "1.2.0", "transformers": "5.1.0"}
    assert not told


@pytest.mark.usefixtures("resolver")
def test_backports_prereleases_and_yanked_releases_do_not_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = ["3 trl 1.1.0", "4 trl 1.0.1", "5 trl 1.2.0rc1", "6 trl 1.2.99", "7 trl 1.3.0"]
    found, told = chain(tmp_path, monkeypatch, *released)
    assert names(found) == ["start", "trl-1.1.0", "trl-1.3.0"]
    assert told == ["trl 1.0.1: not newer than 1.1.0, left out"]


def test_what_is_refused_joins_with_what_it_needs(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver.refused = {("transformers", "5.1.0"): ("huggingface-hub", "1.1.0")}
    found, told = chain(tmp_path, monkeypatch, "5 transformers 5.1.0")
    assert names(found) == ["start", "transformers-5.1.0"]
    assert found[-1].also == {"huggingface-hub": ("1.0.0", "1.1.0")}
    assert not told


def test_what_waits_joins_when_it_can(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new Hub client that only a later transformers allows; its predecessor is then no rung any more."""

    def refuse_until_5_1(rung: Rung, step: Step, *rest: object) -> str | None:
        if step.package == "huggingface-hub" and rung.packages["transformers"] != "5.1.0":
            return None
        return resolver(rung, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(rungs, "_compile", refuse_until_5_1)
    released = ["3 huggingface-hub 2.0.0", "4 trl 1.1.0", "6 transformers 5.1.0", "8 peft 0.2"]
    found, told = chain(tmp_path, monkeypatch, *released)
    assert names(found) == ["start", "trl-1.1.0", "transformers-5.1.0", "huggingface-hub-2.0.0", "peft-0.2"]
    assert found[3].day.day == 6  # when it could
    assert not told


def test_what_never_joins_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rungs, "_compile", lambda *_: None)
    monkeypatch.setattr(rungs, "_exists_for", lambda step, _: step.package == "trl")
    found, told = chain(tmp_path, monkeypatch, "3 trl 1.1.0", "4 peft 2.0")
    assert names(found) == ["start"]
    assert told == ["peft 2.0: not for Python 3.11", "trl 1.1.0: what else is there refuses it"]


def test_locks_that_are_there_are_not_made_again(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = chain(tmp_path, monkeypatch, "3 trl 1.1.0", "5 trl 1.2.0")
    resolver.calls.clear()
    again, _ = chain(tmp_path, monkeypatch, "3 trl 1.1.0", "5 trl 1.2.0", "7 trl 1.3.0")
    assert again[:-1] == first
    assert resolver.calls == ["trl 1.3.0"]
    # Another release in the middle makes what follows anew: it stands on another stack.
    resolver.calls.clear()
    chain(tmp_path, monkeypatch, "3 trl 1.1.0", "4 peft 0.2", "5 trl 1.2.0", "7 trl 1.3.0")
    assert resolver.calls == ["peft 0.2", "trl 1.2.0", "trl 1.3.0"]


def test_what_waits_may_join_together(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that need each other, and a third release that lets them."""

    def refuse_until_1_1(rung: Rung, step: Step, *rest: object) -> str | None:
        if step.package == "transformers" and rung.packages["trl"] == "1.0.0":
            return None
        return resolver(rung, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(rungs, "_compile", refuse_until_1_1)
    resolver.refused = {("transformers", "5.1.0"): ("huggingface-hub", "1.1.0")}
    found, told = chain(tmp_path, monkeypatch, "3 transformers 5.1.0", "5 trl 1.1.0")
    assert names(found) == ["start", "trl-1.1.0", "transformers-5.1.0"]
    assert found[-1].also == {"huggingface-hub": ("1.0.0", "1.1.0")}
    assert not told


def test_the_start_is_made_again_for_another_python_or_torch(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain(tmp_path, monkeypatch)
    asked: list[Cell] = []

    def resolve(cell: Cell, *_: object) -> str:
        asked.append(cell)
        return "".join(f"{name}=={version}\n" for name, version in {**FIRST, **cell.pins}.items())

    monkeypatch.setattr(lock, "resolve", resolve)
    other = Cell(name="ladder", pins={"torch": "2.14.0"})
    [start] = rungs.chain(tmp_path, START, END, other, print)
    assert start.packages["torch"] == "2.14.0"
    assert asked[-1].as_of == START
    asked.clear()
    assert [*rungs.chain(tmp_path, START, END, other, print)] == [start]
    assert not asked


def test_a_start_that_cannot_be_resolved_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise UnresolvableError("no solution found")

    monkeypatch.setattr(lock, "resolve", refuse)
    monkeypatch.setattr(rungs, "releases", lambda _: (Release(Version("1.0"), START),))
    with pytest.raises(UnresolvableError):
        list(rungs.chain(tmp_path, START, END, BASE, print))
    assert not list(tmp_path.iterdir())


def test_a_prerelease_never_moves_with_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself uv takes one where nothing else fits, such as transformers 5.0.0rc0."""
    seen: list[str] = []

    def compile_over(_: object, __: object, options: list[str], ___: object) -> str:
        seen.extend(options)
        return "trl==1.1.0\n"

    monkeypatch.setattr(uv, "compile_over", compile_over)
    rung = Rung(name="a", day=START, path=Path("a"), packages=FIRST)
    assert rungs._compile(rung, Step(START, "trl", Version("1.1.0")), START, {}, "3.11")
    assert seen[seen.index("--prerelease") + 1] == "disallow"
