"""Since when? The first release, or day, that a stage or a number is another, found with few runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

GOOD: Final = "good"
BAD: Final = "bad"
UNTESTABLE: Final = "untestable"


@dataclass(kw_only=True, slots=True)
class Search:
    """A binary search over points in order, the first of which is ``GOOD`` and the last ``BAD``.

    ``verdicts`` maps a place to its verdict; what is there already is not tested again. A point that cannot
    be tested is stepped round.
    """

    points: Sequence[str]
    verdicts: dict[int, str] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)

    @property
    def bounds(self) -> tuple[int, int]:
        """The last place known to be good, and the first after it known to be bad."""
        bad = min(
            (at for at, verdict in self.verdicts.items() if verdict == BAD), default=len(self.points) - 1
        )
        good = (at for at, verdict in self.verdicts.items() if verdict == GOOD and at < bad)
        return max(good, default=0), bad

    @property
    def left(self) -> int:
        """How many tests are left at most, but for points that turn out to be untestable."""
        return math.ceil(math.log2(len(self._open(*self.bounds)) + 1))

    def next(self) -> int | None:
        """The place to test next; None when there is nothing between good and bad."""
        if end := [at for at in (0, len(self.points) - 1) if at not in self.verdicts]:
            return end[0]
        return self._middle(*self.bounds)

    def ahead(self, place: int) -> list[int]:
        """What would be tested after ``place``, were it good or bad."""
        if len(self.verdicts) < 2:
            return [at for at in (len(self.points) - 1,) if at not in self.verdicts and at != place]
        good, bad = self.bounds
        return [at for at in (self._middle(place, bad), self._middle(good, place)) if at is not None]

    def record(self, place: int, verdict: str) -> None:
        self.verdicts[place] = verdict
        self.order.append(place)

    @property
    def suspects(self) -> list[str]:
        """The first bad point, after those before it that could not be tested: it may be any of them."""
        good, bad = self.bounds
        return list(self.points[good + 1 : bad + 1])

    def _open(self, good: int, bad: int) -> list[int]:
        return [at for at in range(good + 1, bad) if at not in self.verdicts]

    def _middle(self, good: int, bad: int) -> int | None:
        """The middle of what is open, so that every test halves it, whatever turns out untestable."""
        found = self._open(good, bad)
        return found[len(found) // 2] if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """What a search found. ``suspects`` is one point, or several where those between are untestable."""

    suspects: list[str]
    steps: list[tuple[str, str]]
    untestable: list[str]
    last_good: str


class SameEndsError(Exception):
    """The ends are not good and bad: there is nothing to search for. The message says which is what."""


def run(
    search: Search,
    test: Callable[[str], str],
    *,
    prepare: Callable[[list[str]], None] = lambda _: None,
    on_verdict: Callable[[Search, str, str], None] = lambda *_: None,
) -> SearchResult:
    """Search with ``test``, which gives a verdict for a point; raises ``SameEndsError``.

    ``prepare`` is told the points that may come next before each test, ``on_verdict`` every verdict.
    """
    _check_ends(search)
    while (place := search.next()) is not None:
        point = search.points[place]
        prepare([search.points[at] for at in search.ahead(place)])
        verdict = test(point)
        search.record(place, verdict)
        on_verdict(search, point, verdict)
        _check_ends(search)
    good, _ = search.bounds
    return SearchResult(
        suspects=search.suspects,
        steps=[(search.points[at], search.verdicts[at]) for at in search.order],
        untestable=[search.points[at] for at in search.order if search.verdicts[at] == UNTESTABLE],
        last_good=search.points[good],
    )


def _check_ends(search: Search) -> None:
    """Raise where an end is known not to be what a search needs, from this run or an earlier one."""
    for place, wanted in ((0, GOOD), (len(search.points) - 1, BAD)):
        verdict = search.verdicts.get(place, wanted)
        if verdict != wanted:
            raise SameEndsError(f"{search.points[place]} is {verdict}, where {wanted} was expected")


def restore(verdicts: Mapping[str, str], points: Sequence[str]) -> dict[int, str]:
    """Verdicts by place, of an interrupted search; untestable ones are tried again."""
    return {at: verdicts[point] for at, point in enumerate(points) if verdicts.get(point) in (GOOD, BAD)}
