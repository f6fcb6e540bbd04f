"""Which release did it: rungs between two records, the same direction, and the data files."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from tests.unit.verdict.test_answer import GOOD, NOTHING, failed
from tunematrix.base.errors import InfrastructureError
from tunematrix.base.record import Record, Result
from tunematrix.shared.reading import UnreadableError
from tunematrix.verdict import accepted, agreement, causes, releases
from tunematrix.verdict.answer import judge
from tunematrix.verdict.diff import ABSENT
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.releases import Rung, between, responsible, short

LOSS = "tiny-llama.sft.text.training_loss"
LONG = list(range(100))


def rung(after: str, package: str = "trl", **fields: Any) -> Rung:
    minor = int(after.split(".")[1])
    return Rung(day=f"2026-01-{minor:02}", package=package, before=f"1.{minor - 1}", after=after, **fields)


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
        ([moved("1.4", 2.0, 3.0), moved("1.6", 3.0, 2.0)], None),  # that a later one undid
        ([moved("1.4", 2.5, math.nan)], None),  # NaN is neither a fall nor a rise
        ([], None),
    ],
)
def test_the_rung_lies_between_and_moved_the_field_the_same_way(
    rungs: list[Rung], expected: str | None
) -> None:
    found = responsible(LOSS, (2.0, 3.0), between({"trl": ("1.1", "1.9")}, rungs))
    assert (found.after if found else None) == expected


def test_going_back_undoes_a_rung() -> None:
    packages = {"trl": ("1.9", "1.1")}
    assert responsible(LOSS, (3.0, 2.0), between(packages, [moved("1.5", 2.0, 3.0)])) is not None
    assert responsible(LOSS, (2.0, 3.0), between(packages, [moved("1.5", 2.0, 3.0)])) is None


def test_what_is_no_number_is_compared_with_a_side_of_the_rung() -> None:
    packages = {"trl": ("1.1", "1.9")}
    listed = moved("1.5", short([1, 2]), short(LONG))
    assert responsible(LOSS, ([7], LONG), between(packages, [listed])) is listed
    assert responsible(LOSS, ([1, 2], [3]), between(packages, [listed])) is listed
    assert responsible(LOSS, ([7], [3]), between(packages, [listed])) is None


def test_of_another_model_the_only_rung_that_moved_the_field_did_it() -> None:
    packages = {"trl": ("1.1", "1.9")}

    def named(name: str, pair: tuple[Any, Any], *rungs: Rung) -> str | None:
        found = responsible(name, pair, between(packages, rungs))
        return found.after if found else None

    own = rung("1.5", changes={"align.text": ("a", "b"), "finetune.loss": (1.0, 2.0)})
    tiny = rung("1.6", changes={"tiny-llama.sft.packed.labels": ([1], [2])})
    assert named("align.text", ("x", "y"), own) == "1.5"
    assert named("align.text", ("x", "y"), own, rung("1.7", changes={"align.text": ("b", "c")})) is None
    assert named("finetune.loss", (7.0, 6.0), own) is None  # a number in the other direction
    assert named("sft.packed.labels", ([7], [8]), tiny) == "1.6"
    sweep = "tiny-llama.sweep.SFTConfig.packing"
    assert named(sweep, ({"True": 1}, {"True": 2}), rung("1.5", changes={sweep: ("#a", "#b")})) == "1.5"


def test_what_moved_while_it_could_not_be_measured_belongs_to_the_rung_where_it_came_back() -> None:
    packages = {"trl": ("1.1", "1.9")}
    gone, back = moved("1.4", 2.0, ABSENT), moved("1.6", ABSENT, 3.0)
    assert responsible(LOSS, (2.5, 3.5), between(packages, [gone, back])) is back
    assert responsible(LOSS, (3.5, 2.5), between(packages, [gone, back])) is None
    same = moved("1.6", ABSENT, 2.0)
    assert responsible(LOSS, (2.5, 3.5), between(packages, [gone, same])) is None
    assert responsible(LOSS, (3.0, 2.0), between({"trl": ("1.9", "1.1")}, [back, gone])) is gone


def test_a_rung_keeps_what_a_failure_left_unmeasured_and_the_names_that_are_new() -> None:
    good = replace(GOOD, probes=(Result(name="fingerprint:surface", outcome="passed"),))
    before = replace(
        good,
        fingerprint={"tiny-llama.dpo.ipo.grad_norm": 1.5, "tiny-llama.dpo.ipo.rows": LONG},
        signatures={"trl.DPOTrainer": ["model"]},
        symbols={"trl": ["DPOTrainer"]},
    )
    after = replace(
        good,
        fingerprint={"tiny-llama.dpo.ipo.error": "KeyError"},
        signatures={"trl.DPOTrainer": ["model", "quantization_config"]},
        symbols={"trl": ["DPOTrainer", "prepare_peft_model"]},
    )
    judged = judge(before, after, NOTHING)
    found = releases.measured(rung("1.5"), before, after, judged.diff, judged.findings).changes
    assert found == {
        "tiny-llama.dpo.ipo.error": (ABSENT, "KeyError"),
        "tiny-llama.dpo.ipo.grad_norm": (1.5, ABSENT),
        "tiny-llama.dpo.ipo.rows": (short(LONG), ABSENT),
        "trl.DPOTrainer(quantization_config)": (ABSENT, "quantization_config"),
        "trl.prepare_peft_model": (ABSENT, "present"),
    }


def test_nan_is_itself_and_true_is_not_one() -> None:
    packages = {"trl": ("1.1", "1.9")}
    rungs = [moved("1.4", 2.0, math.nan), moved("1.6", 3.0, 2.5)]
    found = responsible(LOSS, (2.0, math.nan), between(packages, rungs))
    assert found is rungs[0]
    assert responsible(LOSS, (False, True), between(packages, [moved("1.4", 0, 5)])) is None


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
    assert found.action == "accept it, or stay on trl<=1.4"
    back = judge(after, before, replace(NOTHING, rungs=(moved("1.5", 2.0, 3.0),))).findings
    assert [each.action for each in back] == ["accept it"]


@pytest.mark.parametrize(("error", "release"), [("KeyError", "1.5"), ("TypeError", "")])
def test_a_stage_that_breaks_gets_the_release_with_the_same_error(error: str, release: str) -> None:
    own = rung("1.5", stages={"align": ("passed", "failed: KeyError")})
    after = upgraded(failed("align", error), "1.9")
    [found] = judge(GOOD, after, replace(NOTHING, rungs=(own,))).findings
    assert (found.cause.release if found.cause else "") == release


def test_the_stages_of_a_rung_tell_the_error() -> None:
    judged = judge(GOOD, failed("align"), NOTHING)
    own = releases.measured(rung("1.5"), GOOD, failed("align"), judged.diff, judged.findings)
    assert own.stages == {"align": ("passed", "failed: KeyError")}


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
    before = measured(2.0, *FIELDS)
    [found] = releases.attribute([finding], before, after, judge(before, after, NOTHING).diff, rungs)
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


def test_stages_come_first_among_the_findings_of_a_rung() -> None:
    after = replace(failed("align"), fingerprint={f"tiny-llama.trainer.{n}.error": "KeyError" for n in "abc"})
    judged = judge(GOOD, after, NOTHING)
    own = releases.measured(rung("1.5"), GOOD, after, judged.diff, judged.findings)
    assert own.findings[0]["title"].startswith("alignment") or "align" in own.findings[0]["id"]


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


def test_one_release_is_one_rung_whatever_its_day(tmp_path: Path) -> None:
    releases.write(tmp_path, [moved("1.5", 2.0, 3.0)])
    releases.write(tmp_path, [replace(moved("1.5", 3.0, 2.0), day="2027-01-01")])
    [found] = releases.read(tmp_path)
    assert found.changes == {LOSS: (3.0, 2.0)}
    assert (tmp_path / "2026.jsonl").read_text() == ""


def test_rungs_of_one_day_stay_in_the_order_of_the_chain(tmp_path: Path) -> None:
    day = [
        replace(rung(after, package), day="2026-01-01") for package, after in (("z", "1.9"), ("a", "1.10"))
    ]
    releases.write(tmp_path, day)
    releases.write(tmp_path, [])
    assert [each.package for each in releases.read(tmp_path)] == ["z", "a"]


@pytest.mark.parametrize("value", [math.nan, math.inf, "a\u2028b\x85c", True, None, {"a": [1]}, "é"])
def test_any_value_comes_back(value: Any, tmp_path: Path) -> None:
    own = Rung(day="2026-01-01", package="new", before="", after="1.0", changes={LOSS: (value, 1)})
    releases.write(tmp_path, [own])
    [found] = releases.read(tmp_path)
    assert repr(found) == repr(own)


@pytest.mark.parametrize(
    "line", ["{}", "[]", "1", '{"day": 1}', "no json", '{"day": "x", "changes": {"a": 5}}']
)
def test_what_is_no_rung_is_told_with_its_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "2026.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(UnreadableError, match="line 2"):
        releases.read(tmp_path)


def test_damaged_data_of_the_package_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "2025.jsonl").write_text('{"day": "2025-01-01", "pack')
    monkeypatch.setattr(releases, "DATA", tmp_path)

    with pytest.raises(InfrastructureError, match=r"2025\.jsonl, line 1.*install tunematrix again"):
        releases.load.__wrapped__()


def test_accepting_what_only_the_ladder_names_accepts_nothing_else(tmp_path: Path) -> None:
    knowledge = replace(NOTHING, rungs=(moved("1.5", 2.0, 3.0),))
    before, after = measured(2.0), upgraded(measured(3.0), "1.9")
    [found] = judge(before, after, knowledge).findings
    accepted.add(tmp_path, found.id, "we know", [found], ["trl==1.9"])
    knowledge = replace(knowledge, accepted=accepted.load(tmp_path))
    assert judge(before, after, knowledge).exit_code == 0
    later = upgraded(measured(900.0), "1.9")
    assert judge(before, later, knowledge).exit_code == 1


def test_the_data_of_the_package_is_readable_sorted_and_small() -> None:
    rungs = releases.load()
    assert len({(each.package, each.after) for each in rungs}) == len(rungs)
    assert [each.day for each in rungs] == sorted(each.day for each in rungs)
    assert all(each.before and each.after != each.before for each in rungs)
    folder = Path(releases.__file__).parent / "rungs"
    assert sum(path.stat().st_size for path in folder.glob("*.jsonl")) < 3 * 2**20


VERSIONS = st.integers(0, 20).map(lambda minor: f"1.{minor}")


@given(st.lists(st.tuples(VERSIONS, st.floats(0, 9), st.floats(0, 9))), VERSIONS, VERSIONS)
def test_no_release_is_named_that_does_not_lie_between(
    steps: list[tuple[str, float, float]], old: str, new: str
) -> None:
    rungs = [moved(version, before, after) for version, before, after in steps]
    found = responsible(LOSS, (1.0, 2.0), between({"trl": (old, new)}, rungs))
    if found:
        low, high = sorted((int(old[2:]), int(new[2:])))
        assert low < int(found.after[2:]) <= high


def test_the_known_changes_of_this_project_agree_with_its_ladder() -> None:
    """By experiment before by hand: of two releases that people named, the ladder found another."""
    known = causes.load(Path(__file__).parents[3] / "constraints")
    assert list(agreement.disagreements(known, releases.load())) == []
    once = next(change for change in known if change.id == "accumulation-once")
    [said] = agreement.disagreements([replace(once, since=Version("5.5.0"))], releases.load())
    assert said.startswith(
        "accumulation-once: transformers 5.5.0 moved none of its fields; these fields moved in"
    )
    assert "5.5.4" in said
