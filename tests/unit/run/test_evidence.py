"""The files of a run become evidence, however the run ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunematrix.run import evidence


def stage_start(name: str) -> dict[str, Any]:
    return {"$report_type": "StageReport", "when": "setup", "user_properties": [["stage", {"name": name}]]}


def stage_end(name: str, outcome: str = "passed", **numbers: Any) -> dict[str, Any]:
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


def report_line(
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


def read_lines(
    tmp_path: Path, *lines: dict[str, Any], exit_code: int | None = 0, incomplete_line: str = ""
) -> evidence.Evidence:
    path, log = tmp_path / "report.jsonl", tmp_path / "log.txt"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + incomplete_line)
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    return evidence.read(path, log, exit_code)


def test_stages_numbers_and_call_sites_are_collected(tmp_path: Path) -> None:
    result = read_lines(
        tmp_path,
        stage_start("import"),
        stage_end("import"),
        stage_start("finetune"),
        stage_end("finetune", x=1),
    )

    assert result.stages["import"].outcome == "passed"
    assert result.stages["align"].outcome == "not_run"
    assert result.fingerprint == {"x": 1}
    assert result.call_sites == [{"call": "f", "argument": "a", "use": "b"}]
    assert result.peak_rss_mb == 7


def test_failed_stage_keeps_its_error_and_adds_no_probe(tmp_path: Path) -> None:
    workflow_tests = "tests/test_real_e2e.py"
    line = report_line("test_real_align", "failed", workflow_tests)
    line["longrepr"]["reprcrash"]["message"] = "AssertionError: align failed: m"
    result = read_lines(tmp_path, stage_end("align", "failed"), line, exit_code=1)

    assert result.outcome == "failed"
    assert result.stages["align"].error is not None
    assert result.probes == []


def test_workflow_test_with_an_unexplained_failure_becomes_a_probe_beside_a_failed_stage(
    tmp_path: Path,
) -> None:
    """The uninterrupted run, for example, is not a stage; it can fail in its second step."""
    unexplained = report_line("test_real_resume", "failed", "tests/test_real_e2e.py")
    unexplained["longrepr"]["reprcrash"]["message"] = "AssertionError: uninterrupted run failed: deep"
    explained = report_line("test_real_align", "failed", "tests/test_real_e2e.py")
    explained["longrepr"]["reprcrash"]["message"] = "AssertionError: align failed: m"

    result = read_lines(tmp_path, stage_end("align", "failed"), unexplained, explained, exit_code=1)

    assert [probe.name for probe in result.probes] == ["real_resume"]


def test_failed_workflow_test_with_passed_stages_becomes_a_probe(tmp_path: Path) -> None:
    result = read_lines(
        tmp_path,
        stage_end("align"),
        report_line("test_real_align", "failed", "tests/test_real_e2e.py"),
        exit_code=1,
    )

    assert [(probe.name, probe.outcome) for probe in result.probes] == [("real_align", "failed")]


def test_stage_times_out_when_its_test_ends_first(tmp_path: Path) -> None:
    line = report_line("test_real_align", "failed", "tests/test_real_e2e.py")
    line["longrepr"]["reprcrash"]["message"] = "Failed: Timeout (>300.0s) from pytest-timeout."
    result = read_lines(tmp_path, stage_start("align"), line, exit_code=1).stages["align"]

    assert (result.outcome, result.machine_error) == ("timed_out", result.error)


def test_a_stage_fails_when_its_test_fails_for_another_reason(tmp_path: Path) -> None:
    lines = [stage_start("align"), report_line("test_real_align", "failed", "tests/test_real_e2e.py")]
    result = read_lines(tmp_path, *lines, exit_code=1).stages["align"]

    assert (result.outcome, result.failed) == ("failed", True)


def test_lines_that_are_no_reports_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    path.write_bytes(b"[]\n5\n\xff\n" + b"[" * 100_000 + b"\n" + json.dumps(stage_end("import")).encode())

    assert evidence.read(path, tmp_path / "log.txt", 0).stages["import"].outcome == "passed"


@pytest.mark.parametrize("outcome", ["passed", "failed", "skipped"])
def test_tests_outside_the_workflow_are_probes(tmp_path: Path, outcome: str) -> None:
    result = read_lines(
        tmp_path, report_line("test_merge", outcome), report_line("test_merge", "passed", when="teardown")
    )

    assert [(probe.name, probe.outcome, probe.seconds) for probe in result.probes] == [
        ("merge", outcome, 0.25)
    ]
    assert (result.probes[0].error is not None) == (outcome == "failed")


@pytest.mark.parametrize(
    ("exit_code", "outcome", "error_type", "text"),
    [
        (-11, "crashed", "SIGSEGV", "ended by SIGSEGV during align"),
        (-9, "crashed", "SIGKILL", "memory is short"),
        (None, "timed_out", "TimeoutError", "did not end in time during align; killed"),
        (3, "crashed", "Exit3", "with exit code 3 during align"),
    ],
)
def test_killed_process_keeps_everything_measured_before(
    tmp_path: Path, exit_code: int | None, outcome: str, error_type: str, text: str
) -> None:
    lines = [stage_start("finetune"), stage_end("finetune", x=1), stage_start("align")]

    result = read_lines(tmp_path, *lines, exit_code=exit_code, incomplete_line='{"$report_type": "Sta')

    assert result.outcome == outcome
    assert result.stages["finetune"].outcome == "passed"
    assert result.fingerprint == {"x": 1}
    error = result.stages["align"].error
    assert error is not None
    assert error.type == error_type
    assert text in error.message
    assert error.traceback.endswith("line 98\nline 99")
    assert result.stages["generate"].outcome == "not_run"


def test_process_killed_between_stages_becomes_a_probe(tmp_path: Path) -> None:
    result = read_lines(tmp_path, stage_start("import"), stage_end("import"), exit_code=-6)

    assert result.outcome == "crashed"
    assert [(probe.name, probe.outcome) for probe in result.probes] == [("process", "crashed")]


def test_run_without_files_has_only_stages_that_did_not_run(tmp_path: Path) -> None:
    result = evidence.read(tmp_path / "none", tmp_path / "none", -9)

    assert result.outcome == "crashed"
    assert {stage.outcome for stage in result.stages.values()} == {"not_run"}
