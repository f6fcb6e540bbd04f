"""The record of one run of one cell: its environment, outcomes and measurements.

``from_dict`` is the inverse of ``to_dict`` and ignores unknown keys. ``record.schema.json`` in this folder
specifies the format.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, TypeVar

SCHEMA: Final = 1
# A cell's outcome is the first of these that a stage or probe has.
WORST_FIRST: Final = ("crashed", "timed_out", "failed", "skipped", "not_run", "unavailable", "passed")
UNTESTABLE: Final = ("unresolvable", "uninstallable")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The root cause of a failure; ``where`` is the frame in the stack or, if none, in the pipeline."""

    type: str
    message: str
    where: str = ""
    traceback: str = ""

    @property
    def one_line(self) -> str:
        """Type, first line of the message, and place."""
        first_line = self.message.strip().splitlines()[0] if self.message.strip() else ""
        return f"{self.type}: {first_line}" + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The outcome of a stage or a probe."""

    name: str
    outcome: str
    seconds: float = 0.0
    attempts: int = 1
    error: Failure | None = None
    known_issue: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One run of one cell; ``results/<cell>.json`` has the same keys."""

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
        """The result of stage ``name``; ``not_run`` if the record has none."""
        matches = (stage for stage in self.stages if stage.name == name)
        return next(matches, Result(name=name, outcome="not_run"))


T = TypeVar("T", Failure, Result, Record)


def to_dict(record: Record) -> dict[str, Any]:
    """The record as JSON types, without ``error`` and ``known_issue`` keys that are None."""
    return {"schema": SCHEMA, **_to_json(dataclasses.asdict(record))}


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        optional = ("error", "known_issue")
        return {key: _to_json(item) for key, item in value.items() if item is not None or key not in optional}
    return [_to_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_dict(content: Mapping[str, Any]) -> Record:
    """The record in ``content``; raises ``ValueError`` if this release does not read its schema."""
    if content.get("schema") != SCHEMA:
        raise ValueError(f"its schema is {content.get('schema')!r}; this release reads {SCHEMA}")
    record = _from_known_keys(Record, content)
    return dataclasses.replace(
        record,
        error=_failure(content),
        stages=tuple(_result(stage) for stage in content.get("stages", [])),
        probes=tuple(_result(probe) for probe in content.get("probes", [])),
        call_sites=tuple(content.get("call_sites", [])),
        warnings=tuple(content.get("warnings", [])),
    )


def _from_known_keys(cls: type[T], content: Mapping[str, Any]) -> T:
    names = {item.name for item in dataclasses.fields(cls)}
    return cls(**{key: value for key, value in content.items() if key in names})


def _result(content: Mapping[str, Any]) -> Result:
    return dataclasses.replace(_from_known_keys(Result, content), error=_failure(content))


def _failure(content: Mapping[str, Any]) -> Failure | None:
    """The failure under the key ``error``, if any."""
    return _from_known_keys(Failure, content["error"]) if content.get("error") else None


def worst_outcome(results: list[Result]) -> str:
    """A cell's outcome: the worst of its results; ``not_run`` if there are none."""
    outcomes = {result.outcome for result in results}
    return next((outcome for outcome in WORST_FIRST if outcome in outcomes), "not_run")


def schema() -> dict[str, Any]:
    """The JSON Schema of records."""
    text = resources.files("tunematrix.base").joinpath("record.schema.json").read_text()
    return dict(json.loads(text))
