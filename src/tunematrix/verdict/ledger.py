"""The ledger of known issues: expected failures, each with cause, fix and a date to check it again."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import re2
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tunematrix.base.errors import UsageError
from tunematrix.base.record import UNTESTABLE, Failure, Record, Result
from tunematrix.base.toml import check_keys, check_schema, read_with_text
from tunematrix.base.versions import parse_requirement, parse_version
from tunematrix.shared.stages import RESUME, STAGES, ours
from tunematrix.shared.suggest import did_you_mean

FILE: Final = "known-issues.toml"
SCHEMA: Final = 1
KEYS: Final[Mapping[str, type]] = {
    "id": str,
    "stages": list,
    "when": list,
    "written_by": list,
    "error": str,
    "fingerprint": str,
    "cause": str,
    "link": str,
    "fix": str,
    "expires": datetime.date,
}
PROBE: Final = "probe:"
EXCHANGE: Final = "exchange:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """One entry. It applies to cells whose packages meet all conditions in ``when``.

    There it explains a failure of one of ``stages`` with an error that matches ``error``, or moved numbers
    with a name that matches ``fingerprint``. ``written_by`` are conditions on the stack that wrote what the
    cell reads, for stages ``exchange:ARTIFACT``. ``line`` is its line in the file.
    """

    id: str
    when: tuple[Requirement, ...]
    cause: str
    fix: str
    expires: datetime.date
    stages: tuple[str, ...] = ()
    error: Any = None  # a compiled pattern
    fingerprint: str | None = None
    written_by: tuple[Requirement, ...] = ()
    link: str = ""
    line: int = 0

    def applies_to(self, packages: Mapping[str, str]) -> bool:
        """Whether ``packages``, a map of canonical names to versions, meets all conditions in ``when``."""
        return meets_all(packages, self.when)

    def began(self, moved: Mapping[str, tuple[str | None, str | None]]) -> tuple[str, str]:
        """The package that moved into this issue, and the first release that has it; empty if none did."""
        for condition in self.when:
            name = canonicalize_name(condition.name)
            before, after = moved.get(name, (None, None))
            if _meets(after, condition) and not _meets(before, condition):
                floors = [item.version for item in condition.specifier if item.operator in (">=", "==", "~=")]
                return name, full(floors[0]) if floors else str(after)
        return "", ""

    def explains(self, stage: str, error: Failure, packages: Mapping[str, str]) -> bool:
        """Whether this issue explains ``error`` of ``stage``, which may also be a probe or an outcome."""
        if self.error is None or stage not in self.stages or not self.applies_to(packages):
            return False
        text = f"{error.type}: {error.message}".encode(errors="replace").decode()
        return self.error.search(text) is not None

    @property
    def only_of_exchange(self) -> bool:
        """Whether it explains nothing but how one stack reads the files of another."""
        return bool(self.stages) and all(stage.startswith(EXCHANGE) for stage in self.stages)

    def matches_field(self, field_name: str) -> bool:
        """Whether this issue explains a moved number with this name."""
        return self.fingerprint is not None and fnmatchcase(field_name, self.fingerprint)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """All entries, and the path of their file; ``own`` if it is in the folder of the cells."""

    path: Path
    issues: tuple[Issue, ...] = ()
    own: bool = True

    def known_issues(self, record: Record) -> dict[str, Issue]:
        """The issue that explains each failed stage, probe (``probe:NAME``) or outcome of ``record``.

        A probe that fails with the same error as an explained stage has the same root cause.
        """
        failures = list(errors(record))
        works = {name: tuple(_works(record, name)) for name, _ in failures}
        explained = {
            name: issue
            for name, error in failures
            for issue in reversed(self.issues)  # if several match, the first in the file wins
            if any(issue.explains(work, error, record.packages) for work in works[name])
        }
        issues = {
            (error.type, error.message): explained[name] for name, error in failures if name in explained
        }
        probes = {name: issues.get((error.type, error.message)) for name, error in failures if PROBE in name}
        return {name: issue for name, issue in probes.items() if issue} | explained

    def exchange_issue(
        self, stage: str, reason: str, reader: Mapping[str, str], writer: Mapping[str, str]
    ) -> Issue | None:
        """The issue that explains ``reason``, why ``reader`` does not read what ``writer`` wrote as it is.

        ``stage`` is ``exchange:ARTIFACT``; an entry for ``exchange:*`` is for all artifacts.
        """
        for issue in self.issues:
            if not any(fnmatchcase(stage, name) for name in issue.stages if name.startswith(EXCHANGE)):
                continue
            applies = issue.applies_to(reader) and meets_all(writer, issue.written_by)
            if applies and issue.error is not None and issue.error.search(reason):
                return issue
        return None

    def annotate(self, record: Record) -> Record:
        """``record`` with the id of the known issue in each stage and probe that one explains."""
        issues = self.known_issues(record)

        def with_issue(result: Result, prefix: str = "") -> Result:
            issue = issues.get(prefix + result.name)
            return replace(result, known_issue=issue.id if issue else None)

        stages = tuple(with_issue(stage) for stage in record.stages)
        probes = tuple(with_issue(probe, PROBE) for probe in record.probes)
        return replace(record, stages=stages, probes=probes)

    def unexpected_passes(self, record: Record) -> Iterator[tuple[Issue, str]]:
        """Each issue with a stage or probe that passed although the issue says that it fails."""
        passed = {stage.name for stage in record.stages if stage.outcome == "passed"}
        passed |= {f"{PROBE}{probe.name}" for probe in record.probes if probe.outcome == "passed"}
        for issue in self.issues:
            if issue.error and issue.applies_to(record.packages):
                yield from ((issue, stage) for stage in issue.stages if stage in passed)

    def location(self, issue: Issue) -> str:
        return f"{self.path}:{issue.line}: {issue.id}"


def _works(record: Record, name: str) -> Iterator[str]:
    """A stage, and for one of a team's script the stage of ours that trains with the same class."""
    yield name
    base = name.removesuffix(RESUME)
    if found := ours(record.fingerprint).get(base):
        yield f"{found}{RESUME}" if base != name else found


def errors(record: Record) -> Iterator[tuple[str, Failure]]:
    """The failures of a record: each with its stage, ``probe:NAME`` or, if the cell never ran, outcome."""
    if record.error:
        yield record.outcome, record.error
    for prefix, results in (("", record.stages), (PROBE, record.probes)):
        for result in results:
            if result.error and result.outcome not in ("passed", "not_run", "unavailable"):
                yield f"{prefix}{result.name}", result.error


def load(folder: Path) -> Ledger:
    """The ledger of a constraints folder, empty where there is none.

    Raises ``UsageError`` with file, entry and key.
    """
    path = folder / FILE
    if not path.is_file():
        return Ledger(path=path)
    content, text = read_with_text(path)
    check_schema(content, SCHEMA, path)
    check_keys({"schema": int, "issue": list}, content, str(path))
    issues = tuple(_issue(row, path, text) for row in content.get("issue", []))
    ids = [issue.id for issue in issues]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise UsageError(f"{path}: the id '{twice[0]}' is used twice; rename one")
    return Ledger(path=path, issues=issues)


def shipped() -> Ledger:
    """The ledger of this project, about public releases; a wheel has it beside this module."""
    return replace(load(shipped_folder(FILE)), own=False)


def known(folder: Path) -> tuple[Issue, ...]:
    """The issues that this project knows of public releases; those of ``folder`` replace them by id."""
    found = {issue.id: issue for issue in shipped().issues}
    return tuple((found | {issue.id: issue for issue in load(folder).issues}).values())


def shipped_folder(file: str) -> Path:
    """The folder with what this project knows of public releases; in a wheel, that of this module."""
    package = Path(__file__).parent
    return package if (package / file).is_file() else package.parents[2] / "constraints"


def _issue(entry: Any, path: Path, text: str) -> Issue:
    where = f"{path}: [[issue]] {entry.get('id', '') if isinstance(entry, Mapping) else ''}".rstrip()
    check_keys(KEYS, entry, where)
    for key in ("id", "when", "cause", "fix", "expires"):
        if not entry.get(key):
            raise UsageError(f"{where}: needs {key}")
    if ("error" in entry) == ("fingerprint" in entry):
        raise UsageError(f"{where}: needs either error, a regular expression, or fingerprint, a field name")
    if entry.get("written_by") and not all(
        str(name).startswith(EXCHANGE) for name in entry.get("stages", [])
    ):
        raise UsageError(f"{where}: written_by is for stages such as 'exchange:merged' alone")
    if "error" in entry and not entry.get("stages"):
        raise UsageError(f"{where}: needs stages, the stages that fail with this error")
    for stage in entry.get("stages", []):
        if stage not in (*STAGES, *UNTESTABLE) and not str(stage).startswith((PROBE, EXCHANGE)):
            raise UsageError(f"{where}: stages: no stage '{stage}'{did_you_mean(str(stage), STAGES)}")
    return Issue(
        **{
            **entry,
            "stages": tuple(entry.get("stages", [])),
            "when": tuple(_condition(condition, where) for condition in entry["when"]),
            "written_by": tuple(_condition(text, where) for text in entry.get("written_by", [])),
            "error": _pattern(entry["error"], where) if "error" in entry else None,
            "line": _line_number(text, entry["id"]),
        }
    )


def _condition(text: Any, where: str) -> Requirement:
    try:
        return parse_requirement(text)
    except (ValueError, TypeError):
        raise UsageError(f"{where}: when: {text!r} is not a condition such as 'transformers<4.47'") from None


def _pattern(text: str, where: str) -> Any:
    """A compiled pattern of RE2, whose matching takes linear time: no pattern can hang a report.

    RE2 has no lookaround and no backreferences, and refuses repetitions that need too much memory.
    """
    options = re2.Options()
    options.dot_nl, options.log_errors = True, False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else ""
        raise UsageError(f"{where}: error: not a regular expression: {reason[:200]}") from None


def _line_number(text: str, issue_id: str) -> int:
    """The line with the id of an entry, for messages that point to it; 1 if there is none."""
    pattern = re.compile(rf'\s*id\s*=\s*["\']{re.escape(issue_id)}["\']')
    lines = enumerate(text.splitlines(), start=1)
    return next((number for number, line in lines if pattern.match(line)), 1)


def full(version: str) -> str:
    """``5`` as ``5.0.0`` and ``0.29`` as ``0.29.0``, as releases are named elsewhere."""
    return version + ".0" * (2 - version.count("."))


def meets_all(packages: Mapping[str, str], conditions: Iterable[Requirement]) -> bool:
    """Whether ``packages``, a map of canonical names to versions, meets all ``conditions``."""
    return all(_meets(packages.get(canonicalize_name(condition.name)), condition) for condition in conditions)


def _meets(version: str | None, condition: Requirement) -> bool:
    parsed = parse_version(version)
    return parsed is not None and condition.specifier.contains(parsed, prereleases=True)
