"""A team's own scripts as the work of a cell: ``workload.toml``, or one command.

Each ``[[stage]]`` is a command that somebody types in that folder. The cell runs it in a copy of the folder,
so that no file of the team's is ever written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tunematrix.base.errors import UsageError
from tunematrix.base.toml import check_keys, read
from tunematrix.run import project, stage_checks
from tunematrix.shared.repos import TINY

FILE: Final = "workload.toml"
MODEL: Final = "tiny-llama"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
RESERVED: Final = ("import", "process")
RESUME: Final = "-resume"
DIGITS: Final = 16  # of a digest
VARIABLE: Final = re.compile(r"[A-Za-z_]\w*")
KEYS: Final[Mapping[str, type]] = {"schema": int, "model": str, "env": dict, "stage": list}
STAGE_KEYS: Final[Mapping[str, type]] = {
    "name": str,
    "run": str,
    "resume": str,
    "keep": list,
    "after": list,
    "env": dict,
    "seconds": int,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """One command line. ``resume`` is added to it to go on from a checkpoint, ``after`` must pass before it.

    ``keep`` are the folders with checkpoints that another stack loads again; ``env`` are environment
    variables; ``seconds`` is its time limit, 0 for that of the cell.
    """

    name: str
    run: str
    resume: str = ""
    keep: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    seconds: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The stages that it makes."""
        return (self.name, f"{self.name}{RESUME}") if self.resume else (self.name,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scripts:
    """The stages of a team, and the folder in which people type their commands."""

    folder: Path
    stages: tuple[Script, ...] = field(default_factory=tuple)
    model: str = MODEL

    @property
    def names(self) -> tuple[str, ...]:
        """All stages of a record, in their order."""
        return ("import", *(name for stage in self.stages for name in stage.names))

    def check(self) -> None:
        """Raise ``UsageError`` for a script that is not there, unless a stage before it may write it."""
        for stage in self.stages:
            if not stage.after:
                stage_checks.check_program(stage.run, self.folder, f"stage {stage.name}: run")

    @property
    def digests(self) -> dict[str, str]:
        """By stage of a record, a digest of what it runs, and of what the stages run from which it starts."""
        found: dict[str, str] = {}
        for stage in self.stages:
            inputs = [stage.run, sorted(stage.env.items()), stage.keep, [found[name] for name in stage.after]]
            found[stage.name] = hashlib.sha256(repr(inputs).encode()).hexdigest()[:DIGITS]
            if stage.resume:
                text = f"{found[stage.name]} {stage.resume}"
                found[f"{stage.name}{RESUME}"] = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
        return found

    def write(self, path: Path) -> None:
        """Write them for the cell, whose Python may have no parser of TOML."""
        stages = [dataclasses.asdict(stage) for stage in self.stages]
        own = dataclasses.asdict(project.read(self.folder))
        path.write_text(json.dumps({"folder": str(self.folder.resolve()), "stages": stages, "project": own}))

    def trl_configs(self) -> Iterator[tuple[str, Path]]:
        """The command and the configuration of each stage that is ``trl COMMAND --config FILE``."""
        for stage in self.stages:
            words = shlex.split(stage.run)
            if Path(words[0]).name == "trl" and "--config" in words[2:-1]:
                path = self.folder / words[words.index("--config") + 1]
                if path.is_file() and path.resolve().is_relative_to(self.folder.resolve()):
                    yield words[1], path

    def named_files(self) -> Iterator[Path]:
        """The files, and the files in the folders, that the commands name; modules by their file."""
        for stage in self.stages:
            words = shlex.split(f"{stage.run} {stage.resume}")
            modules = [after.replace(".", "/") for word, after in itertools.pairwise(words) if word == "-m"]
            values = (word.partition("=")[2] or word for word in words)
            for word in (
                *values,
                *(f"{module}{end}" for module in modules for end in (".py", "/__main__.py")),
            ):
                yield from _files(self.folder, word)


def _files(folder: Path, word: str) -> Iterator[Path]:
    if "{" in word or "\0" in word or len(word) > 250 or word in ("", ".", "..", "/"):
        return
    path = folder / word
    if path.is_file():
        yield path
    elif path.is_dir() and path.resolve().is_relative_to(folder.resolve()):
        yield from (file for file in sorted(path.rglob("*")) if file.is_file())


def is_scripts(path: Path) -> bool:
    """Whether ``--workload`` names scripts rather than a folder of configurations and tests."""
    return path.suffix == ".toml" or (path / FILE).is_file()


def load(path: Path) -> Scripts:
    """The scripts of a ``workload.toml``, or of the folder that has one; raises ``UsageError``."""
    file = path / FILE if path.is_dir() else path
    content = read(file)
    check_keys(KEYS, content, str(file))
    if content.get("schema", 1) != 1:
        raise UsageError(f"{file}: schema is {content['schema']!r}; this release reads schema = 1")
    env = _env(content.get("env", {}), str(file))
    stages = tuple(_stage(entry, f"{file}: [[stage]]", env) for entry in content.get("stage", []))
    if not stages:
        raise UsageError(
            f"{file}: no [[stage]]; give one a name and a command to run, such as python train.py"
        )
    _check_together(stages, str(file))
    model = content.get("model", MODEL)
    if not model.strip():
        raise UsageError(f"{file}: model: is empty; leave it out for {MODEL}")
    return Scripts(folder=file.parent, stages=stages, model=_model(model, file.parent))


def _model(name: str, folder: Path) -> str:
    """The model's name; a folder in it is relative to ``folder``, that of the workload."""
    own = name.removeprefix(TINY)
    if own == name or not own.startswith("."):
        return name
    path = (folder / own).as_posix()
    return f"{TINY}{path if path.startswith('/') else f'./{path}'}"


def of_command(command: str, folder: Path) -> Scripts:
    """A workload of one line, such as ``python train.py --max_steps 2``; raises ``UsageError``."""
    return Scripts(folder=folder, stages=(_stage({"name": "run", "run": command}, "--run"),))


def _stage(entry: Any, where: str, env: Mapping[str, str] | None = None) -> Script:
    check_keys(STAGE_KEYS, entry, where)
    for key in ("name", "run"):
        if not entry.get(key, "").strip():
            raise UsageError(f"{where}: needs {key}")
    where = f"{where} {entry['name']}"
    if "resume" in entry and not entry["resume"].strip():
        raise UsageError(f"{where}: resume: is empty; leave it out, or write an option such as --resume PATH")
    if not NAME.fullmatch(entry["name"]) or entry["name"] in RESERVED or entry["name"].endswith(RESUME):
        rule = f"letters, digits, - and _, at most 40; not {', '.join(RESERVED)}, and not ...{RESUME}"
        raise UsageError(f"{where}: name: {rule}")
    for key in ("run", "resume"):
        stage_checks.check_command(entry.get(key, ""), f"{where}: {key}")
    for key in ("keep", "after"):
        if not all(isinstance(item, str) for item in entry.get(key, [])):
            raise UsageError(f"{where}: {key}: must be a list of texts")
    if not 0 <= entry.get("seconds", 0) <= 86_400:
        raise UsageError(f"{where}: seconds: a number up to 86400")
    lists = {key: tuple(entry.get(key, ())) for key in ("keep", "after")}
    variables = {**(env or {}), **_env(entry.get("env", {}), where)}
    return Script(**{**entry, **lists, "env": variables})


def _env(variables: Mapping[str, Any], where: str) -> Mapping[str, str]:
    for name, value in variables.items():
        if not VARIABLE.fullmatch(name) or not isinstance(value, str) or "\0" in value:
            raise UsageError(f"{where}: env: {name!r}: must be a name and a text, such as WANDB_MODE")
        stage_checks.check_placeholders(value, f"{where}: env: {name}")
    return variables


def _check_together(stages: Sequence[Script], where: str) -> None:
    """Raise ``UsageError`` for stages that do not go together: names, order, and what they keep."""
    names = [stage.name for stage in stages]
    kept: dict[str, str] = {}
    for number, stage in enumerate(stages):
        if stage.name in names[:number]:
            raise UsageError(f"{where}: two stages are called {stage.name}")
        stage_checks.check_after(stage.after, number, names, where)
        stage_checks.check_kept(stage.keep, stage.name, f"{where}: [[stage]] {stage.name}: keep", kept)
