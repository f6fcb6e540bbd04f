"""What each release changed, by experiment: the data that the ladder writes, and which release did it.

One file per year in ``rungs/`` beside this module holds a rung per line, in the order of their days. A rung
names the release that joined the stack, what the resolver moved with it, and every field that moved then.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import InfrastructureError
from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.versions import parse_version
from tunematrix.locks.table import CORE
from tunematrix.shared.reading import UnreadableError, parse_json, read_text
from tunematrix.shared.repos import TINY_MODELS
from tunematrix.shared.stages import STAGES
from tunematrix.verdict.diff import ABSENT, Diff, signature_changes
from tunematrix.verdict.effects import is_number, is_option
from tunematrix.verdict.findings import SEVERITIES, Cause, Finding
from tunematrix.verdict.sentences import UNEXPLAINED

Moved = Mapping[str, tuple[str | None, str | None]]  # by package, (before, after)

STACK: Final = (*CORE, "accelerate", "datasets", "huggingface-hub", "tokenizers")
RELEASE: Final = ("day", "package", "before", "after")
DATA: Final = Path(__file__).parent / "rungs"
MAX_VALUE: Final = 100  # characters of a value's JSON; of a longer one only a checksum is kept
AGREED: Final = 0.9  # of the fields with a release, those that name the same, for it to be the cause
KNOWN: Final = 0.5  # of all fields of a finding, those with a release
NO_ADVICE: Final = ("accept it", "edit the calls", UNEXPLAINED)  # what everybody would do anyway
SHOWN: Final = 2  # releases in an action
NO_CHANGES_OF: Final = ("warning",)  # a message is no field


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rung:
    """One release in the stack ``stack``, and what moved when it joined.

    ``day`` is ISO 8601. ``also`` are the other packages that moved with it, (before, after). ``changes`` maps
    a field to (before, after), each short, or a checksum. ``stages`` are the outcomes that changed, with the
    type of an error.
    """

    day: str
    package: str
    before: str
    after: str
    also: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stack: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    findings: tuple[Mapping[str, Any], ...] = ()

    def beside(self, names: Iterable[str]) -> str:
        """Those of the packages ``names`` that stood there too, such as ``trl 1.2.0, peft 0.18.1``."""
        others = (name for name in names if name in self.stack and name != self.package)
        return ", ".join(f"{name} {self.stack[name]}" for name in others)

    def lies_between(self, moved: Moved) -> int:
        """1 if the release came with a move from old to new, -1 if it was undone, 0 if neither."""
        old, new = (parse_version(version) for version in moved.get(self.package, (None, None)))
        own = parse_version(self.after)
        if old is None or new is None or own is None:
            return 0
        if old < own <= new:
            return 1
        return -1 if new < own <= old else 0


def measured(rung: Rung, before: Record, after: Record, diff: Diff, found: Iterable[Finding]) -> Rung:
    """``rung`` with what moved: the comparison of its record ``after`` with ``before``, of the rung below.

    ``changes`` has more than a comparison tells: what a failure left unmeasured, and what is measured again
    after it, so that a value which moved meanwhile is the change of the rung where it came back; and the
    names that are new, so that what came and went between two stacks is nobody's loss.
    """
    new_names = {change.name: (ABSENT, change.before) for change in signature_changes(after, before)}
    compared = {
        change.name: (short(change.before), short(change.after))
        for change in diff.changes
        if change.kind not in NO_CHANGES_OF
    }
    changes = {**new_names, **_one_sided(before, after), **compared}
    stages = {name: pair for name, pair in _stages(before, after, diff).items() if pair[0] != pair[1]}
    return dataclasses.replace(
        rung,
        stack={name: after.packages[name] for name in STACK if name in after.packages},
        stages=stages,
        changes=dict(sorted(changes.items())),
        findings=tuple(
            _summary(finding, changes.keys() | stages.keys())
            for finding in _stages_first(found)
            if finding.loud
        ),
    )


def _one_sided(before: Record, after: Record) -> dict[str, tuple[Any, Any]]:
    """The fields that only one of two records has, with both values; absent is one of them."""
    prints = before.fingerprint, after.fingerprint
    return {
        name: (short(prints[0].get(name, ABSENT)), short(prints[1].get(name, ABSENT)))
        for name in prints[0].keys() ^ prints[1].keys()
    }


def _stages_first(found: Iterable[Finding]) -> list[Finding]:
    """Worst first, and of one severity the stages: what else fails then mostly fails for the same reason."""
    return sorted(found, key=lambda each: (SEVERITIES.index(each.severity), not {*each.fields} & {*STAGES}))


def _stages(before: Record, after: Record, diff: Diff) -> dict[str, tuple[str, str]]:
    """The outcomes of stages and probes, such as ``failed: KeyError``: another error has another cause."""

    def told(record: Record, name: str, outcome: str) -> str:
        error = record.error_of(name)
        return f"{outcome}: {error.type}" if error else outcome

    return {
        name: (told(before, name, old), told(after, name, new)) for name, (old, new, _) in diff.stages.items()
    }


def _summary(finding: Finding, moved: Collection[str]) -> dict[str, Any]:
    link, advice = finding.cause.link if finding.cause else "", finding.action
    return {
        "id": finding.id,
        "severity": finding.severity,
        "title": finding.title,
        **({"action": advice} if advice and not advice.startswith(NO_ADVICE) else {}),
        **({"link": link} if link else {}),
        "fields": [name for name in finding.fields if name in moved],
    }


def short(value: Any) -> Any:
    """``value``, or a checksum of a long one."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value if len(text) <= MAX_VALUE else "#" + hashlib.sha256(text.encode()).hexdigest()[:12]


@functools.cache
def load() -> tuple[Rung, ...]:
    """The rungs of the package's own data, the oldest first. Raises ``InfrastructureError``."""
    try:
        return read(DATA)
    except UnreadableError as error:
        raise InfrastructureError(f"{error}; the installation is damaged: install tunematrix again") from None


def read(folder: Path) -> tuple[Rung, ...]:
    """The rungs in ``folder``, the oldest first; raises ``UnreadableError``."""
    files = sorted(folder.glob("*.jsonl"))
    return tuple(rung for file in files for rung in _rungs(read_text(file), file))


def write(folder: Path, rungs: Iterable[Rung]) -> None:
    """Add ``rungs``, in the order of their chain, to the files in ``folder``.

    One of the same release takes the place of what is there.
    """
    merged = {(rung.package, rung.after): rung for rung in read(folder)}
    for rung in rungs:
        merged.pop((rung.package, rung.after), None)
        merged[rung.package, rung.after] = rung
    ordered = sorted(merged.values(), key=lambda rung: rung.day)  # stable: of one day in the chain's order
    years = {rung.day[:4] for rung in ordered} | {path.stem for path in folder.glob("*.jsonl")}
    for year in sorted(years):
        lines = (_line(rung) for rung in ordered if rung.day.startswith(year))
        write_atomic(folder / f"{year}.jsonl", "".join(f"{line}\n" for line in lines))


def _line(rung: Rung) -> str:
    """ASCII, because other line ends than a line feed may be part of a text."""
    content = dataclasses.asdict(rung)
    return json.dumps({name: value for name, value in content.items() if value or name in RELEASE})


def _rungs(text: str, where: Path) -> Iterator[Rung]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line:
            try:
                yield _rung(parse_json(line, f"{where}, line {number}", allow_nan=True))
            except (AttributeError, KeyError, TypeError) as error:
                raise UnreadableError(f"{where}, line {number}: not a rung of the ladder ({error})") from None


def _rung(content: Mapping[str, Any]) -> Rung:
    pairs: dict[str, dict[str, tuple[Any, Any]]] = {}
    for name in ("also", "stages", "changes"):
        pairs[name] = {key: (old, new) for key, (old, new) in content.get(name, {}).items()}
    return Rung(
        **{name: str(content[name]) for name in RELEASE},
        stack={str(name): str(version) for name, version in content.get("stack", {}).items()},
        findings=tuple(dict(finding) for finding in content.get("findings", ())),
        also=pairs["also"],
        stages=pairs["stages"],
        changes=pairs["changes"],
    )


def between(moved: Moved, rungs: Iterable[Rung]) -> list[tuple[Rung, int]]:
    """The rungs that lie between two records, each with its direction (``lies_between``)."""
    return [(rung, direction) for rung in rungs if (direction := rung.lies_between(moved))]


def responsible(name: str, pair: tuple[Any, Any], between: Sequence[tuple[Rung, int]]) -> Rung | None:
    """The rung in ``between`` in which a field or a stage moved as it did between the two records, ``pair``.

    Of several the one that left the field as it is now, and else the last. One that a later rung undid is
    none of them. Values of another model than the ladder's cannot be held against its values, nor can the
    effects of options, which are relative to the rest of a run: then it is the one rung in which the field
    moved at all, or the same field of a tiny model. None if the ladder has none.
    """
    lasting = _lasting(name, between)
    found = [
        (rung, own)
        for rung, own in lasting
        if (_same(own[1], pair[1]) if name in rung.stages else _same_direction(own, pair))
    ]
    exact = [rung for rung, own in found if _same(own[1], pair[1])]
    if candidates := exact or [rung for rung, _ in found]:
        return candidates[-1]
    is_own = name.startswith(TINY_MODELS) and not is_option(name)
    if is_own or any(name in rung.stages for rung, _ in between):
        return None
    for each in _same_field(name):
        moved = lasting if each == name else _lasting(each, between)
        if len(moved) == 1 and not _opposite(moved[0][1], pair):
            return moved[0][0]
    return None


def _same_field(name: str) -> tuple[str, ...]:
    """The field, and the same of the tiny models that every rung has beside its own."""
    return name, *(f"{model}.{name}" for model in TINY_MODELS)


@functools.lru_cache(maxsize=2)
def _by_field(rungs: tuple[Rung, ...]) -> dict[str, list[int]]:
    """The places of the rungs that moved a field or a stage: most rungs moved a few of thousands."""
    places: dict[str, list[int]] = {}
    for place, rung in enumerate(rungs):
        for name in rung.changes.keys() | rung.stages.keys():
            places.setdefault(name, []).append(place)
    return places


def _lasting(name: str, between: Iterable[tuple[Rung, int]]) -> list[tuple[Rung, tuple[Any, Any]]]:
    """The rungs in which a field moved, with its value before and after, without those that were undone.

    What moved while it could not be measured moved in the rung where it could be again.
    """
    steps: list[tuple[Rung, tuple[Any, Any]]] = []
    for rung, direction in between:
        if own := rung.stages.get(name) or rung.changes.get(name):
            old, new = own if direction > 0 else own[::-1]
            if old == ABSENT and steps and steps[-1][1][1] == ABSENT:
                old = steps.pop()[1][0]
            steps.append((rung, (old, new)))
    return [
        step
        for place, step in enumerate(steps)
        if not any(_same(step[1][0], later[1]) for _, later in steps[place:])
    ]


def of_field(name: str, moved: Moved, rungs: Iterable[Rung]) -> Rung | None:
    """The last rung between two sets of packages in which a field moved."""
    crossed = between(moved, rungs)
    return next((rung for rung, _ in reversed(crossed) if name in rung.changes), None)


def _same_direction(rung: tuple[Any, Any], change: tuple[Any, Any]) -> bool:
    """Numbers that both rise or both fall; of anything else, one side that is the same."""
    if all(is_number(value) for value in (*rung, *change)):
        return bool((rung[1] > rung[0]) == (change[1] > change[0]))
    return _same(change[0], rung[0]) or _same(change[1], rung[1])


def _opposite(rung: tuple[Any, Any], change: tuple[Any, Any]) -> bool:
    """Whether both are moves of a number, and in other directions."""
    numbers = all(is_number(value) for value in (*rung, *change))
    return numbers and not _same_direction(rung, change)


def _same(left: Any, right: Any) -> bool:
    """Whether two values are the same as JSON, where true is not 1 and NaN is itself."""
    return json.dumps(short(left), sort_keys=True) == json.dumps(short(right), sort_keys=True)


def attribute(
    found: Iterable[Finding], before: Record, after: Record, diff: Diff, rungs: Sequence[Rung]
) -> tuple[Finding, ...]:
    """``found``, with the release from the ladder where nobody wrote down a cause.

    Of a finding that several releases brought, none is named as its cause; its action names them.
    """
    pairs = {change.name: (change.before, change.after) for change in diff.changes}
    pairs |= _stages(before, after, diff)
    touching = _by_field(tuple(rungs))

    def release_of(name: str) -> Rung | None:
        places = sorted({place for each in _same_field(name) for place in touching.get(each, ())})
        crossed = between(diff.packages, (rungs[place] for place in places))
        return responsible(name, pairs[name], crossed)

    def with_release(finding: Finding) -> Finding:
        if finding.cause or not finding.loud:
            return finding
        names = [name for name in finding.fields if name in pairs]
        votes = Counter(rung for rung in map(release_of, names) if rung)
        if not votes:
            return finding
        rung, count = votes.most_common(1)[0]
        attributed = votes.total()
        if count < AGREED * attributed or attributed < KNOWN * len(finding.fields):
            return dataclasses.replace(finding, action=_action_of_several(finding, votes))
        cause = Cause(package=rung.package, release=rung.after, date=rung.day, measured=True)
        return dataclasses.replace(finding, cause=cause, action=_action(finding, rung, diff.packages))

    return tuple(map(with_release, found))


def _action(finding: Finding, rung: Rung, moved: Moved) -> str:
    if not finding.action.startswith(UNEXPLAINED):
        return finding.action
    # Not "<after": between the two may be releases that the ladder could not try.
    others = f", or stay on {rung.package}<={rung.before}" if rung.lies_between(moved) > 0 else ""
    return f"accept it{others}"


def _action_of_several(finding: Finding, votes: Counter[Rung]) -> str:
    if not finding.action.startswith(UNEXPLAINED):
        return finding.action
    names = [f"{rung.package} {rung.after}" for rung, _ in votes.most_common(SHOWN)]
    more = f" and {len(votes) - SHOWN} more" if len(votes) > SHOWN else ""
    return finding.action.replace(UNEXPLAINED, f"in part {', '.join(names)}{more}", 1)
