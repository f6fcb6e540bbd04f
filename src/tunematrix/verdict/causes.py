"""Known changes: which release changes which numbers and defaults, so that a report shows the cause."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import Version

from tunematrix.base.errors import UsageError
from tunematrix.base.toml import check_keys, check_schema, read
from tunematrix.base.versions import parse_version
from tunematrix.shared.suggest import did_you_mean
from tunematrix.verdict.diff import Change, Diff
from tunematrix.verdict.effects import is_option

FILE: Final = "known-changes.toml"
SCHEMA: Final = 1
KEYS: Final[Mapping[str, type]] = {
    "id": str,
    "fields": list,
    "package": str,
    "since": str,
    "date": datetime.date,
    "cause": str,
    "action": str,
    "severity": str,
    "link": str,
}
REQUIRED: Final = ("fields", "package", "since", "cause")
SEVERITIES: Final = ("wrong", "training", "default", "info")


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownChange:
    """Release ``since`` of ``package``, of ``date``, changed every field that matches one of ``fields``.

    ``cause`` is a sentence for people, ``action`` what they can do, and ``severity`` replaces the one that
    the changed fields have by themselves.
    """

    id: str
    fields: tuple[str, ...]
    package: str
    since: Version
    cause: str
    date: datetime.date | None = None
    action: str = ""
    severity: str = ""
    link: str = ""

    def explains(self, name: str, diff: Diff) -> bool:
        """Whether a pattern matches ``name``; its release must lie between the two records of ``diff``."""
        return any(map(self.matches, diff.names_of(name)))

    def lies_in(self, diff: Diff) -> bool:
        """Whether the release lies between the two records."""
        versions = [parse_version(version) for version in diff.packages.get(self.package, ())]
        if not versions or None in versions:
            return False
        low, high = sorted(filter(None, versions))
        return low < self.since <= high

    def specificity(self, name: str) -> int:
        """How many characters of ``name`` the best pattern spells out; "*" spells out none."""
        return max((len(pattern.replace("*", "")) for pattern in self.matches(name)), default=0)

    def matches(self, name: str) -> tuple[str, ...]:
        """The patterns that match ``name``; an option's effect only those that say "sweep".

        ``*.bf16`` is about the default, not about what bf16 does.
        """
        patterns = self.fields
        if is_option(name):
            patterns = tuple(pattern for pattern in patterns if "sweep." in pattern)
        return _matching(patterns, name)

    @property
    def explanation(self) -> str:
        return f"{self.cause} ({self.package} {self.since})"


@functools.lru_cache(maxsize=2**17)  # each cell of a summary has the same names
def _matching(patterns: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(pattern for pattern in patterns if fnmatchcase(name, pattern))


def load(folder: Path) -> tuple[KnownChange, ...]:
    """The known changes of a constraints folder; none without the file. Raises ``UsageError``."""
    path = folder / FILE
    if not path.is_file():
        return ()
    content = read(path)
    check_schema(content, SCHEMA, path)
    check_keys({"schema": int, "change": list}, content, str(path))
    return tuple(_known_change(entry, f"{path}: [[change]]") for entry in content.get("change", []))


def _known_change(entry: Any, where: str) -> KnownChange:
    check_keys(KEYS, entry, where)
    for key in REQUIRED:
        if not entry.get(key):
            raise UsageError(f"{where}: needs {key}")
    try:
        since = Version(entry["since"])
    except ValueError:
        raise UsageError(f"{where}: since: {entry['since']!r} is not a version") from None
    if entry.get("severity", "info") not in SEVERITIES:
        raise UsageError(
            f"{where}: severity: {entry['severity']!r}{did_you_mean(entry['severity'], SEVERITIES)}"
        )
    fields = tuple(str(pattern) for pattern in entry["fields"])
    if entry.get("severity") == "info" and any(not pattern.strip("*?.") for pattern in fields):
        raise UsageError(f"{where}: severity info would hide every change; name the fields that it is about")
    package = canonicalize_name(entry["package"])
    name = entry.get("id") or _identifier(package, entry)
    return KnownChange(**{**entry, "id": name, "fields": fields, "package": package, "since": since})


def _identifier(package: str, entry: Mapping[str, Any]) -> str:
    """An id for an entry without one: its release, and the first words of its cause."""
    words = re.findall(r"[a-z0-9]+", entry["cause"].lower())[:4]
    return "-".join([package, entry["since"], *words])


def annotate(diff: Diff, known_changes: tuple[KnownChange, ...]) -> Diff:
    """``diff`` with the cause of each known change; no change is removed."""
    between = crossed(diff, known_changes)
    return replace(diff, changes=tuple(_with_cause(change, diff, between) for change in diff.changes))


def crossed(diff: Diff, known_changes: Iterable[KnownChange]) -> tuple[KnownChange, ...]:
    """Those whose release lies between the two records: few of them."""
    return tuple(change for change in known_changes if change.lies_in(diff))


def _with_cause(change: Change, diff: Diff, known_changes: tuple[KnownChange, ...]) -> Change:
    matches = [known_change for known_change in known_changes if known_change.explains(change.name, diff)]
    if not matches:
        return change
    why = "; ".join(filter(None, [change.why, *(match.explanation for match in matches)]))
    return replace(change, why=why, link=next((match.link for match in matches if match.link), ""))
