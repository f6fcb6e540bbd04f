"""Whether a record is of the scripts that ``workload.toml`` lists now, and of the files that they read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record, Result, worst_outcome
from tunematrix.run import scripts, workload
from tunematrix.run.options import Options

IMPORT: Final = "import"  # the stage that no workload lists


def described(options: Options) -> Mapping[str, Any]:
    """What a record keeps of the scripts that a file lists, or of a folder of settings; else empty."""
    if not options.workload:
        return {}
    if not (own := options.scripts):
        return {"folder": options.workload.as_posix()}
    file = options.workload / scripts.FILE if options.workload.is_dir() else options.workload
    return {"file": file.as_posix(), "stages": own.digests}


@dataclass(frozen=True, kw_only=True, slots=True)
class Current:
    """A record as far as its work is still what the file lists.

    Stages that are ``gone`` from the file are not in ``record``. Those that are ``new`` in it, and those that
    ``changed``, also in what they start from, have not run. ``files`` if other files that they read changed.
    """

    record: Record
    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    files: bool = False
    problem: str = ""  # why the file cannot be compared with

    @property
    def is_cut(self) -> bool:
        """Whether the record that was stored has other stages, or other results."""
        return bool(self.gone or self.open)

    @property
    def open(self) -> frozenset[str]:
        """The stages without a result for what the file lists now."""
        return frozenset((*self.new, *self.changed))


@dataclass(slots=True)
class Reader:
    """Compares records with the files of their workloads, and reads each file once."""

    known: dict[str, tuple[dict[str, str], str] | str] = field(default_factory=dict)

    def current(self, record: Record) -> Current:
        """The record, unchanged if it is of work that no file lists."""
        name, old = str(record.workload.get("file", "")), dict(record.workload.get("stages", {}))
        if not (name and old):
            return Current(record=record)
        found = self.read(name)
        if isinstance(found, str):
            return Current(record=record, problem=found)
        now, digest = found
        gone = tuple(stage for stage in old if stage not in now)
        new = tuple(stage for stage in now if stage not in old)
        changed = tuple(stage for stage in now if stage in old and now[stage] != old[stage])
        if not (gone or new or changed):
            return Current(record=record, files=digest != record.options.get("workload"))
        return Current(
            record=_without(record, {*gone, *new, *changed}, [IMPORT, *now]),
            gone=gone,
            new=new,
            changed=changed,
        )

    def read(self, name: str) -> tuple[dict[str, str], str] | str:
        """The stages of a file with their digests, and that of all it reads; or why they are not known."""
        if name not in self.known:
            try:
                path = Path(name)
                self.known[name] = (
                    scripts.load(path).digests,
                    workload.digest_of(Options(workload=path)),
                )
            except UsageError as error:
                self.known[name] = str(error)
        return self.known[name]


def _without(record: Record, dropped: set[str], names: list[str]) -> Record:
    """The record of the stages ``names``, of which those ``dropped`` have not run."""
    old = {stage.name: stage for stage in record.stages if stage.name not in dropped}
    stages = tuple(old.get(name, Result(name=name, outcome="not_run")) for name in names)
    kept = {
        name: value for name, value in record.fingerprint.items() if name.partition(".")[0] not in dropped
    }
    return dataclasses.replace(
        record,
        outcome=worst_outcome([*stages, *record.probes]),
        stages=stages,
        fingerprint=kept,
        options={**record.options, "stages": " ".join(names)},
    )


def describe(current: Current, day: str, cell: str) -> Iterator[str]:
    """What a reader must know of the record of ``day``, and what to type."""
    again = f"run the cell again: nox -s 'e2e({cell})'"
    name = current.record.workload.get("file", "")
    if current.problem:
        yield f"nobody can tell whether the record of {day} is of the present work: {current.problem}"
    elif current.files:
        yield f"files that the scripts may read have changed since the record of {day}; {again}"
    elif current.is_cut:
        groups = {"other command": current.changed, "new": current.new, "left out, gone": current.gone}
        told = "; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items() if names)
        yield f"{name} has changed since the record of {day}: {told}" + (f"; {again}" if current.open else "")
