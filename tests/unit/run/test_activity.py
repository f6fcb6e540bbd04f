"""What a cell is doing, from the report that its tests stream, and the time left from an earlier record."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.record import Record, Result
from tunematrix.base.store import CANDIDATES, Store
from tunematrix.locks.table import Cell
from tunematrix.run import activity
from tunematrix.run import cell as cells
from tunematrix.run.activity import Activity
from tunematrix.run.options import Options

# Two parts of 30 and 10 seconds, which overlap with nothing, after 20 seconds of preparation.
LAST = Record(
    cell="a",
    outcome="passed",
    seconds=60.0,
    model={"name": "m"},
    stages=(Result(name="import", outcome="passed", seconds=30.0),),
    probes=(Result(name="merge", outcome="passed", seconds=10.0),),
)


def stage(name: str, when: str) -> str:
    fact: dict[str, Any] = {"name": name}
    if when == "call":
        trace: dict[str, Any] = {"numbers": {}, "surface": {}, "call_sites": [], "warnings": []}
        fact |= {"outcome": "passed", "seconds": 1.0, "attempts": 1, "error": None}
        fact |= {"peak_rss_mb": 1, "trace": trace}
    return json.dumps({"$report_type": "StageReport", "when": when, "user_properties": [["stage", fact]]})


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(activity, "time", clock)
    return clock


def test_the_step_and_the_time_left_follow_the_report(tmp_path: Path, clock: Clock) -> None:
    log = tmp_path / "report.jsonl"
    running = Activity(name="a", step="starts", last=LAST, report_log=log, started=clock.now)

    def shown(*lines: str, after: float) -> tuple[str, int, int, float | None]:
        log.write_text("".join(f"{line}\n" for line in lines))
        clock.now += after
        state = activity.state(running)
        return state.step, state.done, state.parts, state.left

    assert shown(after=15) == ("starts", 0, 2, 45.0)
    assert shown(stage("import", "setup"), after=10) == ("import", 0, 2, 35.0)
    done = stage("import", "setup"), stage("import", "call")
    assert shown(*done, after=5) == ("measures", 1, 2, 10.0), "what is left takes as long as last time"
    assert shown(*done, after=4) == ("measures", 1, 2, 6.0)
    assert shown(*done, after=9) == ("measures", 1, 2, 0.0), "a part takes longer, but the whole does not yet"
    assert shown(*done, after=18) == ("measures", 1, 2, -21.0), "longer than last time"
    assert shown(*done, '{"$report_type": "Sta', after=0)[1] == 1, "a line that is not whole yet"


def test_a_whole_does_not_count_beside_its_parts() -> None:
    names = ("fingerprint:a", "fingerprint:b", "fingerprint", "program")
    assert activity._parts(Result(name=name, outcome="passed", seconds=2.0) for name in names) == {
        "fingerprint:a": 2.0,
        "fingerprint:b": 2.0,
        "program": 2.0,
    }


def test_without_a_record_there_is_no_time_left(tmp_path: Path, clock: Clock) -> None:
    log = tmp_path / "report.jsonl"
    log.write_text(stage("import", "call"))
    clock.now += 5

    state = activity.state(Activity(name="a", report_log=log, started=1000.0))
    assert (state.done, state.parts, state.left, state.elapsed) == (1, 0, None, 5.0)


def test_activities_are_those_of_their_threads() -> None:
    activity.set_step("nobody's")
    with activity.running("a"):
        activity.set_step("installs")
        with activity.running("b", LAST):
            assert [(state.name, state.step) for state in activity.states()] == [
                ("a", "installs"),
                ("b", "waits for its other run"),
            ]
        activity.set_step("starts")
        assert [state.step for state in activity.states()] == ["starts"]
    assert activity.states() == []


def test_the_record_that_shows_how_long_a_cell_takes(tmp_path: Path) -> None:
    """Its own, or the newest of the model; for a candidate, that of a cell; never one of another depth."""
    store, cell = Store(tmp_path, "m"), Cell(name="a", why="")

    def name(of: Store, **options: Any) -> str:
        record = cells._comparable_record(of, cell, Options(model="m", **options))
        return record.cell if record else ""

    assert not name(store)
    for day, other in enumerate(("b", "c")):
        store.save(Record(cell=other, outcome="passed", model={"name": "m"}))
        os.utime(store.path(other), (day, day))
    (store.folder / "summary.json").write_text("{}")
    assert name(store) == "c"
    assert name(Store(tmp_path / CANDIDATES, "m")) == "c"
    assert not name(store, depth="quick")
    store.save(LAST)
    os.utime(store.path("a"), (0, 0))
    assert name(store) == "a"
    assert not name(store, select="resume"), "a part of the tests takes as long as it takes"
