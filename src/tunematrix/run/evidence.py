"""What a cell's run left on disk, made a record: also when it was killed half way."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.base.record import Failure, Result, outcome_of
from tunematrix.shared.stages import STAGES, memory_hint

TAIL: Final = 40  # lines of the log that a crash is shown with
SEED: Final = "test_real_e2e.py"
ORDERLY: Final = (0, 1)  # pytest ran all tests: they passed, or some failed


@dataclass(kw_only=True, slots=True)
class Evidence:
    """The facts of one run, as far as it got."""

    stages: dict[str, Result] = field(default_factory=dict)
    probes: list[Result] = field(default_factory=list)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    call_sites: list[dict[str, str]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    surface: dict[str, dict[str, Any]] = field(default_factory=dict)
    peak_rss_mb: int = 0
    running: str | None = None
    error: Failure | None = None

    @property
    def outcome(self) -> str:
        """The worst of its parts; a skipped test makes the whole no better than skipped."""
        skipped = [Result(name="error", outcome="skipped")] if self.error else []
        return outcome_of([*self.stages.values(), *self.probes, *skipped])


def read(report: Path, log: Path, code: int | None, *, whole: bool = True) -> Evidence:
    """The evidence in a report log; ``code`` is pytest's exit code, None when it was stopped for time.

    Of a whole run, a stage that left no trace was not run; of a selection, it was not asked for.
    """
    evidence = Evidence()
    for line in _lines(report):
        if line.get("$report_type") == "StageReport":
            _stage(evidence, line)
        elif line.get("$report_type") in ("TestReport", "CollectReport"):
            _test(evidence, line)
    if code not in ORDERLY:
        _ended_badly(evidence, code, log)
    asked = [name for name in STAGES if whole or name in evidence.stages]
    evidence.stages = {
        name: evidence.stages.get(name, Result(name=name, outcome="not_run")) for name in asked
    }
    return evidence


def _lines(report: Path) -> Iterator[Mapping[str, Any]]:
    """The lines of a report log; a last one that a kill cut off is left out."""
    try:
        text = report.read_text(encoding="utf-8")
    except OSError:
        return
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _stage(evidence: Evidence, line: Mapping[str, Any]) -> None:
    fact = dict(line["user_properties"])["stage"]
    if line["when"] == "setup":
        evidence.running = fact["name"]
        return
    evidence.running = None
    error = Failure(**fact["error"]) if fact["error"] else None
    result = Result(
        name=fact["name"],
        outcome=fact["outcome"],
        seconds=round(fact["seconds"], 3),
        attempts=fact["attempts"],
        error=error,
    )
    _keep(evidence, result)
    trace = fact["trace"]
    evidence.fingerprint |= trace["numbers"]
    evidence.surface |= trace["surface"]
    evidence.call_sites += [row for row in trace["call_sites"] if row not in evidence.call_sites]
    _warned(evidence, trace["warnings"])
    evidence.peak_rss_mb = max(evidence.peak_rss_mb, fact["peak_rss_mb"])


def _warned(evidence: Evidence, rows: list[dict[str, Any]]) -> None:
    """Add announcements; one that was made before is counted, not told again."""
    for row in rows:
        same = [one for one in evidence.warnings if {**one, "count": 0} == {**row, "count": 0}]
        if same:
            same[0]["count"] += row["count"]
        else:
            evidence.warnings.append(dict(row))


def _test(evidence: Evidence, line: Mapping[str, Any]) -> None:
    """Tests beside the seed's are probes; of the seed's, only what no stage explains."""
    name = line["nodeid"].split("::")[-1].removeprefix("test_") or line["nodeid"]
    failed = line["outcome"] == "failed"
    error = _longrepr(line.get("longrepr"))
    if failed and evidence.running:  # the test's own time limit came in the middle of a stage
        stage = evidence.running
        _cut_off(evidence, stage, "timed_out", error)
        evidence.running = None
        return
    if line["$report_type"] == "TestReport" and SEED not in line["nodeid"]:
        if failed and _explained(evidence, error):
            return
        if line["when"] == "call" or line["outcome"] != "passed":
            seconds = round(line["duration"], 3)
            result = Result(
                name=name, outcome=line["outcome"], seconds=seconds, error=error if failed else None
            )
            evidence.probes.append(result)
    elif failed and not _explained(evidence, error):
        evidence.probes.append(Result(name=name, outcome="failed", error=error))
    elif line["outcome"] == "skipped" and line["$report_type"] == "TestReport":
        evidence.error = evidence.error or error


def _explained(evidence: Evidence, error: Failure) -> bool:
    """Whether a stage that failed already tells what this failed test says."""
    parts = (*evidence.stages.values(), *evidence.probes)
    told = (part.error for part in parts if part.outcome not in ("passed", "not_run"))
    return any(one is not None and one.message in error.message for one in told)


def _longrepr(longrepr: Any) -> Failure:
    if isinstance(longrepr, Mapping):
        crash = longrepr.get("reprcrash") or {}
        message = str(crash.get("message", ""))
        kind, _, rest = message.partition(": ")
        where = f"{Path(crash.get('path', '')).name}:{crash.get('lineno', '')}"
        return Failure(type=kind, message=rest or message, where=where)
    if isinstance(longrepr, list):  # a skip: path, line, reason
        return Failure(type="Skipped", message=str(longrepr[-1]).removeprefix("Skipped: "))
    return Failure(type="Error", message=str(longrepr or ""))


def _ended_badly(evidence: Evidence, code: int | None, log: Path) -> None:
    """The process itself died, was stopped, or pytest could not work."""
    outcome = "timed_out" if code is None else "crashed"
    error = Failure(type=_name(code), message=_message(code, evidence.running), traceback=tail(log))
    if evidence.running:
        _cut_off(evidence, evidence.running, outcome, error)
    else:
        evidence.probes.append(Result(name="process", outcome=outcome, error=error))


def _cut_off(evidence: Evidence, name: str, outcome: str, error: Failure) -> None:
    """A stage, or a probe with a report of its own, that something else ended."""
    _keep(evidence, Result(name=name, outcome=outcome, error=error))


def _keep(evidence: Evidence, result: Result) -> None:
    if result.name in STAGES:
        evidence.stages[result.name] = result
    else:
        evidence.probes.append(result)


def _name(code: int | None) -> str:
    if code is None:
        return "TimeoutError"
    return signal.Signals(-code).name if code < 0 else f"Exit{code}"


def _message(code: int | None, running: str | None) -> str:
    during = f" during {running}" if running else ""
    if code is None:
        return f"the cell did not end in time{during}; killed"
    how = f"by {_name(code)}" if code < 0 else f"with exit code {code}"
    return f"the cell's process ended {how}{during}{memory_hint(_name(code))}"


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
    except OSError:
        return ""
