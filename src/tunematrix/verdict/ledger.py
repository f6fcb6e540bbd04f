"""The ledger of known issues: expected failures, with cause, fix, and the day to look again."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tunematrix.base.errors import UsageError, nearest
from tunematrix.base.record import UNTESTABLE, Failure, Record, Result
from tunematrix.locks.table import check, check_schema, read
from tunematrix.shared.stages import STAGES

FILE: Final = "known-issues.toml"
SCHEMA: Final = 1
KEYS: Final[Mapping[str, type]] = {
    "id": str,
    "stages": list,
    "when": list,
    "error": str,
    "fingerprint": str,
    "cause": str,
    "link": str,
    "fix": str,
    "expires": datetime.date,
}
PROBE: Final = "probe:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """One entry. It holds in cells whose packages meet all of ``when``.

    There it explains a failure of one of ``stages`` whose error matches ``error``, or numbers that moved
    under a name like ``fingerprint``. ``line`` is where it stands in the file.
    """

    id: str
    when: tuple[Requirement, ...]
    cause: str
    fix: str
    expires: datetime.date
    stages: tuple[str, ...] = ()
    error: re.Pattern[str] | None = None
    fingerprint: str | None = None
    link: str = ""
    line: int = 0

    def holds(self, packages: Mapping[str, str]) -> bool:
        """Whether all of ``when`` is met by ``packages``, a map of canonical names to versions."""
        return all(_met(one, packages.get(canonicalize_name(one.name))) for one in self.when)

    def explains(self, part: str, error: Failure, packages: Mapping[str, str]) -> bool:
        """Whether ``error`` of the stage, probe or outcome ``part`` is this issue."""
        if self.error is None or part not in self.stages or not self.holds(packages):
            return False
        return self.error.search(f"{error.type}: {error.message}") is not None

    def names(self, field_name: str) -> bool:
        """Whether a number of this name is this issue's."""
        return self.fingerprint is not None and fnmatchcase(field_name, self.fingerprint)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """All entries, and the file they stand in."""

    path: Path
    issues: tuple[Issue, ...] = ()

    def known(self, record: Record) -> dict[str, Issue]:
        """The issue behind each failed stage, probe (``probe:NAME``) or outcome of ``record``, if any.

        A probe that fails with the very error of a known stage has the same root cause.
        """
        parts = list(errors(record))
        found = {
            part: issue
            for part, error in parts
            for issue in reversed(self.issues)  # of several that fit the first one counts
            if issue.explains(part, error, record.packages)
        }
        causes = {(error.type, error.message): found[part] for part, error in parts if part in found}
        probes = {part: causes.get((error.type, error.message)) for part, error in parts if PROBE in part}
        return {part: issue for part, issue in probes.items() if issue} | found

    def annotate(self, record: Record) -> Record:
        """``record`` with the known issue beside each failure that has one."""
        known = self.known(record)

        def marked(part: Result, prefix: str = "") -> Result:
            issue = known.get(prefix + part.name)
            return replace(part, known_issue=issue.id if issue else None)

        stages = tuple(marked(stage) for stage in record.stages)
        return replace(record, stages=stages, probes=tuple(marked(probe, PROBE) for probe in record.probes))

    def passes(self, record: Record) -> Iterator[tuple[Issue, str]]:
        """Stages that passed though an entry says they fail."""
        passed = {stage.name for stage in record.stages if stage.outcome == "passed"}
        passed |= {f"{PROBE}{probe.name}" for probe in record.probes if probe.outcome == "passed"}
        for issue in self.issues:
            if issue.error and issue.holds(record.packages):
                yield from ((issue, stage) for stage in issue.stages if stage in passed)

    def at(self, issue: Issue) -> str:
        return f"{self.path}:{issue.line}: {issue.id}"


def errors(record: Record) -> Iterator[tuple[str, Failure]]:
    """What went wrong in a record, by stage, ``probe:NAME`` or, of a cell that never ran, by outcome."""
    if record.error:
        yield record.outcome, record.error
    for prefix, parts in (("", record.stages), (PROBE, record.probes)):
        for part in parts:
            if part.error and part.outcome not in ("passed", "not_run", "unavailable"):
                yield f"{prefix}{part.name}", part.error


def load(folder: Path) -> Ledger:
    """The ledger of a constraints folder, empty where there is none.

    Raises ``UsageError`` with file, entry and key.
    """
    path = folder / FILE
    if not path.is_file():
        return Ledger(path=path)
    content = read(path)
    check({"schema": int, "issue": list}, content, str(path))
    check_schema(content, SCHEMA, path)
    text = path.read_text(encoding="utf-8")
    issues = tuple(_issue(row, path, text) for row in content.get("issue", []))
    ids = [issue.id for issue in issues]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise UsageError(f"{path}: the id '{twice[0]}' is used twice; rename one")
    return Ledger(path=path, issues=issues)


def _issue(row: Any, path: Path, text: str) -> Issue:
    where = f"{path}: [[issue]] {row.get('id', '') if isinstance(row, Mapping) else ''}".rstrip()
    check(KEYS, row, where)
    for key in ("id", "when", "cause", "fix", "expires"):
        if not row.get(key):
            raise UsageError(f"{where}: needs {key}")
    if ("error" in row) == ("fingerprint" in row):
        raise UsageError(f"{where}: needs either error, a pattern, or fingerprint, a field's name")
    if "error" in row and not row.get("stages"):
        raise UsageError(f"{where}: needs stages, those that fail so")
    for stage in row.get("stages", []):
        if stage not in (*STAGES, *UNTESTABLE) and not str(stage).startswith(PROBE):
            raise UsageError(f"{where}: stages: no stage '{stage}'{nearest(str(stage), STAGES)}")
    return Issue(
        **{
            **row,
            "stages": tuple(row.get("stages", [])),
            "when": tuple(_condition(one, where) for one in row["when"]),
            "error": _pattern(row["error"], where) if "error" in row else None,
            "line": _line(text, row["id"]),
        }
    )


def _condition(text: Any, where: str) -> Requirement:
    try:
        return Requirement(text)
    except (InvalidRequirement, TypeError):
        raise UsageError(f"{where}: when: {text!r} is not a condition such as 'transformers<4.47'") from None


def _pattern(text: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise UsageError(f"{where}: error: not a pattern: {error}") from None


def _line(text: str, name: str) -> int:
    """Where an entry's id stands: people are sent there."""
    lines = text.splitlines()
    found = (
        at
        for at, line in enumerate(lines, start=1)
        if re.match(rf'\s*id\s*=\s*["\']{re.escape(name)}["\']', line)
    )
    return next(found, 1)


def _met(condition: Requirement, version: str | None) -> bool:
    return version is not None and condition.specifier.contains(Version(version), prereleases=True)
