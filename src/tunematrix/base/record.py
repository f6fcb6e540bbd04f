"""The record of one run of one cell: its environment, outcomes and measurements.

``from_dict`` is the inverse of ``to_dict`` and ignores unknown keys. ``record.schema.json`` in this folder
specifies the format.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final, TypeVar

import fastjsonschema

from tunematrix.shared.reading import MAX_BITS
from tunematrix.shared.stages import STAGES, is_infrastructure

SCHEMA: Final = 1
# A cell's outcome is the first of these that a stage or probe has.
WORST_FIRST: Final = ("crashed", "timed_out", "failed", "skipped", "not_run", "unavailable", "passed")
BROKEN: Final = ("failed", "crashed", "timed_out")
UNTESTABLE: Final = ("unresolvable", "uninstallable")
FAILED_OUTCOMES: Final = (*BROKEN, *UNTESTABLE)
MAX_TEXT: Final = 200_000  # characters of one text, such as a traceback; a longer one is cut


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

    @property
    def machine_error(self) -> Failure | None:
        """The error if network, disk, memory or time caused it, which is no evidence about the packages."""
        return _machine_error(self.error) if self.outcome in BROKEN else None

    @property
    def failed(self) -> bool:
        """Whether this is evidence that the packages fail."""
        return self.outcome in FAILED_OUTCOMES and self.machine_error is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One run of one cell; ``results/<model>/<cell>.json`` has the same keys.

    ``reused_at`` is the time at which an unchanged cell last reused the record. ``workload`` has, of a team's
    own scripts, the ``file`` that lists them, and for each of its ``stages`` a digest of what it runs.
    """

    cell: str
    outcome: str
    key: str = ""
    reused: bool = False
    attempts: int = 1
    started: str = ""
    reused_at: str = ""
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
    tried: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    workload: Mapping[str, Any] = field(default_factory=dict)

    @property
    def packages(self) -> Mapping[str, str]:
        return dict(self.environment.get("packages", {}))

    @property
    def last_used(self) -> str:
        """When the cell last ran, or reused this record."""
        return max(self.started, self.reused_at)

    @property
    def interruption(self) -> Failure | None:
        """Why the run says nothing about the whole cell; None for a complete run.

        It could not start, its workflow was skipped, or the machine ended a part of it.
        """
        if self.error or self.outcome in UNTESTABLE:
            return self.error or Failure(type=self.outcome, message="no reason recorded")
        return self.machine_error

    @property
    def machine_error(self) -> Failure | None:
        """The first error that network, disk, memory or time caused: another run may not have it."""
        results = (result.machine_error for result in (*self.stages, *self.probes))
        return next(filter(None, (_machine_error(self.error), *results)), None)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages of its work: those of the workflow, or of a team's own scripts."""
        return tuple(self.options.get("stages", "").split()) or STAGES

    def stage(self, name: str) -> Result:
        """The result of stage ``name``; ``not_run`` if the record has none."""
        matches = (stage for stage in self.stages if stage.name == name)
        return next(matches, Result(name=name, outcome="not_run"))

    def error_of(self, name: str) -> Failure | None:
        """The error of a stage or a probe, which may also be called ``probe:NAME``."""
        errors = {part.name: part.error for part in (*self.stages, *self.probes)}
        return errors.get(name.removeprefix("probe:"))


def stage_names(*records: Record | None) -> tuple[str, ...]:
    """The stages of records that are compared: those of a team's scripts if one of them has them."""
    own = (record.stage_names for record in records if record and record.options.get("stages"))
    return next(own, STAGES)


def _machine_error(error: Failure | None) -> Failure | None:
    return error if error and is_infrastructure(error.type, error.message) else None


T = TypeVar("T", Failure, Result, Record)


def to_dict(record: Record) -> dict[str, Any]:
    """The record as JSON types, without ``error`` and ``known_issue`` keys that are None."""
    return {"schema": SCHEMA, **_to_json(record)}


def _to_json(value: Any) -> Any:
    """``value`` as JSON that ``from_dict`` accepts, whatever a stack reports."""
    kind = type(value)
    if kind is float or value is None or kind is bool:  # most values of a record
        return value
    if kind is str and len(value) <= MAX_TEXT and value.isascii():
        return value
    if kind in (Record, Result, Failure):
        value = {name: getattr(value, name) for name in kind.__dataclass_fields__}
    if isinstance(value, Mapping):
        optional = ("error", "known_issue")
        return {
            str(_to_json(key)): _to_json(item)
            for key, item in value.items()
            if item is not None or key not in optional
        }
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    if isinstance(value, str):
        cut = f"... ({len(value) - MAX_TEXT} more characters)" if len(value) > MAX_TEXT else ""
        return value[:MAX_TEXT].encode(errors="replace").decode() + cut
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return float(value) if value.bit_length() < 1000 else math.inf
    return value


def from_dict(content: Any) -> Record:
    """The record in ``content``; raises ``ValueError`` that names the wrong key.

    Checks the whole content against the schema, so that no reader of a record has to.
    """
    if isinstance(content, Mapping) and content.get("schema", SCHEMA) != SCHEMA:
        raise ValueError(f"its schema is {content['schema']!r:.20}; this release reads {SCHEMA}")
    if wrong := problem(content):
        raise ValueError(wrong)
    names = [stage["name"] for stage in content.get("stages", [])]
    if len(names) != len(set(names)):
        raise ValueError("stages: one of them stands twice")
    record = _from_known_keys(Record, content)
    return dataclasses.replace(
        record,
        error=_failure(content),
        stages=tuple(_result(stage) for stage in content.get("stages", [])),
        probes=tuple(_result(probe) for probe in content.get("probes", [])),
        call_sites=tuple(content.get("call_sites", [])),
        warnings=tuple(content.get("warnings", [])),
    )


def problem(content: Any) -> str:
    """The first wrong key and what is wrong with it, short and on one line; empty for a record.

    One library is fast, and the other has the better words.
    """
    with suppress(fastjsonschema.JsonSchemaValueException):
        _validate()(content)
        return ""
    import jsonschema  # takes a while, and few records are wrong

    error = next(jsonschema.Draft202012Validator(schema()).iter_errors(content), None)
    if error is None:
        return ""
    key = repr(error.json_path.removeprefix("$").lstrip("."))[1:-1] or "the content"
    value = repr(error.instance)
    reason = error.message.replace(value, f"{value:.60}...") if len(value) > 60 else error.message
    return f"{key:.100}: {reason:.200}"


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


@cache
def _validate() -> Callable[[Any], Any]:
    """Raises ``JsonSchemaValueException`` for what is no record."""
    compiled: Callable[[Any], Any] = fastjsonschema.compile(schema())
    return compiled


def schema() -> dict[str, Any]:
    """The JSON Schema of records."""
    text = resources.files("tunematrix.base").joinpath("record.schema.json").read_text()
    return dict(json.loads(text))
