"""Findings that the team has accepted: ``accepted.toml``, with a reason and a day to look again."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import tomlkit
import tomlkit.items
from packaging.requirements import InvalidRequirement, Requirement

from tunematrix.base.errors import UsageError
from tunematrix.base.files import write_atomic
from tunematrix.base.toml import check_keys, check_schema, read
from tunematrix.shared.secrets import mask
from tunematrix.shared.suggest import did_you_mean
from tunematrix.verdict.findings import Finding
from tunematrix.verdict.ledger import meets_all

FILE: Final = "accepted.toml"
SCHEMA: Final = 1
KEYS: Final[Mapping[str, type]] = {
    "id": str,
    "when": list,
    "fields": str,
    "reason": str,
    "expires": datetime.date,
}
REQUIRED: Final = ("id", "when", "reason", "expires")
ACCEPTABLE: Final = ("training", "default", "edit")
NEW_FILE: Final = "# Findings that we accept, and why. docs/upgrade.md explains the keys.\nschema = 1\n"
TERM: Final = datetime.timedelta(days=180)  # until the day to look again


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """The finding called ``id`` is accepted in stacks that meet all of ``when``, until ``expires``.

    ``fields`` is a hash of its fields and their evidence: a finding without a known cause is accepted as it
    was seen, and not another one of the same kind.
    """

    id: str
    when: tuple[Requirement, ...]
    reason: str
    expires: datetime.date
    fields: str = ""

    def covers(self, finding: Finding, packages: Mapping[str, str]) -> bool:
        if finding.severity not in ACCEPTABLE or finding.id != self.id:
            return False
        return self.fields in ("", fields_hash(finding)) and meets_all(packages, self.when)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """All entries, and the path of their file."""

    path: Path
    entries: tuple[Entry, ...] = ()

    def mark(
        self, found: Iterable[Finding], packages: Mapping[str, str], today: datetime.date
    ) -> tuple[Finding, ...]:
        """``found`` with the team's reason in each finding that an entry of today covers."""
        current = [entry for entry in self.entries if entry.expires >= today]
        return tuple(_marked(finding, current, packages) for finding in found)

    def problems(
        self,
        found: Sequence[Finding],
        before: Mapping[str, str],
        packages: Mapping[str, str],
        today: datetime.date,
    ) -> Iterator[str]:
        """Entries for this step that have expired, or that no finding needs, a line each."""
        for entry in self.entries:
            if not meets_all(packages, entry.when) or meets_all(before, entry.when):
                continue
            if not any(entry.covers(finding, packages) for finding in found):
                yield f"{self.path}: {entry.id}: matches no finding here; delete it, or narrow its 'when'"
            elif entry.expires < today:
                yield f"{self.path}: {entry.id}: expired on {entry.expires}; look again, then move 'expires'"


def fields_hash(finding: Finding) -> str:
    """A short hash of the names of a finding's fields and of its evidence."""
    evidence = [(item.name, item.before, item.after) for item in finding.evidence]
    return hashlib.sha256(repr((sorted(finding.fields), evidence)).encode()).hexdigest()[:12]


def _marked(finding: Finding, current: Sequence[Entry], packages: Mapping[str, str]) -> Finding:
    entry = next((entry for entry in current if entry.covers(finding, packages)), None)
    return replace(finding, accepted=entry.reason) if entry else finding


def load(folder: Path) -> Accepted:
    """The accepted findings of a constraints folder; none without the file. Raises ``UsageError``."""
    path = folder / FILE
    if not path.is_file():
        return Accepted(path=path)
    content = read(path)
    check_schema(content, SCHEMA, path)
    check_keys({"schema": int, "accepted": list}, content, str(path))
    return Accepted(
        path=path,
        entries=tuple(_entry(entry, f"{path}: [[accepted]]") for entry in content.get("accepted", [])),
    )


def _entry(entry: Any, where: str) -> Entry:
    check_keys(KEYS, entry, where)
    for key in REQUIRED:
        if not entry.get(key):
            raise UsageError(f"{where}: needs {key}")
    try:
        when = tuple(Requirement(condition) for condition in entry["when"])
    except (InvalidRequirement, TypeError):
        when = ()
    if not when or any(not condition.specifier or condition.url for condition in when):
        raise UsageError(f"{where} {entry['id']}: when: not conditions such as 'trl>=0.29'")
    if not entry["reason"].strip():
        raise UsageError(f"{where} {entry['id']}: needs a reason")
    return Entry(**{**entry, "when": when})


def add(folder: Path, name: str, reason: str, found: Sequence[Finding], requests: Sequence[str]) -> Entry:
    """Accept the finding ``name`` and write it down; raises ``UsageError`` if that cannot be.

    It holds from the release that caused it on; without a cause, where ``requests`` hold.
    """
    finding = next((finding for finding in found if finding.id == name), None)
    if finding is None:
        loud = [finding.id for finding in found if finding.severity in ACCEPTABLE]
        raise UsageError(f"--accept {name}: no such finding here{did_you_mean(name, loud)}")
    if finding.severity not in ACCEPTABLE:
        raise UsageError(
            f"--accept {name}: it is {finding.severity}, and only findings of severity "
            f"{', '.join(ACCEPTABLE)} can be accepted; hold the pin, or see its action with --details"
        )
    # What only the ladder names may have other causes too: accepted is what differed, and nothing else.
    cause = finding.cause if finding.cause and not finding.cause.measured else None
    when = [f"{cause.package}>={cause.release}"] if cause else list(requests)
    expires = datetime.datetime.now(datetime.UTC).date() + TERM
    content: dict[str, Any] = {"id": name, "when": when}
    content |= {} if cause else {"fields": fields_hash(finding)}
    content |= {"reason": mask(reason), "expires": expires}
    _write(folder / FILE, content)
    return Entry(**{**content, "when": tuple(map(Requirement, when))})


def _write(path: Path, entry: Mapping[str, Any]) -> None:
    """Add ``entry`` to the file, in place of one with its id and conditions; everything else stays."""
    text = (
        path.read_text(encoding="utf-8")
        if path.is_file()
        else "# Findings that we accept, and why.\nschema = 1\n"
    )
    document = tomlkit.parse(text)
    if not isinstance(document.get("accepted", tomlkit.aot()), tomlkit.items.AoT):
        raise UsageError(f"{path}: accepted: write each entry as [[accepted]]")
    rows: Any = document.setdefault("accepted", tomlkit.aot())
    same = [row["id"] == entry["id"] and list(row["when"]) == list(entry["when"]) for row in rows]
    for place in reversed([place for place, found in enumerate(same) if found]):
        del rows[place]
    table = tomlkit.table()
    for key, value in entry.items():
        table.add(key, value)
    rows.append(table)
    write_atomic(path, tomlkit.dumps(document), masked=False)
