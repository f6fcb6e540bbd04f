"""Outcomes of stages and probes, and single numbers, compared."""

from __future__ import annotations

from typing import Any, Final

from tunematrix.base.record import Record, Result
from tunematrix.verdict import effects, tolerances

ERRORS: Final = (".error", "_error")  # the ends of fields that hold the type of an error


def compared_probes(before: Record, after: Record) -> dict[str, tuple[Result, Result]]:
    """The probes of ``before``; one that ``after`` does not have did not run there.

    A probe that only ``after`` has comes from a newer test, and is no evidence. What a candidate does with
    its baseline's files is done in candidates alone.
    """
    old, new = (_worst_probes(record) for record in (before, after))
    return {
        f"probe:{name}": (old[name], new.get(name, Result(name=name, outcome="not_run")))
        for name in old
        if name in new or not name.startswith("exchange")
    }


def _worst_probes(record: Record) -> dict[str, Result]:
    """The probes by name; of several with one name, such as tests in two files, one that did not pass."""
    passed_first = sorted(record.probes, key=lambda probe: probe.outcome != "passed")
    return {probe.name: probe for probe in passed_first}


def stage_verdict(before: Result, after: Result) -> str:
    """``regressed``, ``fixed``, ``changed``, ``same``, or ``unknown`` if either says nothing.

    It did not run, or the machine ended it.
    """
    states = [
        "passed" if result.outcome == "passed" else "failed" if result.failed else ""
        for result in (before, after)
    ]
    if "" in states:
        return "same" if before.outcome == after.outcome == "unavailable" else "unknown"
    if states == ["passed", "failed"]:
        return "regressed"
    if states == ["failed", "passed"]:
        return "fixed"
    failures = [(result.outcome, result.error.type if result.error else "") for result in (before, after)]
    return "same" if failures[0] == failures[1] else "changed"


def same_metric(before: Record, after: Record, metric: str) -> bool | None:
    """Whether the number ``metric`` is the same in both records; None if one of them did not measure it."""
    old, new = (_value(record, metric) for record in (before, after))
    if old is None or new is None:
        return None
    if effects.is_option(metric):
        return not effects.differences(old, new)[1]
    return tolerances.close(old, new, metric)


def _value(record: Record, metric: str) -> Any:
    """A number of the record, or None; of a measure that ran, no error is a value, too."""
    if metric not in record.fingerprint and metric.endswith(ERRORS):
        measure = metric.rpartition(".")[0]
        return "no error" if any(name.startswith(f"{measure}.") for name in record.fingerprint) else None
    return record.fingerprint.get(metric)
