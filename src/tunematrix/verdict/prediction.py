"""What is known to change between two sets of packages, from the rungs between them, without a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunematrix.base.versions import parse_version
from tunematrix.verdict import effects
from tunematrix.verdict.diff import ABSENT, BASE_CONFIG, DECLARED_SUFFIX, moved_packages
from tunematrix.verdict.effects import Moved as MovedRun
from tunematrix.verdict.findings import SEVERITIES
from tunematrix.verdict.outcomes import ERRORS
from tunematrix.verdict.releases import Moved, Rung, between

Net = Mapping[str, tuple[Any, Any]]  # by field or stage, its values before and after the whole move

STATES: Final = ("broken", "wrong")
PASSED: Final = "passed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """A finding of a rung that is expected again; ``undone`` where the move goes back over the rung.

    ``fields`` are those of the finding that the whole move leaves otherwise than it found them.
    """

    rung: Rung
    severity: str
    title: str
    action: str = ""
    undone: bool = False
    fields: tuple[str, ...] = ()

    @property
    def effect(self) -> str:
        """Its severity in this move: going back, what a release broke works, and what it mended breaks."""
        if not self.undone:
            return self.severity
        stages = (self.rung.stages[name] for name in self.fields if name in self.rung.stages)
        if any(new == PASSED and old != PASSED for old, new in stages):
            return "broken"
        return "training" if self.severity in ("broken", "wrong") else self.severity


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The expected findings, worst first, from ``rungs`` rungs; ``moved`` are packages of the ladder alone.

    ``beyond`` are moves that reach further than the ladder, and ``others`` those of packages that are not on
    it: what they change is not known.
    """

    moved: Moved
    found: tuple[Expected, ...]
    rungs: int
    beyond: Mapping[str, str]
    others: Moved


def predict(before: Mapping[str, str], after: Mapping[str, str], rungs: Sequence[Rung]) -> Prediction:
    """Compare two sets of versions by package.

    A finding is left out if other rungs between the two undo it.
    """
    names = {rung.package for rung in rungs}
    all_moved = moved_packages(before, after)
    moved = {name: pair for name, pair in all_moved.items() if name in names}
    path = _path(between(moved, rungs))
    net = _net(path)
    runs = effects.moved_runs(*({name: pair[side] for name, pair in net.items()} for side in (0, 1)))
    found = [
        Expected(
            rung=rung,
            severity=finding["severity"],
            title=finding["title"],
            action=finding.get("action", ""),
            undone=direction < 0,
            fields=tuple(fields),
        )
        for rung, direction in path
        for finding in rung.findings
        if (fields := _lasting(finding, rung, direction, net, runs)) or not (rung.changes or rung.stages)
    ]
    ordered = sorted(found, key=lambda each: each.rung.day, reverse=True)
    return Prediction(
        moved=moved,
        found=tuple(sorted(ordered, key=lambda each: SEVERITIES.index(each.severity))),
        rungs=len(path),
        beyond=_beyond(moved, rungs),
        others={name: pair for name, pair in all_moved.items() if name not in names},
    )


def net_changes(
    before: Mapping[str, str], after: Mapping[str, str], rungs: Sequence[Rung]
) -> dict[str, tuple[Any, Any]]:
    """What the whole move does to each field and stage: its value before it, and after it."""
    return _net(_path(between(moved_packages(before, after), rungs)))


def _path(between: Sequence[tuple[Rung, int]]) -> list[tuple[Rung, int]]:
    """The steps in the order in which they are taken: those back the newest first."""
    back = [step for step in between if step[1] < 0]
    return [*reversed(back), *(step for step in between if step[1] > 0)]


def _net(path: Iterable[tuple[Rung, int]]) -> dict[str, tuple[Any, Any]]:
    """The fields and stages that the last step does not leave as the first found them, with both values."""
    net: dict[str, tuple[Any, Any]] = {}
    for rung, direction in path:
        for name, pair in {**rung.changes, **rung.stages}.items():
            old, new = pair if direction > 0 else pair[::-1]
            net[name] = (net[name][0] if name in net else old, new)
    return {name: (old, new) for name, (old, new) in net.items() if old != new}


def _lasting(
    finding: Mapping[str, Any],
    rung: Rung,
    direction: int,
    net: Net,
    runs: Mapping[str, Mapping[str, MovedRun]],
) -> list[str]:
    """The fields of a finding that the whole move, ``net``, changes too; empty if it is not expected.

    A field that is not there before the move, or after it, cannot have changed in it, unless that it came or
    went is the finding. What is broken or wrong is a state: it is over when a later rung changes it, but not
    when the error is another. Effects of options are relative to base runs; ``runs`` are those that the move
    changes, by class.
    """
    is_state = finding["severity"] in STATES and direction > 0
    steps = {**rung.changes, **rung.stages}

    def lasts(name: str) -> bool:
        if name not in net or name not in steps:
            return False
        old, new = steps[name] if direction > 0 else steps[name][::-1]
        came_or_went = (net[name][0] == ABSENT != old) or (net[name][1] == ABSENT != new)
        moved = runs.get(name.rpartition(".")[0], {}) if effects.is_option(name) else {}
        compares = not moved or _compares(net[name], moved, finding["severity"])
        still = net[name][1] == new or (name.endswith(ERRORS) and net[name][1] != ABSENT != new)
        is_over = (is_state or _raises(new)) and not still
        return not (came_or_went or _came_with(name, net) or is_over) and compares

    return sorted(filter(lasts, _fields(finding, rung)))


def _raises(value: Any) -> bool:
    """Whether a call ended so."""
    return isinstance(value, Mapping) and "raises" in value


def _came_with(name: str, net: Net) -> bool:
    """Whether a default is of a class, or inherited from a field, that was not there before the move."""
    owner, _, argument = name.removesuffix(DECLARED_SUFFIX).partition(".")
    parents = (f"trl.{owner}", f"{BASE_CONFIG}.{argument}") if owner != BASE_CONFIG else ()
    return any(parent in net and net[parent][0] == ABSENT for parent in parents)


def _compares(pair: tuple[Any, Any], moved: Mapping[str, MovedRun], severity: str) -> bool:
    """Whether the effects of an option still differ where the base runs they are relative to ``moved``."""
    old, new = pair
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return True  # of several values, only a checksum is kept
    if old.keys() == new.keys():
        return bool(effects.differences(old, new, moved)[1])
    runs = (moved.get(effects.run_of(value), {}) for value in (*old, *new))
    return severity != "training" or not all(map(effects.is_another_run, runs))


def _fields(finding: Mapping[str, Any], rung: Rung) -> set[str]:
    """What decides whether a finding lasts: its fields, and of a failure its outcomes or errors alone.

    A number that is missing while a stage fails comes back, perhaps another, when it passes again.
    """
    names = set(finding.get("fields", (*rung.changes, *rung.stages)))
    errors = {name for name in names if name.endswith(ERRORS)}
    decisive = errors if finding["severity"] in STATES else names - errors
    return names & rung.stages.keys() or decisive or names


def _beyond(moved: Moved, rungs: Sequence[Rung]) -> dict[str, str]:
    """By package, the versions that a move touches and no rung has: older ones, newer ones, or both."""
    found = {}
    for name, pair in moved.items():
        own = [rung for rung in rungs if rung.package == name]
        old, new = (parse_version(text) for text in pair)
        first, last = parse_version(own[0].before), parse_version(own[-1].after)
        if first is None or last is None:
            continue
        if old is None or new is None:
            found[name] = "without a version on both sides"
            continue
        parts = [f"before {first}"] if min(old, new) < first else []
        parts += [f"after {last}"] if max(old, new) > last else []
        if parts:
            found[name] = " and ".join(parts)
    return found
