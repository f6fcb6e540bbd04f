"""Binary search: the first bad release is found with few tests, or given as a range of suspects."""

from __future__ import annotations

import math
import random

import pytest

from tunematrix.questions import search
from tunematrix.questions.search import BAD, GOOD, UNTESTABLE, Search, SearchResult, UnexpectedEndError


def run_search(verdicts: list[str], saved: dict[str, str] | None = None) -> tuple[SearchResult, list[str]]:
    points = [f"1.{minor}" for minor in range(len(verdicts))]
    tested: list[str] = []

    def test(point: str) -> str:
        tested.append(point)
        return verdicts[points.index(point)]

    return search.run(Search(points=points, verdicts=search.restore(saved or {}, points)), test), tested


@pytest.mark.parametrize("count", [2, 3, 4, 7, 10, 33, 100])
def test_the_first_bad_release_is_found_with_few_tests(count: int) -> None:
    for first in range(1, count):
        result, tested = run_search([GOOD] * first + [BAD] * (count - first))

        assert result.suspects == [f"1.{first}"]
        assert result.last_good == f"1.{first - 1}"
        assert len(tested) <= math.ceil(math.log2(count)) + 2
        assert len(tested) == len(set(tested))


def test_untestable_releases_before_the_first_bad_one_are_suspects() -> None:
    result, tested = run_search([GOOD, GOOD, GOOD, GOOD, UNTESTABLE, BAD, BAD, BAD])

    assert result.suspects == ["1.4", "1.5"]  # either may be the first bad one
    assert result.untestable == ["1.4"]
    assert tested.count("1.4") == 1


def test_untestable_releases_away_from_the_edge_do_not_matter() -> None:
    result, _ = run_search([GOOD, UNTESTABLE, GOOD, BAD, UNTESTABLE, BAD, UNTESTABLE, BAD])

    assert result.suspects == ["1.3"]


def test_the_first_bad_release_is_always_a_suspect() -> None:
    generator = random.Random(7)
    for _ in range(300):
        count = generator.randint(2, 40)
        first = generator.randint(1, count - 1)
        verdicts = [BAD if minor >= first else GOOD for minor in range(count)]
        for minor in range(1, count - 1):
            if generator.random() < 0.3:
                verdicts[minor] = UNTESTABLE
        result, tested = run_search(verdicts)

        assert f"1.{first}" in result.suspects
        assert all(verdicts[int(point[2:])] == UNTESTABLE for point in result.suspects[:-1])
        testable = len([point for point in tested if verdicts[int(point[2:])] != UNTESTABLE])
        assert testable <= math.ceil(math.log2(count)) + 2


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        ([BAD, BAD, BAD], "1.0 is bad, expected good"),
        ([GOOD, GOOD, GOOD], "1.2 is good, expected bad"),
        ([GOOD, BAD, UNTESTABLE], "1.2 is untestable, expected bad"),
    ],
)
def test_both_ends_are_checked_first(verdicts: list[str], message: str) -> None:
    with pytest.raises(UnexpectedEndError, match=message):
        run_search(verdicts)


def test_an_interrupted_search_continues() -> None:
    saved = {"1.0": GOOD, "1.11": BAD, "1.5": GOOD, "1.8": UNTESTABLE}

    result, tested = run_search([GOOD] * 6 + [BAD] * 6, saved)

    assert result.suspects == ["1.6"]
    assert not {"1.0", "1.11", "1.5"} & set(tested)


def test_saved_verdicts_of_unexpected_ends_are_an_error() -> None:
    with pytest.raises(UnexpectedEndError, match=r"1\.2 is good, expected bad"):
        run_search([GOOD, GOOD, GOOD], {"1.0": GOOD, "1.2": GOOD})


def test_the_points_that_may_be_next_are_prepared() -> None:
    points = [str(number) for number in range(9)]
    prepared: list[list[str]] = []
    tested: list[str] = []

    def test(point: str) -> str:
        tested.append(point)
        return GOOD if int(point) < 6 else BAD

    search.run(Search(points=points), test, prepare=prepared.append)

    for index, point in enumerate(tested[2:-1], start=2):
        assert tested[index + 1] in prepared[index], (point, prepared)
