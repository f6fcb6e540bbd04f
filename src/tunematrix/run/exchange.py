"""One cell's part in an exchange: a process in its environment that writes its artifacts or reads others'."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tunematrix.base.errors import InfrastructureError
from tunematrix.base.files import write_atomic
from tunematrix.hub.models import EXPERTS, MODELS, SMALL, SMALL_EXPERTS, Model, folder_of
from tunematrix.locks import lock
from tunematrix.locks.table import Cell, Matrix
from tunematrix.run import activity, environment, keys, process, temporary
from tunematrix.shared.repos import TINY_MODELS
from tunematrix.shared.secrets import mask_all

FOLDER: Final = ".exchange"  # in the results folder
ARTIFACTS: Final = "artifacts"
KEY_FILE: Final = "key.txt"  # in the folder of a cell: what its artifacts were written with
READS: Final = "reads.json"
Result = Mapping[str, Any]


class Writer(Protocol):
    """Whose artifacts are read: a cell, or a set that it left earlier.

    ``bases`` has the models that it made them with, one folder each; None for those of today.
    """

    @property
    def name(self) -> str: ...
    @property
    def packages(self) -> Mapping[str, str]: ...
    @property
    def artifacts(self) -> Path: ...
    @property
    def bases(self) -> Path | None: ...
    def key(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A cell that takes part: its lock, its environment, and the folder ``results`` of the exchange.

    ``small`` writes what is kept for good: with smaller models, and sums in place of large facts.
    """

    cell: Cell
    matrix: Matrix
    results: Path
    venv: Path
    models: tuple[str, ...] = TINY_MODELS
    small: bool = False

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def folder(self) -> Path:
        """Its part of the results; with other models, another one."""
        models = "" if self.models == TINY_MODELS else f"@{'+'.join(self.models)}"
        return self.results / FOLDER / f"{self.name}{models}"

    @property
    def artifacts(self) -> Path:
        return self.folder / ARTIFACTS

    @property
    def bases(self) -> Path | None:
        return None

    def model(self, name: str) -> Model:
        return SMALL[name] if self.small else MODELS[name]

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def packages(self) -> Mapping[str, str]:
        return lock.read_versions(self.matrix.lock_path(self.cell))

    def key(self) -> str:
        """A hash of all that its artifacts depend on: lock, code, models, Python and platform."""
        inputs = [
            environment.sha256(self.matrix.lock_path(self.cell)),
            _sources(),
            *(f"{model.name}-{model.version}" for model in map(self.model, self.models)),
            environment.platform_name(),
            self.cell.python,
        ]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()

    @property
    def has_written(self) -> bool:
        """Whether its artifacts are there and those of today's lock and code."""
        path = self.folder / KEY_FILE
        return path.is_file() and path.read_text(encoding="utf-8", errors="replace") == self.key()

    def results_of(self, writer: str, key: str) -> Sequence[Result] | None:
        """What this cell read of ``writer``, if that is still so: ``key`` is that of both."""
        entry = self._reads().get(writer, {})
        return entry["results"] if isinstance(entry, dict) and entry.get("key") == key else None

    def _reads(self) -> dict[str, Any]:
        try:
            content = json.loads((self.folder / READS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # it is read again
        return content if isinstance(content, dict) else {}

    def keep_results(self, found: Mapping[str, tuple[str, Sequence[Result]]]) -> None:
        """Keep what it read of each writer, with the key of both."""
        entries = {writer: {"key": key, "results": list(results)} for writer, (key, results) in found.items()}
        content = json.dumps({**self._reads(), **entries}, indent=1, ensure_ascii=False)
        write_atomic(self.folder / READS, content + "\n")


@functools.cache
def _sources() -> str:
    """A hash of all code that writes and reads."""
    return "".join(keys.hash_tree(folder) for folder in keys.source_folders())


def write(member: Member, seconds: float) -> str:
    """Write the member's artifacts; returns why it cannot take part, empty if it can.

    The key is written last: artifacts whose writing was interrupted are written again. Raises
    ``InfrastructureError`` or ``UninstallableError`` for an environment that cannot be made.
    """
    (member.folder / KEY_FILE).unlink(missing_ok=True)
    shutil.rmtree(member.artifacts, ignore_errors=True)
    key = member.key()
    lines = list(_run(member, {"write": str(member.artifacts.resolve()), "compact": member.small}, seconds))
    if reason := _stopped(lines, "written", member):
        return reason
    (member.folder / KEY_FILE).write_text(key, encoding="utf-8")
    return ""


def read(member: Member, writers: Sequence[Writer], seconds: float) -> tuple[list[Result], str]:
    """What the member reads of ``writers``, and why it did not end, empty if it did."""
    folders = {writer.name: str(writer.artifacts.resolve()) for writer in writers}
    bases = {writer.name: str(writer.bases.resolve()) for writer in writers if writer.bases}
    lines = list(_run(member, {"writers": folders, "bases": bases}, seconds))
    return [line for line in lines if "artifact" in line], _stopped(lines, "read", member)


def read_parts(
    member: Member, parts: Mapping[str, Mapping[str, str]], seconds: float, hub: Mapping[str, str]
) -> tuple[list[Result], str]:
    """What the member reads of somebody's folder, a result for each part, and why it did not end.

    No pickle runs code: torch loads weights only, whatever its caller asks for. A part has as much time as
    all together, since a user's model may need minutes. ``hub`` are the variables of a Hub that a base model
    comes from.
    """
    limit = {"TUNEMATRIX_STAGE_SECONDS": str(seconds)}
    variables = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", **limit, **hub}
    lines = list(_run(member, {"parts": parts}, seconds, variables))
    return [line for line in lines if "part" in line], _stopped(lines, "read", member)


def _stopped(lines: Sequence[Result], end: str, member: Member) -> str:
    if any(end in line for line in lines):
        return ""
    errors = [line["import_error"] for line in lines if "import_error" in line]
    if errors:
        return f"its packages do not import together: {errors[0]['type']}: {errors[0]['message']}"
    return f"its process ended early; see {member.log}"


def _run(
    member: Member, task: Mapping[str, Any], seconds: float, hub: Mapping[str, str] | None = None
) -> Iterator[Result]:
    """Run ``task`` in the member's environment; yields the lines that it left, also if it was killed.

    It has no network, unless ``hub`` has the variables of one.
    """
    with environment.locked(member.venv):
        activity.set_step("installs")
        environment.ensure(member.venv, member.cell.python)
        environment.sync(member.venv, member.matrix.lock_path(member.cell), member.cell)
        lines = _run_process(member, task, seconds, hub or {})
    for line in lines:
        try:
            yield mask_all(json.loads(line))
        except ValueError:
            return  # the line that a kill cut short is the last


def _run_process(
    member: Member, task: Mapping[str, Any], seconds: float, hub: Mapping[str, str]
) -> list[str]:
    """Run ``task`` for at most ``seconds``; returns the lines of its results."""
    folder = member.folder / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        models = {name: folder_of(member.model(name)) for name in member.models}
        experts = folder_of(SMALL_EXPERTS if member.small else EXPERTS)
        offline = {"HF_HUB_OFFLINE": "1", "TUNEMATRIX_EXPERTS": str(experts)}
    except OSError as error:
        raise InfrastructureError(f"cannot create the models: {error}") from error
    spec, results = folder.resolve() / "spec.json", folder.resolve() / "results.jsonl"
    content = {**task, "models": {name: str(path) for name, path in models.items()}}
    spec.write_text(json.dumps(content), encoding="utf-8")
    python = environment.interpreter(member.venv).absolute()
    command = [str(part) for part in (python, "-m", "tunematrix.harness.exchange", spec, results)]
    given = {**offline, **hub}
    real_hub = given["HF_HUB_OFFLINE"] == "0"
    variables = environment.variables(member.venv, folder, given, real_hub=real_hub)
    activity.set_step("writes" if "write" in task else "reads")
    with temporary.folder_for(member.folder) as files:
        process.run(command, {**variables, "TMPDIR": str(files)}, folder, member.log, seconds)
    lines = results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
    shutil.rmtree(folder, ignore_errors=True)
    return lines
