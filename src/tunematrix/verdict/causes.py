"""Known changes: what a release is known to move, so that a moved number or default comes with its cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from tunematrix.base.errors import UsageError
from tunematrix.locks.table import check, check_schema, read
from tunematrix.verdict.diff import Change, Diff

FILE: Final = "known-changes.toml"
SCHEMA: Final = 1
KEYS: Final[Mapping[str, type]] = {"fields": list, "package": str, "since": str, "cause": str, "link": str}


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownChange:
    """Release ``since`` of ``package`` moved what is called like one of ``fields``."""

    fields: tuple[str, ...]
    package: str
    since: Version
    cause: str
    link: str = ""

    def explains(self, change: Change, diff: Diff) -> bool:
        """Whether the two records lie on both sides of the release, and the name fits."""
        moved = diff.packages.get(self.package)
        if moved is None or None in moved:
            return False
        low, high = sorted(Version(str(version)) for version in moved)
        return low < self.since <= high and any(fnmatchcase(change.name, pattern) for pattern in self.fields)

    @property
    def told(self) -> str:
        return f"{self.cause} ({self.package} {self.since})"


def load(folder: Path) -> tuple[KnownChange, ...]:
    """The table of a constraints folder, empty where there is none; raises ``UsageError``."""
    path = folder / FILE
    if not path.is_file():
        return ()
    content = read(path)
    check({"schema": int, "change": list}, content, str(path))
    check_schema(content, SCHEMA, path)
    return tuple(_change(row, f"{path}: [[change]]") for row in content.get("change", []))


def _change(row: Any, where: str) -> KnownChange:
    check(KEYS, row, where)
    for key in ("fields", "package", "since", "cause"):
        if not row.get(key):
            raise UsageError(f"{where}: needs {key}")
    try:
        since = Version(row["since"])
    except InvalidVersion:
        raise UsageError(f"{where}: since: {row['since']!r} is not a version") from None
    fields = tuple(str(pattern) for pattern in row["fields"])
    package = canonicalize_name(row["package"])
    return KnownChange(
        fields=fields, package=package, since=since, cause=row["cause"], link=row.get("link", "")
    )


def annotate(diff: Diff, known: tuple[KnownChange, ...]) -> Diff:
    """``diff`` with the cause beside each change that is known; all of them stay."""
    return replace(diff, changes=tuple(_explained(change, diff, known) for change in diff.changes))


def _explained(change: Change, diff: Diff, known: tuple[KnownChange, ...]) -> Change:
    found = [one for one in known if one.explains(change, diff)]
    if not found:
        return change
    why = "; ".join(filter(None, [change.why, *(one.told for one in found)]))
    return replace(change, why=why, link=next((one.link for one in found if one.link), ""))
