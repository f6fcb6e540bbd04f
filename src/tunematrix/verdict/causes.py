"""Known changes: which release changes which numbers and defaults, so that a report shows the cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tunematrix.base.errors import UsageError
from tunematrix.base.toml import check_keys, check_schema, read
from tunematrix.verdict.diff import Change, Diff

FILE: Final = "known-changes.toml"
SCHEMA: Final = 1
KEYS: Final[Mapping[str, type]] = {"fields": list, "package": str, "since": str, "cause": str, "link": str}


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownChange:
    """Release ``since`` of ``package`` changed everything that matches a pattern in ``fields``."""

    fields: tuple[str, ...]
    package: str
    since: Version
    cause: str
    link: str = ""

    def explains(self, change: Change, diff: Diff) -> bool:
        """Whether the release lies between the versions of the two records, and a pattern matches."""
        versions = diff.packages.get(self.package)
        if versions is None or None in versions:
            return False
        low, high = sorted(Version(str(version)) for version in versions)
        return low < self.since <= high and any(fnmatchcase(change.name, pattern) for pattern in self.fields)

    @property
    def explanation(self) -> str:
        return f"{self.cause} ({self.package} {self.since})"


def load(folder: Path) -> tuple[KnownChange, ...]:
    """The known changes of a constraints folder; none without the file. Raises ``UsageError``."""
    path = folder / FILE
    if not path.is_file():
        return ()
    content = read(path)
    check_keys({"schema": int, "change": list}, content, str(path))
    check_schema(content, SCHEMA, path)
    return tuple(_known_change(entry, f"{path}: [[change]]") for entry in content.get("change", []))


def _known_change(entry: Any, where: str) -> KnownChange:
    check_keys(KEYS, entry, where)
    for key in ("fields", "package", "since", "cause"):
        if not entry.get(key):
            raise UsageError(f"{where}: needs {key}")
    try:
        since = Version(entry["since"])
    except InvalidVersion:
        raise UsageError(f"{where}: since: {entry['since']!r} is not a version") from None
    fields = tuple(str(pattern) for pattern in entry["fields"])
    package = canonicalize_name(entry["package"])
    return KnownChange(
        fields=fields, package=package, since=since, cause=entry["cause"], link=entry.get("link", "")
    )


def annotate(diff: Diff, known_changes: tuple[KnownChange, ...]) -> Diff:
    """``diff`` with the cause of each known change; no change is removed."""
    return replace(diff, changes=tuple(_with_cause(change, diff, known_changes) for change in diff.changes))


def _with_cause(change: Change, diff: Diff, known_changes: tuple[KnownChange, ...]) -> Change:
    matches = [known_change for known_change in known_changes if known_change.explains(change, diff)]
    if not matches:
        return change
    why = "; ".join(filter(None, [change.why, *(match.explanation for match in matches)]))
    return replace(change, why=why, link=next((match.link for match in matches if match.link), ""))
