"""What a run leaves on disk becomes a record, however the run ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunematrix.run import evidence


def begun(name: str) -> dict[str, Any]:
    return {"$report_type": "StageReport", "when": "setup", "user_properties": [["stage", {"name": name}]]}


def ended(name: str, outcome: str = "passed", **numbers: Any) -> dict[str, Any]:
    error = None if outcome == "passed" else {"type": "E", "message": "m", "where": "w", "traceback": "t"}
    trace = {
        "numbers": numbers,
        "call_sites": [{"call": "f", "argument": "a", "use": "b"}],
        "warnings": [{"category": "FutureWarning", "message": "old", "module": "trl.x", "count": 2}],
        "surface": {},
    }
    fact = {
        "name": name,
        "outcome": outcome,
        "seconds": 1.0,
        "attempts": 1,
        "error": error,
        "trace": trace,
        "peak_rss_mb": 7,
    }
    return {"$report_type": "StageReport", "when": "call", "user_properties": [["stage", fact]]}


def report(
    name: str, outcome: str, file: str = "tests/probes/test_x.py", when: str = "call"
) -> dict[str, Any]:
    longrepr = {"reprcrash": {"message": "AssertionError: no", "path": "/a/test_x.py", "lineno": 3}}
    return {
        "$report_type": "TestReport",
        "when": when,
        "nodeid": f"{file}::{name}",
        "outcome": outcome,
        "duration": 0.25,
        "longrepr": longrepr if outcome == "failed" else ["f.py", 1, "Skipped: no Hub"],
    }


def read(tmp_path: Path, *lines: dict[str, Any], code: int | None = 0, cut: str = "") -> evidence.Evidence:
    path, log = tmp_path / "report.jsonl", tmp_path / "log.txt"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + cut)
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    return evidence.read(path, log, code)


def test_stages_numbers_and_adaptations_are_gathered(tmp_path: Path) -> None:
    found = read(tmp_path, begun("import"), ended("import"), begun("finetune"), ended("finetune", x=1))

    assert found.stages["import"].outcome == "passed"
    assert found.stages["align"].outcome == "not_run"
    assert found.fingerprint == {"x": 1}
    assert found.call_sites == [{"call": "f", "argument": "a", "use": "b"}]
    assert found.peak_rss_mb == 7


def test_a_failed_stage_keeps_its_error_and_is_not_told_twice(tmp_path: Path) -> None:
    seed = "tests/test_real_e2e.py"
    told = report("test_real_align", "failed", seed)
    told["longrepr"]["reprcrash"]["message"] = "AssertionError: align failed: m"
    found = read(tmp_path, ended("align", "failed"), told, code=1)

    assert found.outcome == "failed"
    assert found.stages["align"].error is not None
    assert found.probes == []


def test_another_failure_in_a_seed_test_is_told_beside_a_failed_stage(tmp_path: Path) -> None:
    """As when the uninterrupted run, which is no stage, breaks in its second step."""
    other = report("test_real_resume", "failed", "tests/test_real_e2e.py")
    other["longrepr"]["reprcrash"]["message"] = "AssertionError: uninterrupted run failed: deep"
    known = report("test_real_align", "failed", "tests/test_real_e2e.py")
    known["longrepr"]["reprcrash"]["message"] = "AssertionError: align failed: m"

    found = read(tmp_path, ended("align", "failed"), other, known, code=1)

    assert [probe.name for probe in found.probes] == ["real_resume"]


def test_a_seed_test_that_fails_beside_its_stages_is_told(tmp_path: Path) -> None:
    found = read(
        tmp_path, ended("align"), report("test_real_align", "failed", "tests/test_real_e2e.py"), code=1
    )

    assert [(probe.name, probe.outcome) for probe in found.probes] == [("real_align", "failed")]


def test_a_test_that_ends_in_the_middle_of_a_stage_ended_it(tmp_path: Path) -> None:
    lines = [begun("align"), report("test_real_align", "failed", "tests/test_real_e2e.py")]

    assert read(tmp_path, *lines, code=1).stages["align"].outcome == "timed_out"


@pytest.mark.parametrize("outcome", ["passed", "failed", "skipped"])
def test_other_tests_are_probes(tmp_path: Path, outcome: str) -> None:
    found = read(tmp_path, report("test_merge", outcome), report("test_merge", "passed", when="teardown"))

    assert [(probe.name, probe.outcome, probe.seconds) for probe in found.probes] == [
        ("merge", outcome, 0.25)
    ]
    assert (found.probes[0].error is not None) == (outcome == "failed")


@pytest.mark.parametrize(
    ("code", "outcome", "kind", "words"),
    [
        (-11, "crashed", "SIGSEGV", "ended by SIGSEGV during align"),
        (-9, "crashed", "SIGKILL", "memory is short"),
        (None, "timed_out", "TimeoutError", "did not end in time during align; killed"),
        (3, "crashed", "Exit3", "with exit code 3 during align"),
    ],
)
def test_a_process_that_dies_loses_nothing_already_measured(
    tmp_path: Path, code: int | None, outcome: str, kind: str, words: str
) -> None:
    lines = [begun("finetune"), ended("finetune", x=1), begun("align")]

    found = read(tmp_path, *lines, code=code, cut='{"$report_type": "Sta')

    assert found.outcome == outcome
    assert found.stages["finetune"].outcome == "passed"
    assert found.fingerprint == {"x": 1}
    error = found.stages["align"].error
    assert error is not None
    assert error.type == kind
    assert words in error.message
    assert error.traceback.endswith("line 98\nline 99")
    assert found.stages["generate"].outcome == "not_run"


def test_a_process_that_dies_between_stages_is_told_too(tmp_path: Path) -> None:
    found = read(tmp_path, begun("import"), ended("import"), code=-6)

    assert found.outcome == "crashed"
    assert [(probe.name, probe.outcome) for probe in found.probes] == [("process", "crashed")]


def test_a_run_that_left_nothing_was_not_run(tmp_path: Path) -> None:
    found = evidence.read(tmp_path / "none", tmp_path / "none", -9)

    assert found.outcome == "crashed"
    assert {stage.outcome for stage in found.stages.values()} == {"not_run"}
