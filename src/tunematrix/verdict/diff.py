"""Two records, one verdict: what broke, what was fixed, what moved, which calls must be edited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record, Result
from tunematrix.shared.stages import STAGES
from tunematrix.verdict import tolerances

BAD: Final = ("failed", "crashed", "timed_out", "unresolvable", "uninstallable")
WORST_FIRST: Final = ("regressed", "unknown", "fixed", "changed", "same")
ABSENT: Final = "<absent>"
LOUD: Final = ("fingerprint", "default", "call_site", "signature")  # a new warning alone changes nothing
SURVEY: Final = "fingerprint:surface"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Something that moved. ``kind``: fingerprint, default, call_site, warning, signature.

    ``why`` and ``link`` are what the table of known changes says of it.
    """

    kind: str
    name: str
    before: Any
    after: Any
    why: str = ""
    link: str = ""

    @property
    def shift(self) -> tolerances.Shift | None:
        """How far a number moved; None for what is no number on both sides."""
        return tolerances.shift(self.before, self.after) if self.kind == "fingerprint" else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """The comparison of two records; ``stages`` maps a name to (before, after, verdict)."""

    verdict: str
    stages: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    packages: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[Change]:
        return [change for change in self.changes if change.kind in kinds]


def check_comparable(before: Record, after: Record) -> None:
    """Raise ``UsageError`` for records of different models or options: their numbers say nothing."""
    for key in ("name", "revision"):
        one, other = before.model.get(key), after.model.get(key)
        if one and other and one != other:
            raise UsageError(
                f"{before.cell} ran with model {key} {one}, {after.cell} with {other}; "
                f"run one again with the other's: nox -s 'e2e({before.cell})' -- --model ..."
            )
    if before.options != after.options:
        raise UsageError(f"{before.cell} and {after.cell} ran with different workloads; run one again")


def compare(before: Record | None, after: Record | None) -> Diff:
    """Compare two records; a missing one makes everything unknown, never equal."""
    if before is None or after is None:
        stages = {name: (_outcome(before, name), _outcome(after, name), "unknown") for name in STAGES}
        return Diff(verdict="unknown", stages=stages)
    pairs = {name: (before.stage(name), after.stage(name)) for name in STAGES} | _probes(before, after)
    stages = {
        name: (one.outcome, other.outcome, stage_verdict(one, other)) for name, (one, other) in pairs.items()
    }
    changes = tuple(change for compared in COMPARED for change in compared(before, after))
    verdicts = {row[2] for row in stages.values()}
    verdicts |= {"changed"} if any(change.kind in LOUD for change in changes) else set()
    return Diff(
        verdict=next(verdict for verdict in WORST_FIRST if verdict in verdicts),
        stages=stages,
        changes=changes,
        packages=moved(before.packages, after.packages),
    )


def _outcome(record: Record | None, name: str) -> str:
    return record.stage(name).outcome if record else "unknown"


def _probes(before: Record, after: Record) -> dict[str, tuple[Result, Result]]:
    """Probes of both records; one that either does not know is a newer test, not evidence."""
    left, right = ({probe.name: probe for probe in record.probes} for record in (before, after))
    return {f"probe:{name}": (left[name], right[name]) for name in left if name in right}


def stage_verdict(before: Result, after: Result) -> str:
    """``regressed``, ``fixed``, ``changed``, ``same``, or ``unknown`` where either was not tried."""
    states = [
        "passed" if one.outcome == "passed" else "bad" if one.outcome in BAD else ""
        for one in (before, after)
    ]
    if "" in states:
        return "same" if before.outcome == after.outcome == "unavailable" else "unknown"
    if states == ["passed", "bad"]:
        return "regressed"
    if states == ["bad", "passed"]:
        return "fixed"
    kinds = [(one.outcome, one.error.type if one.error else "") for one in (before, after)]
    return "same" if kinds[0] == kinds[1] else "changed"


def _fingerprints(before: Record, after: Record) -> Iterator[Change]:
    """Numbers that moved, and those that only one side has: absent is not equal.

    What a failed stage did not measure is the stage's matter; of a measure that raised, the error and the
    missing loss say all.
    """
    sides = before.fingerprint, after.fingerprint
    measured = [{_measure(name) for name in side} for side in sides]
    for name in sorted(sides[0].keys() | sides[1].keys()):
        left, right = (side.get(name, ABSENT) for side in sides)
        if left is not ABSENT and right is not ABSENT:
            if not tolerances.close(left, right, name):
                yield Change(kind="fingerprint", name=name, before=left, after=right)
        elif _owned(name, before, after) and all(_measure(name) in side for side in measured):
            other = sides[0] if left is ABSENT else sides[1]
            raised = f"{_measure(name)}.error" in other
            if not raised or name.endswith((".training_loss", ".error")):
                yield Change(kind="fingerprint", name=name, before=left, after=right)


def _measure(name: str) -> str:
    return name.rpartition(".")[0]


def _owned(name: str, before: Record, after: Record) -> bool:
    """Whether what measures ``name`` ended well on both sides."""
    stage = name.split(".", maxsplit=1)[0]
    return stage not in STAGES or all(one.stage(stage).outcome == "passed" for one in (before, after))


def _call_sites(before: Record, after: Record) -> Iterator[Change]:
    """Adaptations that came or went: in user code each is an edit."""
    left, right = (_spellings(record.call_sites) for record in (before, after))
    for call, argument in sorted(left.keys() | right.keys()):
        uses = left.get((call, argument), argument), right.get((call, argument), argument)
        if uses[0] != uses[1]:
            yield Change(kind="call_site", name=f"{call}({argument})", before=uses[0], after=uses[1])


def _spellings(rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], str]:
    return {(row["call"], row["argument"]): row["use"] for row in rows}


def edit(change: Change) -> str:
    """A call-site change as the edit that a user makes."""
    call = change.name.partition("(")[0]
    if not change.before:
        return f"{call}: {change.after}= is accepted now"
    old = change.before if "(" in change.before else f"{call}({change.before}=...)"
    if not change.after:
        return f"{old} -> remove it"
    return f"{old} -> {change.after if '(' in change.after else f'{change.after}='}"


DECLARED: Final = " (declared)"
BASE: Final = "TrainingArguments"  # the other configurations inherit from it


def _defaults(before: Record, after: Record) -> Iterator[Change]:
    """Defaults that changed, and fields that came or went; classes that went are signatures' matter.

    What changed in the same way in the class it is inherited from, or as declared, is told once.
    """
    told: set[tuple[str, str, str]] = set()
    names = before.defaults.keys() & after.defaults.keys()
    for name in sorted(names, key=lambda name: (DECLARED in name, not name.startswith(BASE), name)):
        left, right = before.defaults[name], after.defaults[name]
        owner, kind = name.removesuffix(DECLARED), DECLARED if DECLARED in name else ""
        renamed = _renames(before, after, owner)
        for item in sorted(left.keys() | right.keys()):
            values = left.get(item, ABSENT), right.get(item, ABSENT)
            again = {(one, item, repr(values)) for one in (owner, BASE)}
            if values[0] == values[1] or again & told:
                continue
            told.add((owner, item, repr(values)))
            why = f"renamed to {renamed[item]}" if values[1] == ABSENT and item in renamed else ""
            change = f"{owner}.{item}{kind}"
            yield Change(kind="default", name=change, before=values[0], after=values[1], why=why)


def _signatures(before: Record, after: Record) -> Iterator[Change]:
    """Arguments and public names that went: code that uses them fails, also where the pipeline does not."""
    if not all(_surveyed(record) for record in (before, after)):
        return
    gone = before.signatures.keys() - after.signatures.keys()
    for call in sorted(before.signatures):
        if call in gone:
            yield Change(kind="signature", name=call, before="present", after=ABSENT)
        else:
            yield from _arguments(call, before, after)
    for package in sorted(before.symbols.keys() & after.symbols.keys()):
        names = sorted(set(before.symbols[package]) - set(after.symbols[package]))
        for name in (f"{package}.{name}" for name in names):
            if name not in gone:
                yield Change(kind="signature", name=name, before="present", after=ABSENT)


def _arguments(call: str, before: Record, after: Record) -> Iterator[Change]:
    """Arguments of ``call`` that went; those of a configuration are told with its defaults.

    An old name that only a decorator still took is no parameter, yet code that uses it ran.
    """
    owner = call.rpartition(".")[2]
    if owner in before.defaults and owner in after.defaults:
        return
    renamed = _renames(before, after, owner)
    taken, takes = (
        [*record.signatures[call], *sorted(record.renames.get(owner, {}))] for record in (before, after)
    )
    for name in dict.fromkeys(taken):
        if name not in takes:
            now = renamed.get(name, ABSENT)
            yield Change(kind="signature", name=f"{call}({name})", before=name, after=now)


def _surveyed(record: Record) -> bool:
    return any(probe.name == SURVEY and probe.outcome == "passed" for probe in record.probes)


def _renames(before: Record, after: Record, owner: str) -> dict[str, str]:
    """What the stack itself, or the pipeline's adaptations, say an argument of ``owner`` is called now."""
    found: dict[str, str] = {}
    for record in (before, after):
        for row in record.call_sites:
            if row["call"].endswith(f".{owner}") and row["use"].isidentifier():
                found[row["use"]] = row["argument"]
        found |= record.renames.get(owner, {})
    return found


def _warnings(before: Record, after: Record) -> Iterator[Change]:
    """Deprecations that are announced now and were not before."""
    known = {_said(row) for row in before.warnings}
    for row in after.warnings:
        if _said(row) not in known:
            yield Change(kind="warning", name=str(row["module"]), before=ABSENT, after=row["message"])


def _said(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row["module"]), re.sub(r"\d+", "0", str(row["message"]))


COMPARED: Final[tuple[Callable[[Record, Record], Iterator[Change]], ...]] = (
    _fingerprints,
    _defaults,
    _call_sites,
    _signatures,
    _warnings,
)
REMOVAL: Final = re.compile(
    r"(?:in|from|of|after|until|before|with)\s+(?:the\s+)?(?:`?(?P<package>[A-Za-z_]+)`?\s+)?"
    r"(?:version\s+|release\s+)?v?(?P<version>\d+(?:\.\d+)*)",
    re.IGNORECASE,
)


def removed_in(message: str) -> str | None:
    """The release in which a deprecation says it ends, such as ``0.29.0``; None where it does not say."""
    for sentence in re.split(r"(?<=[a-z`])\. ", message):
        if re.search(r"remov|drop|no longer|error", sentence, re.IGNORECASE) and (
            found := REMOVAL.search(sentence)
        ):
            return found["version"]
    return None


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """The packages whose versions differ, with both; None where a side does not have one."""
    names = sorted(before.keys() | after.keys())
    return {
        name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    }
