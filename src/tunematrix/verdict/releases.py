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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

from tunematrix.base.files import write_atomic
from tunematrix.base.record import Record
from tunematrix.base.versions import parse_version
from tunematrix.shared.reading import parse_json, read_text
from tunematrix.verdict.diff import Diff
from tunematrix.verdict.findings import Cause, Finding
from tunematrix.verdict.sentences import UNEXPLAINED

Moved = Mapping[str, tuple[str | None, str | None]]  # by package, (before, after)

MAX_VALUE: Final = 100  # characters of a value's JSON; of a longer one only a checksum is kept
AGREED: Final = 0.9  # of the fields with a release, those that name the same, for it to be the cause
KNOWN: Final = 0.5  # of all fields of a finding, those with a release
SHOWN: Final = 2  # releases in an action
NO_CHANGES_OF: Final = ("warning",)  # a message is no field


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rung:
    """One release in the stack ``stack``, and what moved when it joined.

    ``day`` is ISO 8601. ``also`` are the other packages that moved with it, (before, after). ``changes`` maps
    a field to (before, after), each short, or a checksum. ``stages`` are the outcomes that changed.
    """

    day: str
    package: str
    before: str
    after: str
    also: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stack: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    findings: tuple[Mapping[str, str], ...] = ()

    @property
    def moves(self) -> dict[str, tuple[str, str]]:
        """All packages that moved, the release first."""
        return {self.package: (self.before, self.after), **self.also}

    def lies_between(self, moved: Moved) -> int:
        """1 if the release came with a move from old to new, -1 if it was undone, 0 if neither."""
        old, new = (parse_version(version) for version in moved.get(self.package, (None, None)))
        own = parse_version(self.after)
        if old is None or new is None or own is None:
            return 0
        if old < own <= new:
            return 1
        return -1 if new < own <= old else 0


def measured(rung: Rung, after: Record, diff: Diff, found: Iterable[Finding]) -> Rung:
    """``rung`` with what moved: the comparison of its record ``after`` with that of the rung before."""
    changes = {
        change.name: (short(change.before), short(change.after))
        for change in diff.changes
        if change.kind not in NO_CHANGES_OF
    }
    stages = {name: (before, now) for name, (before, now, _) in diff.stages.items() if before != now}
    core = ("transformers", "peft", "trl", "accelerate", "datasets", "huggingface-hub", "tokenizers")
    return dataclasses.replace(
        rung,
        stack={name: after.packages[name] for name in core if name in after.packages},
        stages=stages,
        changes=dict(sorted(changes.items())),
        findings=tuple(_summary(finding) for finding in found if finding.loud),
    )


def _summary(finding: Finding) -> dict[str, str]:
    link = finding.cause.link if finding.cause else ""
    return {
        "id": finding.id,
        "severity": finding.severity,
        "title": finding.title,
        **({"action": finding.action} if finding.action and "bisect" not in finding.action else {}),
        **({"link": link} if link else {}),
    }


def short(value: Any) -> Any:
    """``value``, or a checksum of a long one."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return value if len(text) <= MAX_VALUE else "#" + hashlib.sha256(text.encode()).hexdigest()[:12]


@functools.cache
def load() -> tuple[Rung, ...]:
    """The rungs of the package's own data, the oldest first."""
    folder = resources.files("tunematrix.verdict") / "rungs"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".jsonl"))
    files = [folder / name for name in names]
    return tuple(_rung(json.loads(line)) for file in files for line in file.read_text("utf-8").splitlines())


def read(folder: Path) -> tuple[Rung, ...]:
    """The rungs in ``folder``, the oldest first; raises ``UnreadableError``."""
    files = sorted(folder.glob("*.jsonl"))
    return tuple(_rung(parse_json(line, file)) for file in files for line in read_text(file).splitlines())


def write(folder: Path, rungs: Iterable[Rung]) -> None:
    """Add ``rungs`` to the files in ``folder``; one of the same release replaces what is there."""
    merged = {(rung.day, rung.package, rung.after): rung for rung in (*read(folder), *rungs)}
    ordered = [merged[key] for key in sorted(merged)]
    for year in sorted({rung.day[:4] for rung in ordered}):
        lines = (_line(rung) for rung in ordered if rung.day.startswith(year))
        write_atomic(folder / f"{year}.jsonl", "".join(f"{line}\n" for line in lines))


def _line(rung: Rung) -> str:
    content = {name: value for name, value in dataclasses.asdict(rung).items() if value}
    return json.dumps(content, ensure_ascii=False)


def _rung(content: Mapping[str, Any]) -> Rung:
    pairs = {
        name: {key: tuple(value) for key, value in content.get(name, {}).items()}
        for name in ("also", "stages", "changes")
    }
    return Rung(**{**content, **pairs, "findings": tuple(content.get("findings", ()))})


def responsible(name: str, pair: tuple[Any, Any], moved: Moved, rungs: Sequence[Rung]) -> Rung | None:
    """The rung between two records in which a field or a stage moved as it did between the two, ``pair``.

    Of several the one that left the field as it is now, and else the last. None if the ladder has none.
    """
    found: list[tuple[bool, Rung]] = []
    for rung in rungs:
        own = rung.changes.get(name) or rung.stages.get(name)
        direction = rung.lies_between(moved) if own else 0
        if own is None or not direction:
            continue
        own = own if direction > 0 else own[::-1]
        if _same_direction(own, pair):
            found.append((short(pair[1]) == own[1], rung))
    exact = [rung for is_exact, rung in found if is_exact]
    candidates = exact or [rung for _, rung in found]
    return candidates[-1] if candidates else None


def _same_direction(rung: tuple[Any, Any], change: tuple[Any, Any]) -> bool:
    """Numbers that both rise or both fall; of anything else, one side that is the same."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (*rung, *change)):
        return bool((rung[1] > rung[0]) == (change[1] > change[0]))
    return bool(short(change[0]) == rung[0] or short(change[1]) == rung[1])


def attribute(found: Iterable[Finding], diff: Diff, rungs: Sequence[Rung]) -> tuple[Finding, ...]:
    """``found``, with the release from the ladder where nobody wrote down a cause.

    Of a finding that several releases brought, none is named as its cause; its action names them.
    """
    pairs = {change.name: (change.before, change.after) for change in diff.changes}
    pairs |= {name: (before, after) for name, (before, after, _) in diff.stages.items()}

    def with_release(finding: Finding) -> Finding:
        if finding.cause or not finding.loud:
            return finding
        names = [name for name in finding.fields if name in pairs]
        causes = (responsible(name, pairs[name], diff.packages, rungs) for name in names)
        votes = Counter(rung for rung in causes if rung)
        if not votes:
            return finding
        rung, count = votes.most_common(1)[0]
        attributed = votes.total()
        if count < AGREED * attributed or attributed < KNOWN * len(finding.fields):
            return dataclasses.replace(finding, action=_action_of_several(finding, votes))
        cause = Cause(package=rung.package, release=rung.after, date=rung.day)
        return dataclasses.replace(finding, cause=cause, action=_action(finding, rung, diff.packages))

    return tuple(map(with_release, found))


def _action(finding: Finding, rung: Rung, moved: Moved) -> str:
    if not finding.action.startswith(UNEXPLAINED):
        return finding.action
    others = f", or stay on {rung.package}<{rung.after}" if rung.lies_between(moved) > 0 else ""
    return f"accept it{others}"


def _action_of_several(finding: Finding, votes: Counter[Rung]) -> str:
    if not finding.action.startswith(UNEXPLAINED):
        return finding.action
    names = [f"{rung.package} {rung.after}" for rung, _ in votes.most_common(SHOWN)]
    more = f" and {len(votes) - SHOWN} more" if len(votes) > SHOWN else ""
    return finding.action.replace(UNEXPLAINED, f"in part {', '.join(names)}{more}", 1)
