"""The record of one run of one cell: what ran, where, what came out.

``to_dict`` and ``from_dict`` are twins; reading ignores keys it does not know. ``record.schema.json``
beside this file is the contract.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, TypeVar

SCHEMA: Final = 1
# From bad to good: a cell's outcome is the first of these among its stages' and probes'.
WORST_FIRST: Final = ("crashed", "timed_out", "failed", "skipped", "not_run", "unavailable", "passed")
UNTESTABLE: Final = ("unresolvable", "uninstallable")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The deepest cause of a failure; ``where`` is the frame in the stack, else in the pipeline."""

    type: str
    message: str
    where: str = ""
    traceback: str = ""

    @property
    def line(self) -> str:
        """One line for people."""
        head = self.message.strip().splitlines()[0] if self.message.strip() else ""
        return f"{self.type}: {head}" + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How a stage or a probe ended."""

    name: str
    outcome: str
    seconds: float = 0.0
    attempts: int = 1
    error: Failure | None = None
    known_issue: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One run of one cell; the JSON file of the same shape is ``results/<cell>.json``."""

    cell: str
    outcome: str
    key: str = ""
    reused: bool = False
    attempts: int = 1
    started: str = ""
    seconds: float = 0.0
    peak_rss_mb: int = 0
    lock: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, str] = field(default_factory=dict)
    error: Failure | None = None
    stages: tuple[Result, ...] = ()
    probes: tuple[Result, ...] = ()
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    call_sites: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[Mapping[str, Any], ...] = ()
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    signatures: Mapping[str, list[str]] = field(default_factory=dict)
    symbols: Mapping[str, list[str]] = field(default_factory=dict)
    renames: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def packages(self) -> Mapping[str, str]:
        return dict(self.environment.get("packages", {}))

    def stage(self, name: str) -> Result:
        """The stage called ``name``; one that left no trace was not run."""
        found = (stage for stage in self.stages if stage.name == name)
        return next(found, Result(name=name, outcome="not_run"))


Part = TypeVar("Part", Failure, Result, Record)


def to_dict(record: Record) -> dict[str, Any]:
    """The record as JSON types; errors and issues that are not there are left out."""
    return {"schema": SCHEMA, **_plain(dataclasses.asdict(record))}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        optional = ("error", "known_issue")
        return {key: _plain(item) for key, item in value.items() if item is not None or key not in optional}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_dict(content: Mapping[str, Any]) -> Record:
    """The record in ``content``; raises ``ValueError`` where it is not one of a schema read here."""
    if content.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {content.get('schema')!r}; this release reads {SCHEMA}")
    record = _part(Record, content)
    return dataclasses.replace(
        record,
        error=_failure(content),
        stages=tuple(_result(row) for row in content.get("stages", [])),
        probes=tuple(_result(row) for row in content.get("probes", [])),
        call_sites=tuple(content.get("call_sites", [])),
        warnings=tuple(content.get("warnings", [])),
    )


def _part(kind: type[Part], content: Mapping[str, Any]) -> Part:
    names = {item.name for item in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in content.items() if key in names})


def _result(row: Mapping[str, Any]) -> Result:
    return dataclasses.replace(_part(Result, row), error=_failure(row))


def _failure(row: Mapping[str, Any]) -> Failure | None:
    return _part(Failure, row["error"]) if row.get("error") else None


def outcome_of(results: list[Result]) -> str:
    """A cell's outcome: the worst of its parts; with nothing tried at all, it was not run."""
    outcomes = {result.outcome for result in results}
    return next((outcome for outcome in WORST_FIRST if outcome in outcomes), "not_run")


def schema() -> dict[str, Any]:
    """The JSON Schema of records."""
    text = resources.files("tunematrix.base").joinpath("record.schema.json").read_text()
    return dict(json.loads(text))
