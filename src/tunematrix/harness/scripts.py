"""A team's own scripts, unchanged, as the stages of a cell."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tunematrix.harness import failure, observe
from tunematrix.harness.checkpoint import compare_checkpoints
from tunematrix.harness.fingerprint import max_children, survey
from tunematrix.harness.isolate import CAN_FORK, Unavailable, run_isolated, run_parallel
from tunematrix.harness.kept import set_base_model
from tunematrix.harness.programs import copy_tree, python_program, run_here, tail
from tunematrix.harness.stages import report_end, time_limit
from tunematrix.harness.workflow import Mismatch, Workflow
from tunematrix.pipeline.trace import Trace

VARIABLE: Final = "TUNEMATRIX_SCRIPTS"
RESUME: Final = "-resume"
NOISE: Final = ":again"
KEPT: Final = "kept"  # what another stack loads


class ScriptError(Exception):
    """A script ended with an exit code other than 0."""


class Runner:
    """Runs the stages of a team in one copy of their folder."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self.flow = Workflow(folder, texts=(), preferences=())
        self.folder = folder
        self.source = Path(content["folder"])
        self.copy = folder / "repository"
        self.out = folder / "out"
        self.stages: Sequence[dict[str, Any]] = content["stages"]
        self.names = [stage["name"] for stage in self.stages]

    def run(self) -> None:
        """Run every stage whose earlier stages passed; fails the test if one does not pass."""
        model = self.flow.download(reported=False)
        copy_tree(self.source, self.copy)
        self.out.mkdir()
        report_end("fingerprint:surface", run_isolated(survey, time_limit()))
        for stage in self.stages:
            after = [*(["download"] if model.outcome != "passed" else []), *stage["after"]]
            name, limit = stage["name"], stage["seconds"] or None
            result = self.flow.run(name, self.work(stage), after=after, limit=limit)
            if result.outcome == "passed":
                self.again(stage, limit or time_limit())
            elif stage["resume"]:
                self.flow.run(f"{name}{RESUME}", lambda _: None, after=[name])
        self.keep()
        self.flow.finish()

    def again(self, stage: Mapping[str, Any], limit: float) -> None:
        """Side by side: the stage once more, resumed, and resumed from another stack's checkpoint."""
        name = stage["name"]
        works = {f"{name}{NOISE}": self.repeat(stage)}
        if stage["resume"]:
            works[f"{name}{RESUME}"] = self.resume(stage)
            if kept := os.environ.get("TUNEMATRIX_ARTIFACTS"):
                works[f"exchange:{name}{RESUME}"] = self.resume_of(stage, Path(kept) / KEPT)
        names = list(works)
        for index, result in run_parallel(list(works.values()), limit, max_running=max_children()):
            self.flow.results[names[index]] = report_end(names[index], result)

    def repeat(self, stage: Mapping[str, Any]) -> Callable[[Trace], None]:
        """Work that runs a stage once more, and records how far each number is off: the noise."""
        name = stage["name"]

        def work(trace: Trace) -> None:
            trace.command = f"{name}{NOISE}"
            out = self.folder / trace.command
            self.copy_without(out, [self.out / name])
            self.execute(self.command(stage["run"], out), trace)
            again = {key.partition(".")[2]: value for key, value in trace.numbers.items()}
            trace.numbers = {}
            first = {key.partition(".")[2]: value for key, value in self.flow.results[name].numbers.items()}
            if noise := noise_of(first, again):
                trace.numbers[f"{name}.noise"] = noise

        return work

    def command(self, text: str, out: Path) -> list[str]:
        """The words of a command, with its placeholders filled."""
        values = {"{model}": str(self.flow.model), "{out}": str(out)}
        words = shlex.split(text)
        for placeholder, value in values.items():
            words = [word.replace(placeholder, value) for word in words]
        return words

    def work(self, stage: Mapping[str, Any]) -> Callable[[Trace], None]:
        def work(trace: Trace) -> None:
            trace.command = stage["name"]
            self.execute(self.command(stage["run"], self.out), trace)

        return work

    def resume(self, stage: Mapping[str, Any]) -> Callable[[Trace], None]:
        """Work that goes on from a checkpoint in a fresh folder, and compares the end with that of the stage.

        The checkpoint is copied there without those after it, as if the run had been killed.
        """
        name = f"{stage['name']}{RESUME}"

        def work(trace: Trace) -> None:
            trace.command = name
            out = self.folder / name
            starts = self.starts(stage, self.out)
            for start in starts:
                if not start.is_dir():
                    raise Mismatch(
                        f"{start.relative_to(self.out)} is not there to resume from; make {stage['name']} "
                        "save after its first step, and train for more than that"
                    )
            self.copy_without(out, [start.parent for start in starts])
            for start in starts:
                shutil.copytree(start, out / start.relative_to(self.out), dirs_exist_ok=True)
            self.execute(self.command(f"{stage['run']} {stage['resume']}", out), trace)
            whole = self.flow.results[stage["name"]].numbers.get(f"{stage['name']}.batches", [])
            differences = batch_differences(whole, trace.numbers.get(f"{name}.batches", []))
            for start in starts:
                differences += compare_ends(start.parent, out / start.parent.relative_to(self.out))
            if differences:
                raise Mismatch("the resumed run is not the uninterrupted one: " + "; ".join(differences))

        return work

    def resume_of(self, stage: Mapping[str, Any], kept: Path) -> Callable[[Trace], None]:
        """Work that goes on from another stack's checkpoint, to the step at which the stage ends."""

        def work(trace: Trace) -> None:
            trace.command = f"exchange.{stage['name']}"
            out = self.folder / f"{stage['name']}-exchange"
            starts = self.starts(stage, kept)
            if not all(start.is_dir() for start in starts):
                raise Unavailable("the other stack wrote no checkpoint to resume from")
            self.copy_without(out, [start.parent for start in self.starts(stage, self.out)])
            shutil.copytree(kept, out, dirs_exist_ok=True)
            set_base_models(out, self.flow.model)
            self.execute(self.command(f"{stage['run']} {stage['resume']}", out), trace)
            numbers = self.flow.results[stage["name"]].numbers
            ends = [numbers.get(f"{stage['name']}.steps"), trace.numbers.get(f"{trace.command}.steps")]
            if None not in ends and ends[0] != ends[1]:
                raise Mismatch(f"from the other stack's checkpoint it ended at step {ends[1]}, not {ends[0]}")
            trace.numbers = {}  # another stack's checkpoint and this one's steps: nothing to compare with

        return work

    def copy_without(self, target: Path, emptied: Sequence[Path]) -> None:
        """Copy what the stages wrote, without the content of the folders ``emptied``."""
        hidden = set(emptied)
        shutil.copytree(
            self.out, target, ignore=lambda folder, names: names if Path(folder) in hidden else []
        )

    def starts(self, stage: Mapping[str, Any], out: Path) -> list[Path]:
        """The checkpoints in ``out`` from which a stage resumes."""
        words = [word for word in self.command(stage["resume"], out) if str(out) in word]
        return [Path(word[word.index(str(out)) :]) for word in words]

    def keep(self) -> None:
        """Keep what another stack loads: the folders that the stages name, and the checkpoints."""
        for stage in self.stages:
            paths = [Path(path.replace("{out}", str(self.out))) for path in stage["keep"]]
            for path in (*paths, *(self.starts(stage, self.out) if stage["resume"] else ())):
                if path.is_dir() and path.is_relative_to(self.out):
                    shutil.copytree(path, self.folder / KEPT / path.relative_to(self.out), dirs_exist_ok=True)

    def execute(self, words: Sequence[str], trace: Trace) -> None:
        """Run a command in a copy of the folder: a Python program in this process, else as a process.

        Each command has a copy of its own, since some run side by side and write where they stand; a stage
        starts with what the stages before it left.
        """
        log = self.folder / f"{trace.command}.log"
        numbers: observe.Numbers = {}
        seen = self.folder / f"{trace.command}.observed"
        seen.mkdir()
        os.environ[observe.VARIABLE] = str(seen)
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(Path(observe.__file__).parent / "site"), os.environ.get("PYTHONPATH", "")]
        )
        copy = self.copy
        if trace.command not in self.names:
            copy = self.folder / f"{trace.command}.repository"
            shutil.copytree(self.copy, copy, symlinks=True)
        failure.own_folders.append(copy)
        os.chdir(copy)
        program = python_program(words, copy)
        try:
            with log.open("wb") as stream:
                if program and CAN_FORK:
                    observe.start(numbers)
                    run_here(program, stream.fileno())
                else:
                    code = subprocess.run(words, stdout=stream, stderr=stream, check=False).returncode
                    if code:
                        raise ScriptError(f"exit code {code}\n{tail(log)}")
        except SystemExit as ended:
            if ended.code not in (None, 0):
                raise ScriptError(f"exit code {ended.code}\n{tail(log)}") from None
        finally:
            for path in sorted(seen.glob("*.json")):
                numbers |= json.loads(path.read_text())
            for name, value in numbers.items():
                trace.add_number(name, value)


def noise_of(first: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, float | None]:
    """How far two runs of the same are apart, by number that differs; None where that is no distance."""
    noise: dict[str, float | None] = {}
    for name in first.keys() | again.keys():
        left, right = (
            side if isinstance(side, list) else [side] for side in (first.get(name), again.get(name))
        )
        if left != right:
            numbers = len(left) == len(right) and all(
                isinstance(item, (int, float)) for item in [*left, *right]
            )
            noise[name] = max(abs(a - b) for a, b in zip(left, right)) if numbers else None  # noqa: B905  # of one length; strict= needs Python 3.10
    return noise


def set_base_models(folder: Path, model: Path) -> None:
    """Let the adapters of another run stand on this run's copy of the model."""
    for config in folder.rglob("adapter_config.json"):
        set_base_model(config, model)


def batch_differences(whole: Sequence[str], resumed: Sequence[str]) -> list[str]:
    """What the batches say: a run that goes on sees the last ones of the whole run, and not all of them."""
    if not whole or len(whole) >= observe.MAX_BATCHES:
        return []  # nothing was observed, or not all
    if len(resumed) >= len(whole):
        return [f"it did not go on from the checkpoint: it trained on all {len(resumed)} batches again"]
    expected = list(whole[len(whole) - len(resumed) :])
    return [] if list(resumed) == expected else [f"data order: {expected} became {list(resumed)}"]


def compare_ends(whole: Path, resumed: Path) -> list[str]:
    """The differences between the last checkpoints in two folders."""
    last = max(whole.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    if last is None:
        return []
    other = resumed / last.name
    if not other.is_dir():
        there = sorted(path.name for path in resumed.glob("checkpoint-*"))
        return [f"it wrote no {last.name}, only {', '.join(there) or 'nothing'}"]
    return compare_checkpoints(last, other)
