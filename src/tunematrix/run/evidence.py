"""Read the results of a cell's run from the files it leaves, even if the run was killed."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.base.record import Failure, Result, worst_outcome
from tunematrix.shared.stages import STAGES, memory_hint

LOG_TAIL_LINES: Final = 60  # lines of the log to show with a crash: the stack of a test in pytest is deep
WORKFLOW_TESTS: Final = ("test_real_e2e.py", "test_scripts.py")  # these tests report their work as stages
TIMED_OUT: Final = "TimeoutError"
TEST_TIME_LIMIT: Final = re.compile(r"Timeout \(?>")  # the message of pytest-timeout
COMPLETED: Final = (0, 1)  # exit codes of a pytest that ran all tests: all passed, or some failed


@dataclass(kw_only=True, slots=True)
class Evidence:
    """The facts from one run, as far as it got."""

    expected: tuple[str, ...] = STAGES
    stages: dict[str, Result] = field(default_factory=dict)
    probes: list[Result] = field(default_factory=list)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    call_sites: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    surface: dict[str, dict[str, Any]] = field(default_factory=dict)
    peak_rss_mb: int = 0
    running_stage: str | None = None
    error: Failure | None = None

    @property
    def outcome(self) -> str:
        """The worst outcome of all stages and probes; at best ``skipped`` if a test was skipped."""
        skipped = [Result(name="error", outcome="skipped")] if self.error else []
        return worst_outcome([*self.stages.values(), *self.probes, *skipped])


def read(
    report_log: Path,
    log: Path,
    exit_code: int | None,
    expected_stages: Sequence[str] = STAGES,
    *,
    whole_cell: bool = True,
) -> Evidence:
    """The evidence in pytest's report log; ``exit_code`` is pytest's, None if it reached the time limit.

    A stage missing from the log counts as ``not_run`` in a run of the whole cell, and is left out in a
    run of selected tests.
    """
    evidence = Evidence(expected=tuple(expected_stages))
    for line in _read_lines(report_log):
        if line.get("$report_type") == "StageReport":
            _add_stage(evidence, line)
        elif line.get("$report_type") in ("TestReport", "CollectReport"):
            _add_test(evidence, line)
    if exit_code not in COMPLETED:
        _add_process_failure(evidence, exit_code, log)
    expected = [name for name in expected_stages if whole_cell or name in evidence.stages]
    evidence.stages = {
        name: evidence.stages.get(name, Result(name=name, outcome="not_run")) for name in expected
    }
    return evidence


def _read_lines(report_log: Path) -> Iterator[Mapping[str, Any]]:
    """The parsed lines of a report log, without a last line that a killed process left incomplete."""
    try:
        text = report_log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for text_line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(text_line)
            if isinstance(line, Mapping):
                yield line


def _add_stage(evidence: Evidence, line: Mapping[str, Any]) -> None:
    fact = dict(line["user_properties"])["stage"]
    if line["when"] == "setup":
        evidence.running_stage = fact["name"]
        return
    evidence.running_stage = None
    error = Failure(**fact["error"]) if fact["error"] else None
    result = Result(
        name=fact["name"],
        outcome=fact["outcome"],
        seconds=round(fact["seconds"], 3),
        attempts=fact["attempts"],
        error=error,
    )
    _add_result(evidence, result)
    trace = fact["trace"]
    evidence.fingerprint |= trace["numbers"]
    evidence.surface |= trace["surface"]
    evidence.call_sites += [site for site in trace["call_sites"] if site not in evidence.call_sites]
    _add_warnings(evidence, trace["warnings"])
    evidence.peak_rss_mb = max(evidence.peak_rss_mb, fact["peak_rss_mb"])


def _add_warnings(evidence: Evidence, warnings: list[dict[str, Any]]) -> None:
    """Add ``warnings``; a repeated warning only raises the count of the first."""
    for warning in warnings:
        same = [seen for seen in evidence.warnings if {**seen, "count": 0} == {**warning, "count": 0}]
        if same:
            same[0]["count"] += warning["count"]
        else:
            evidence.warnings.append(dict(warning))


def _add_test(evidence: Evidence, line: Mapping[str, Any]) -> None:
    """Add a test as a probe; a workflow test only if it fails and no failed stage explains it."""
    name = line["nodeid"].split("::")[-1].removeprefix("test_") or line["nodeid"]
    failed = line["outcome"] == "failed"
    error = _failure_from(line.get("longrepr"))
    if failed and evidence.running_stage:  # the test ended in the middle of a stage
        outcome = "timed_out" if error.type == TIMED_OUT else "failed"
        _add_result(evidence, Result(name=evidence.running_stage, outcome=outcome, error=error))
        evidence.running_stage = None
        return
    if line["$report_type"] == "TestReport" and not _is_workflow(line["nodeid"]):
        if failed and _is_explained(evidence, error):
            return
        if line["when"] == "call" or line["outcome"] != "passed":
            seconds = round(line["duration"], 3)
            result = Result(
                name=name, outcome=line["outcome"], seconds=seconds, error=error if failed else None
            )
            evidence.probes.append(result)
    elif failed and not _is_explained(evidence, error):
        evidence.probes.append(Result(name=name, outcome="failed", error=error))
    elif line["outcome"] == "skipped" and line["$report_type"] == "TestReport":
        evidence.error = evidence.error or error


def _is_workflow(nodeid: str) -> bool:
    return nodeid.partition("::")[0].endswith(WORKFLOW_TESTS)


def _is_explained(evidence: Evidence, error: Failure) -> bool:
    """Whether the message of a failed test contains the message of a stage or probe that failed before."""
    results = (*evidence.stages.values(), *evidence.probes)
    failures = (result.error for result in results if result.outcome not in ("passed", "not_run"))
    return any(failure is not None and failure.message in error.message for failure in failures)


def _failure_from(longrepr: Any) -> Failure:
    if isinstance(longrepr, Mapping):
        crash = longrepr.get("reprcrash") or {}
        message = str(crash.get("message", ""))
        error_type, _, rest = message.partition(": ")
        if TEST_TIME_LIMIT.match(rest):
            error_type = TIMED_OUT
        where = f"{Path(crash.get('path', '')).name}:{crash.get('lineno', '')}"
        return Failure(type=error_type, message=rest or message, where=where)
    if isinstance(longrepr, list):  # a skip: path, line, reason
        return Failure(type="Skipped", message=str(longrepr[-1]).removeprefix("Skipped: "))
    return Failure(type="Error", message=str(longrepr or ""))


def _add_process_failure(evidence: Evidence, exit_code: int | None, log: Path) -> None:
    """Record that the process died, was killed, or ended with an internal error of pytest.

    The failure belongs to the stage or probe that was running, else to the probe ``process``.
    """
    error = Failure(
        type=_error_type(exit_code),
        message=_message(exit_code, evidence.running_stage),
        traceback=_tail(log),
    )
    outcome = "timed_out" if exit_code is None else "crashed"
    _add_result(evidence, Result(name=evidence.running_stage or "process", outcome=outcome, error=error))


def _add_result(evidence: Evidence, result: Result) -> None:
    if result.name in evidence.expected:
        evidence.stages[result.name] = result
    else:
        evidence.probes.append(result)


def _error_type(exit_code: int | None) -> str:
    if exit_code is None:
        return TIMED_OUT
    return signal.Signals(-exit_code).name if exit_code < 0 else f"Exit{exit_code}"


def _message(exit_code: int | None, running_stage: str | None) -> str:
    during = f" during {running_stage}" if running_stage else ""
    if exit_code is None:
        return f"the cell did not end in time{during}; killed"
    name = _error_type(exit_code)
    how = f"by {name}" if exit_code < 0 else f"with exit code {exit_code}"
    return f"the cell's process ended {how}{during}{memory_hint(name)}"


def _tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:])
    except OSError:
        return ""
