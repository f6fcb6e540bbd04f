"""Searching: toy releases with planted faults, each found with few tests and never guessed."""

from __future__ import annotations

import math
import random

import pytest

from tunematrix.questions import search
from tunematrix.questions.search import BAD, GOOD, UNTESTABLE, SameEndsError, Search, SearchResult


def searched(verdicts: list[str], known: dict[str, str] | None = None) -> tuple[SearchResult, list[str]]:
    points = [f"1.{at}" for at in range(len(verdicts))]
    tested: list[str] = []

    def test(point: str) -> str:
        tested.append(point)
        return verdicts[points.index(point)]

    return search.run(Search(points=points, verdicts=search.restore(known or {}, points)), test), tested


@pytest.mark.parametrize("count", [2, 3, 4, 7, 10, 33, 100])
def test_every_place_is_found_with_few_tests(count: int) -> None:
    for first in range(1, count):
        found, tested = searched([GOOD] * first + [BAD] * (count - first))

        assert found.suspects == [f"1.{first}"]
        assert found.last_good == f"1.{first - 1}"
        assert len(tested) <= math.ceil(math.log2(count)) + 2
        assert len(tested) == len(set(tested))


def test_untestable_releases_are_stepped_round() -> None:
    rows = [GOOD, GOOD, GOOD, GOOD, UNTESTABLE, BAD, BAD, BAD]
    found, tested = searched(rows)

    assert found.suspects == ["1.4", "1.5"]  # either may be the first bad one: never guessed
    assert found.untestable == ["1.4"]
    assert tested.count("1.4") == 1


def test_untestable_releases_away_from_the_edge_do_not_matter() -> None:
    found, _ = searched([GOOD, UNTESTABLE, GOOD, BAD, UNTESTABLE, BAD, UNTESTABLE, BAD])

    assert found.suspects == ["1.3"]


def test_random_rows_with_gaps_never_name_an_innocent() -> None:
    draw = random.Random(7)
    for _ in range(300):
        count = draw.randint(2, 40)
        first = draw.randint(1, count - 1)
        rows = [BAD if at >= first else GOOD for at in range(count)]
        gaps = {at for at in range(1, count - 1) if draw.random() < 0.3}
        found, tested = searched([UNTESTABLE if at in gaps else row for at, row in enumerate(rows)])

        assert f"1.{first}" in found.suspects
        assert all(int(point[2:]) in gaps for point in found.suspects[:-1])
        testable = len([point for point in tested if int(point[2:]) not in gaps])
        assert testable <= math.ceil(math.log2(count)) + 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([BAD, BAD, BAD], "1.0 is bad, where good was expected"),
        ([GOOD, GOOD, GOOD], "1.2 is good, where bad was expected"),
        ([GOOD, BAD, UNTESTABLE], "1.2 is untestable, where bad was expected"),
    ],
)
def test_both_ends_are_verified_first(rows: list[str], message: str) -> None:
    with pytest.raises(SameEndsError, match=message):
        searched(rows)


def test_an_interrupted_search_goes_on() -> None:
    rows = [GOOD] * 6 + [BAD] * 6
    known = {"1.0": GOOD, "1.11": BAD, "1.5": GOOD, "1.8": UNTESTABLE}

    found, tested = searched(rows, known)

    assert found.suspects == ["1.6"]
    assert not {"1.0", "1.11", "1.5"} & set(tested)


def test_ends_that_an_earlier_search_found_the_same_are_told_again() -> None:
    with pytest.raises(SameEndsError, match=r"1\.2 is good, where bad was expected"):
        searched([GOOD, GOOD, GOOD], {"1.0": GOOD, "1.2": GOOD})


def test_what_may_come_next_is_told_before_each_test() -> None:
    points = [str(at) for at in range(9)]
    told: list[list[str]] = []
    tested: list[str] = []

    def test(point: str) -> str:
        tested.append(point)
        return GOOD if int(point) < 6 else BAD

    search.run(Search(points=points), test, prepare=told.append)

    for at, point in enumerate(tested[2:-1], start=2):
        assert tested[at + 1] in told[at], (point, told)
