"""Outcomes of stages and probes, compared."""

from __future__ import annotations

from tunematrix.base.record import Record, Result


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
