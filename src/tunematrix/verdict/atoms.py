"""Atoms: single differences between two records, each with its severity, to be grouped into findings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.base.record import FAILED_OUTCOMES, Failure, Record
from tunematrix.shared.settings import is_setting, split_setting
from tunematrix.verdict import effects, tolerances
from tunematrix.verdict.causes import KnownChange
from tunematrix.verdict.diff import ABSENT, DECLARED_SUFFIX, Change, Diff
from tunematrix.verdict.ledger import Issue
from tunematrix.verdict.outcomes import ERRORS
from tunematrix.verdict.topics import Topic, topic

# Errors that are raised by a check of ours: nothing crashed, but two values that must be equal differ.
SILENT_ERRORS: Final = ("Mismatch",)
# Relative shift below which only the last digits differ: float32 resolves 1.2e-7, and the smallest real drift
# of a first step is 5.8e-5.
LAST_DIGITS: Final = 2e-5
READABLE: Final = 80  # characters of two values that people take in at once
# What happened to an option: severity and group.
OF_OPTIONS: Final = {
    "stopped": ("wrong", "no-effect"),
    "other": ("training", ""),
    "raises": ("edit", "options"),
    "works": ("info", "works-now"),
    "details": ("info", "details"),
}
FINGERPRINT_PROBE: Final = "probe:fingerprint"
GENERATION: Final = "GenerationConfig"


@dataclass(frozen=True, kw_only=True, slots=True)
class Atom:
    """One difference.

    ``kind`` is ``stage`` or the kind of a ``Change``; ``group`` is what it is grouped by without a cause;
    ``headline`` is the topic that leads its group, set later.
    """

    name: str
    kind: str
    severity: str
    before: Any
    after: Any
    group: str = ""
    topic: Topic | None = None
    headline: Topic | None = None
    error: Failure | None = None
    known: KnownChange | None = None
    issue: Issue | None = None

    @property
    def explained(self) -> bool:
        return self.known is not None or self.issue is not None

    @property
    def weight(self) -> tuple[bool, bool, bool, int]:
        """The order as evidence: short values first, then the chosen model, then losses."""
        size = len(str(self.before)) + len(str(self.after))
        return size > READABLE, self.name.startswith("tiny-"), not self.name.endswith("loss"), size


def atoms(before: Record, after: Record, diff: Diff) -> Iterator[Atom]:
    """Every difference, those of stages first."""
    yield from _stage_atoms(before, after, diff)
    generation_moved = any(_is_generation(change) for change in diff.changes)
    for change in diff.changes:
        yield _change_atom(change, after, generation_moved=generation_moved)


def _stage_atoms(before: Record, after: Record, diff: Diff) -> Iterator[Atom]:
    lost = [name for name, (_, _, verdict) in diff.stages.items() if verdict == "regressed"]
    # A fingerprint that fails along with a stage has the same cause.
    main = [name for name in lost if not name.startswith(FINGERPRINT_PROBE)] or lost
    for name in main:
        yield _broken(name, diff, after.error_of(name))
    # What only the candidate does, with its baseline's files, and tests that only leave a trace if they fail.
    for probe in after.probes:
        if f"probe:{probe.name}" not in diff.stages and probe.outcome in FAILED_OUTCOMES:
            yield _broken(probe.name, diff, probe.error)
    for name, (was, now, verdict) in diff.stages.items():
        error = before.error_of(name)
        if verdict == "fixed":
            yield Atom(
                name=name,
                kind="stage",
                severity="training",
                before=was,
                after=now,
                group=f"fixed-{name}",
                error=error,
            )
        elif verdict == "changed":
            yield Atom(
                name=name, kind="stage", severity="info", before=was, after=now, group="fails-differently"
            )


def _broken(name: str, diff: Diff, error: Failure | None) -> Atom:
    silent = error is not None and error.type in SILENT_ERRORS
    was, now, _ = diff.stages.get(name, ("passed", "failed", ""))
    # Without a known issue, failures with the same message have one cause.
    group = name if silent or error is None else error.one_line
    return Atom(
        name=name,
        kind="stage",
        severity="wrong" if silent else "broken",
        before=was,
        after=now,
        group=group,
        error=error,
    )


def _change_atom(change: Change, after: Record, *, generation_moved: bool) -> Atom:
    severity, group = _classify(change, after, generation_moved=generation_moved)
    return Atom(
        name=change.name,
        kind=change.kind,
        severity=severity,
        before=change.before,
        after=change.after,
        group=group,
        topic=topic(change.name) if change.kind == "fingerprint" and severity != "info" else None,
        headline=topic(change.name) if change.kind == "fingerprint" and severity != "info" else None,
    )


def _classify(change: Change, after: Record, *, generation_moved: bool) -> tuple[str, str]:
    """The severity of a change, and the group it belongs to without a cause."""
    if change.kind == "fingerprint":
        return _fingerprint_severity(change)
    if change.kind == "default":
        return _default_severity(change, after, generation_moved=generation_moved)
    if change.kind == "call_site":
        return ("edit", "calls") if change.before else ("info", "added")
    if change.kind == "signature":
        return ("info", "still-works") if _still_works(change.name, after) else ("edit", _place(change.name))
    return "info", "warnings"


def _place(name: str) -> str:
    if is_setting(name):
        return split_setting(name)[1]
    return "arguments" if "(" in name else "names"


def _fingerprint_severity(change: Change) -> tuple[str, str]:
    name, old, new = change.name, change.before, change.after
    if not tolerances.measures_behaviour(name):
        return "info", "details"
    if name.endswith(ERRORS):
        return (
            ("broken", "raises") if old == ABSENT else ("info", "works-now" if new == ABSENT else "details")
        )
    if ABSENT in (old, new) or name.endswith(".unavailable"):
        return "info", "measured-on-one-side"
    if general := _general_severity(name, old, new):
        return general
    if _has_nan(new) and not _has_nan(old):
        return "wrong", "nan"
    if tolerances.corrected(name, new, old):
        return "wrong", "relation"
    if tolerances.corrected(name, old, new) or (_has_nan(old) and not _has_nan(new)):
        return "info", "works-now"
    moved = change.shift
    if moved and math.isfinite(moved.size) and moved.size < LAST_DIGITS:
        return "info", "last-digits"
    return "training", ""


def _general_severity(name: str, old: Any, new: Any) -> tuple[str, str] | None:
    """Of what says by itself what happened: options, and calls."""
    if effects.is_leaks(name):
        return ("wrong", "leak") if new else ("info", "works-now")
    if effects.is_option(name):
        return OF_OPTIONS[effects.transition(old, new)]
    return _call_severity(name, old, new) if is_call(name) else None


def _call_severity(name: str, old: Any, new: Any) -> tuple[str, str]:
    """A call that returns something else, or raises, is an edit.

    What a wrong use does, and that a result has more in it than before, are details.
    """
    if name.rpartition(".")[2].startswith("wrong_") or _only_more(old, new):
        return "info", "details"
    if any(isinstance(value, dict) and "unavailable" in value for value in (old, new)):
        return "info", "measured-on-one-side"
    raised = [isinstance(value, dict) and "raises" in value for value in (old, new)]
    if raised == [True, False]:
        return "info", "works-now"
    return ("info", "details") if all(raised) else ("edit", "raises" if raised[1] else "returns")


def _only_more(old: Any, new: Any) -> bool:
    """Whether ``new`` has all that ``old`` has: further keys of a mapping, further items of a list."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(
            key in new and (value == new[key] or _only_more(value, new[key])) for key, value in old.items()
        )
    if isinstance(old, list) and isinstance(new, list):
        return all(item in new for item in old)
    return False


def is_call(name: str) -> bool:
    """Whether the fingerprint field ``name`` describes what a call returns."""
    return ".call." in name


def _has_nan(value: Any) -> bool:
    """Whether a number is not one; the measures record that as a text."""
    return value == "nan" or any(math.isnan(number) for number in tolerances.flatten(value))


def _default_severity(change: Change, after: Record, *, generation_moved: bool) -> tuple[str, str]:
    owner = change.name.partition(".")[0]
    if DECLARED_SUFFIX in change.name or change.before == ABSENT:
        return "info", "declared" if change.before != ABSENT else "added"
    if change.after == ABSENT:
        return ("info", "still-works") if _still_works(change.name, after) else ("edit", "fields")
    # None means "decided later": whether it has an effect shows in the fingerprint, not in the declaration.
    if change.after is None or (owner == GENERATION and not generation_moved):
        return "info", "none-now"
    if change.after == [change.before]:
        return "info", "declared"  # one value or a list of it: another spelling
    return "default", ""


def _is_generation(change: Change) -> bool:
    """Whether plain generation, without training before it, gives different output."""
    if change.kind != "fingerprint":
        return False
    found = topic(change.name)
    return found.family == "generation" and found.quantity == "output"


def _still_works(name: str, after: Record) -> bool:
    """Whether the stack of ``after`` was seen to accept a name that its surface no longer lists."""
    return after.tried.get(name) == ""
