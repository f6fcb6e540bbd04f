"""Which release did it: rungs between two records, the same direction, and the data files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.verdict.test_answer import GOOD, NOTHING, failed
from tunematrix.base.record import Record
from tunematrix.verdict import releases
from tunematrix.verdict.answer import judge
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.releases import Rung, responsible, short

LOSS = "tiny-llama.sft.text.training_loss"
LONG = list(range(100))


def rung(after: str, package: str = "trl", **fields: Any) -> Rung:
    return Rung(
        day=f"2026-01-{int(after.split('.')[1]):02}", package=package, before="x", after=after, **fields
    )


def moved(after: str, *pair: Any, package: str = "trl") -> Rung:
    return rung(after, package, changes={LOSS: pair})


@pytest.mark.parametrize(
    ("rungs", "expected"),
    [
        ([moved("1.5", 2.0, 3.0)], "1.5"),
        ([moved("1.1", 2.0, 3.0)], None),  # at or before the older side
        ([moved("1.9", 2.0, 3.0)], "1.9"),
        ([moved("1.10", 2.0, 3.0)], None),  # after the newer side
        ([moved("1.5", 3.0, 2.0)], None),  # the other direction
        ([moved("1.5", 2.0, 3.0, package="peft")], None),  # a package that did not move
        ([moved("1.4", 2.0, 2.5), moved("1.6", 2.5, 2.7)], "1.6"),
        ([moved("1.4", 2.0, 3.0), moved("1.6", 2.5, 2.7)], "1.4"),  # that left it as it is
        ([], None),
    ],
)
def test_the_rung_lies_between_and_moved_the_field_the_same_way(
    rungs: list[Rung], expected: str | None
) -> None:
    found = responsible(LOSS, (2.0, 3.0), {"trl": ("1.1", "1.9")}, rungs)
    assert (found.after if found else None) == expected


def test_going_back_undoes_a_rung() -> None:
    packages = {"trl": ("1.9", "1.1")}
    assert responsible(LOSS, (3.0, 2.0), packages, [moved("1.5", 2.0, 3.0)]) is not None
    assert responsible(LOSS, (2.0, 3.0), packages, [moved("1.5", 2.0, 3.0)]) is None


def test_what_is_no_number_is_compared_with_a_side_of_the_rung() -> None:
    packages = {"trl": ("1.1", "1.9")}
    listed = moved("1.5", short([1, 2]), short(LONG))
    assert responsible(LOSS, ([7], LONG), packages, [listed]) is listed
    assert responsible(LOSS, ([1, 2], [3]), packages, [listed]) is listed
    assert responsible(LOSS, ([7], [3]), packages, [listed]) is None


def test_long_values_are_kept_as_checksums() -> None:
    assert short(LONG) == short(list(LONG)) != short([*LONG, 1])
    assert len(short(LONG)) == 13
    assert short({"a": 1}) == {"a": 1}


def measured(value: float, *names: str) -> Record:
    return replace(GOOD, fingerprint=dict.fromkeys(names or (LOSS,), value))


def upgraded(record: Record, trl: str) -> Record:
    return replace(record, environment={"packages": {"trl": trl, "transformers": "4.0"}})


def test_a_finding_without_a_cause_gets_the_release_and_another_action() -> None:
    before, after = measured(2.0), upgraded(measured(3.0), "1.9")
    [bare] = judge(before, after, NOTHING).findings
    assert bare.cause is None
    assert "bisect" in bare.action
    [found] = judge(before, after, replace(NOTHING, rungs=(moved("1.5", 2.0, 3.0),))).findings
    assert found.cause
    assert (found.cause.package, found.cause.release, found.cause.date) == ("trl", "1.5", "2026-01-05")
    assert found.action == "accept it, or stay on trl<1.5"
    back = judge(after, before, replace(NOTHING, rungs=(moved("1.5", 2.0, 3.0),))).findings
    assert [each.action for each in back] == ["accept it"]


def test_a_stage_that_breaks_gets_the_release_too() -> None:
    own = rung("1.5", stages={"align": ("passed", "failed")})
    [found] = judge(GOOD, upgraded(failed("align"), "1.9"), replace(NOTHING, rungs=(own,))).findings
    assert found.cause
    assert found.cause.release == "1.5"


FIELDS = tuple(f"tiny-llama.sft.text.{number}" for number in range(10))


def several(*shares: int) -> Finding:
    """A finding of ten fields, of which each of some releases moved a share."""
    rungs, first = [], 0
    for place, share in enumerate(shares):
        changes = dict.fromkeys(FIELDS[first : first + share], (2.0, 3.0))
        rungs.append(rung(f"1.{5 + place}", changes=changes))
        first += share
    finding = Finding(
        id="x", severity="training", title="x", fields=FIELDS, action="unexplained; find the release: bisect"
    )
    after = upgraded(measured(3.0, *FIELDS), "1.9")
    comparison = judge(measured(2.0, *FIELDS), after, NOTHING).diff
    [found] = releases.attribute([finding], comparison, rungs)
    return found


@pytest.mark.parametrize("shares", [(10,), (5,), (9, 1)])
def test_the_release_that_moved_the_fields_is_the_cause(shares: tuple[int, ...]) -> None:
    cause = several(*shares).cause
    assert cause
    assert cause.release == "1.5"


@pytest.mark.parametrize(
    ("shares", "action"),
    [
        ((), "unexplained; find the release: bisect"),
        ((4,), "in part trl 1.5; find the release: bisect"),
        ((6, 4), "in part trl 1.5, trl 1.6; find the release: bisect"),
        ((4, 3, 3), "in part trl 1.5, trl 1.6 and 1 more; find the release: bisect"),
    ],
)
def test_of_several_releases_none_is_the_cause(shares: tuple[int, ...], action: str) -> None:
    found = several(*shares)
    assert found.cause is None
    assert found.action == action


def test_rungs_are_kept_a_file_a_year_and_replaced_by_newer_ones(tmp_path: Path) -> None:
    old = replace(moved("1.5", 2.0, 3.0), day="2025-12-31", findings=({"id": "x", "severity": "wrong"},))
    releases.write(tmp_path, [moved("1.7", 1, 2), old])
    releases.write(tmp_path, [replace(old, changes={}), moved("1.6", LONG, None)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2025.jsonl", "2026.jsonl"]
    found = releases.read(tmp_path)
    assert [each.after for each in found] == ["1.5", "1.6", "1.7"]
    assert found[0].changes == {}
    assert found[0].findings == old.findings
    assert found[2].changes == {LOSS: (1, 2)}


def test_the_data_of_the_package_is_readable_sorted_and_small() -> None:
    rungs = releases.load()
    keys = [(each.day, each.package, each.after) for each in rungs]
    assert keys == sorted(set(keys))
    assert all(each.before and each.after != each.before for each in rungs)
    folder = Path(releases.__file__).parent / "rungs"
    assert sum(path.stat().st_size for path in folder.glob("*.jsonl")) < 3 * 2**20


VERSIONS = st.integers(0, 20).map(lambda minor: f"1.{minor}")


@given(st.lists(st.tuples(VERSIONS, st.floats(0, 9), st.floats(0, 9))), VERSIONS, VERSIONS)
def test_no_release_is_named_that_does_not_lie_between(
    steps: list[tuple[str, float, float]], old: str, new: str
) -> None:
    rungs = [moved(version, before, after) for version, before, after in steps]
    found = responsible(LOSS, (1.0, 2.0), {"trl": (old, new)}, rungs)
    if found:
        low, high = sorted((int(old[2:]), int(new[2:])))
        assert low < int(found.after[2:]) <= high
