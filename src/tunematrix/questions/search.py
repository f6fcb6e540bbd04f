"""Binary search for the first bad point of a sequence that starts good and ends bad."""

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
    """A binary search over ordered points; the first must be ``GOOD`` and the last ``BAD``.

    ``verdicts`` maps the index of a point to its verdict; points in it are not tested again. The search
    works around points that cannot be tested.
    """

    points: Sequence[str]
    verdicts: dict[int, str] = field(default_factory=dict)
    tested: list[int] = field(default_factory=list)

    @property
    def interval(self) -> tuple[int, int]:
        """The index of the last point known to be good, and of the first after it known to be bad."""
        first_bad = min(
            (index for index, verdict in self.verdicts.items() if verdict == BAD),
            default=len(self.points) - 1,
        )
        good = (index for index, verdict in self.verdicts.items() if verdict == GOOD and index < first_bad)
        return max(good, default=0), first_bad

    @property
    def remaining(self) -> int:
        """The largest number of tests still needed, not counting points that prove untestable."""
        return math.ceil(math.log2(len(self._untested(*self.interval)) + 1))

    def next_index(self) -> int | None:
        """The index of the point to test next; None when nothing is left between good and bad."""
        if ends := [index for index in (0, len(self.points) - 1) if index not in self.verdicts]:
            return ends[0]
        return self._middle(*self.interval)

    def indices_after(self, index: int) -> list[int]:
        """The indices that the search may test after ``index``: one if it is good, one if it is bad."""
        last = len(self.points) - 1
        if len(self.verdicts) < 2:
            return [last] if last not in self.verdicts and last != index else []
        last_good, first_bad = self.interval
        middles = self._middle(index, first_bad), self._middle(last_good, index)
        return [middle for middle in middles if middle is not None]

    def add(self, index: int, verdict: str) -> None:
        self.verdicts[index] = verdict
        self.tested.append(index)

    @property
    def suspects(self) -> list[str]:
        """The first bad point, after the untestable points just before it: any of them may be the first."""
        last_good, first_bad = self.interval
        return list(self.points[last_good + 1 : first_bad + 1])

    def _untested(self, last_good: int, first_bad: int) -> list[int]:
        return [index for index in range(last_good + 1, first_bad) if index not in self.verdicts]

    def _middle(self, last_good: int, first_bad: int) -> int | None:
        """The middle of the untested points, so that each test halves them even around untestable ones."""
        untested = self._untested(last_good, first_bad)
        return untested[len(untested) // 2] if untested else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """The result of a search: one suspect, or several where the points between are untestable."""

    suspects: list[str]
    steps: list[tuple[str, str]]
    untestable: list[str]
    last_good: str


class UnexpectedEndError(Exception):
    """The first point is not good or the last is not bad, so there is nothing to search for."""


def run(
    search: Search,
    test: Callable[[str], str],
    *,
    prepare: Callable[[list[str]], None] = lambda _: None,
    on_verdict: Callable[[Search, str, str], None] = lambda *_: None,
) -> SearchResult:
    """Search with ``test``, which returns the verdict of a point; raises ``UnexpectedEndError``.

    Before each test ``prepare`` receives the points that may be next; ``on_verdict`` receives every verdict.
    """
    _check_ends(search)
    while (index := search.next_index()) is not None:
        point = search.points[index]
        prepare([search.points[following] for following in search.indices_after(index)])
        verdict = test(point)
        search.add(index, verdict)
        on_verdict(search, point, verdict)
        _check_ends(search)
    steps = [(search.points[index], search.verdicts[index]) for index in search.tested]
    return SearchResult(
        suspects=search.suspects,
        steps=steps,
        untestable=[point for point, verdict in steps if verdict == UNTESTABLE],
        last_good=search.points[search.interval[0]],
    )


def _check_ends(search: Search) -> None:
    """Raise as soon as the verdict of an end, from this run or an earlier one, rules out a search."""
    for index, expected in ((0, GOOD), (len(search.points) - 1, BAD)):
        verdict = search.verdicts.get(index, expected)
        if verdict != expected:
            raise UnexpectedEndError(f"{search.points[index]} is {verdict}, expected {expected}")


def restore(verdicts: Mapping[str, str], points: Sequence[str]) -> dict[int, str]:
    """The verdicts of an interrupted search by index; untestable points are tested again."""
    return {
        index: verdicts[point] for index, point in enumerate(points) if verdicts.get(point) in (GOOD, BAD)
    }
