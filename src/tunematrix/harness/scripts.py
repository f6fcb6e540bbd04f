"""A team's own scripts, unchanged, as the stages of a cell."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tunematrix.harness import failure, observe, resumes
from tunematrix.harness.copies import add_all, copy_all, copy_repository, remove
from tunematrix.harness.fingerprint import max_children, survey
from tunematrix.harness.isolate import CAN_FORK, Skipped, Unavailable, run_isolated, run_parallel
from tunematrix.harness.kept import set_base_model
from tunematrix.harness.programs import (
    ROOTS,
    ScriptError,
    ended_with,
    exit_message,
    own_command,
    python_program,
    run_here,
    split_assignments,
    tail,
)
from tunematrix.harness.repeats import noise_of, unlike
from tunematrix.harness.stages import report_end, time_limit
from tunematrix.harness.workflow import Mismatch, Workflow
from tunematrix.pipeline.trace import Trace

VARIABLE: Final = "TUNEMATRIX_SCRIPTS"
RESUME: Final = "-resume"
NOISE: Final = ":again"
KEPT: Final = "kept"  # what another stack loads
BEFORE: Final = "before"  # the repository and the output as the stage found them


class Runner:
    """Runs the stages of a team in one copy of their folder."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self.flow = Workflow(folder, texts=(), preferences=())
        self.folder = folder
        self.source = Path(content["folder"])
        self.copy = folder / "repository"
        self.out = folder / "out"
        self.stages: Sequence[dict[str, Any]] = content["stages"]
        self.roots: Sequence[str] = content["project"]["roots"]
        self.commands: Mapping[str, Sequence[str]] = content["project"]["commands"]

    def run(self) -> None:
        """Run every stage whose earlier stages passed; fails the test if one does not pass."""
        model = self.flow.download(reported=False)
        for path in copy_repository(self.source, self.copy):
            print(f"not copied, since it cannot be read: {path}")
        self.out.mkdir()
        report_end("fingerprint:surface", run_isolated(survey, time_limit()))
        for stage in self.stages:
            after = [*(["download"] if model.outcome != "passed" else []), *stage["after"]]
            name, limit = stage["name"], stage["seconds"] or None
            self.remember()
            result = self.flow.run(name, self.work(stage), after=after, limit=limit)
            if result.outcome == "passed":
                self.again(stage, limit or time_limit())
            elif stage["resume"]:
                self.flow.run(f"{name}{RESUME}", lambda _: None, after=[name])
        self.flow.finish()

    def remember(self) -> None:
        """Move the state of the files aside, for the stage and for all that runs it again."""
        for path in (self.copy, self.out):
            if path.is_dir():  # the stage before did not run, or removed it
                remove(self.before(path))
                self.before(path).parent.mkdir(exist_ok=True)
                path.rename(self.before(path))
            copy_all(self.before(path), path)

    def before(self, path: Path) -> Path:
        """The state of ``path``, the repository or the output, before the stage that runs now."""
        return self.folder / BEFORE / path.name

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
            report_end(names[index], result)
            if result.outcome != "skipped":  # that the two runs cannot be compared fails no other stage
                self.flow.results[names[index]] = result
        for path in self.folder.glob("*.repository"):
            remove(path)
        self.keep(stage)

    def work(self, stage: Mapping[str, Any]) -> Callable[[Trace], None]:
        def work(trace: Trace) -> None:
            trace.command = stage["name"]
            for path in (self.copy, self.out):  # another attempt starts like the first
                copy_all(self.before(path), path)
            self.execute(self.command(stage["run"], self.out), trace, self.env(stage, self.out))
            for path in self.kept_folders(stage):
                if not path.is_dir() or not path.is_relative_to(self.out):
                    there = ", ".join(sorted(item.name for item in self.out.iterdir())) or "nothing"
                    name = str(path).replace(str(self.out), "{out}")
                    raise ScriptError(f"keep: the stage wrote no folder {name}; in {{out}} there is {there}")

        return work

    def repeat(self, stage: Mapping[str, Any]) -> Callable[[Trace], None]:
        """Work that runs a stage once more, and records how far each number is off: the noise."""
        name = stage["name"]

        def work(trace: Trace) -> None:
            trace.command = f"{name}.again"
            out = self.folder / trace.command
            copy_all(self.before(self.out), out)
            again = self.observed(stage["run"], out, trace, stage)
            first = self.numbers(name)
            if noise := noise_of(first, again):
                trace.numbers[f"{name}.noise"] = noise
            if names := unlike(first, again):
                raise Skipped(
                    f"a second run of {name} gives other results altogether, so nothing can be compared with "
                    f"them: {', '.join(names)}"
                )

        return work

    def resume(self, stage: Mapping[str, Any]) -> Callable[[Trace], None]:
        """Work that goes on from a checkpoint in a fresh folder, and compares the end with that of the stage.

        The files are as they were when the checkpoint was written, as if the run had been killed then.
        """
        name = f"{stage['name']}{RESUME}"

        def work(trace: Trace) -> None:
            trace.command = name
            out = self.folder / f"{stage['name']}.resume"
            starts = self.starts(stage)
            resumes.copy_until(starts, self.before(self.out), self.out, out)
            command = self.command(f"{stage['run']} {stage['resume']}", out)
            self.execute(command, trace, self.env(stage, out), fresh=True)
            whole, resumed = self.numbers(stage["name"]), own_numbers(name, trace.numbers)
            differences = resumes.not_continued(whole, resumed, resumes.steps(starts))
            differences = differences or resumes.batch_differences(whole, resumed)
            for start in starts:
                differences += resumes.compare_ends(start.parent, out / start.parent.relative_to(self.out))
            if differences:
                raise Mismatch("the resumed run is not the uninterrupted one: " + "; ".join(differences))

        return work

    def resume_of(self, stage: Mapping[str, Any], kept: Path) -> Callable[[Trace], None]:
        """Work that goes on from another stack's checkpoint, to the step at which the stage ends."""

        def work(trace: Trace) -> None:
            trace.command = f"{stage['name']}.exchange"
            out = self.folder / trace.command
            starts = [kept / start.relative_to(self.out) for start in self.starts(stage)]
            if not all(start.is_dir() for start in starts):
                raise Unavailable("the other stack wrote no checkpoint to resume from")
            copy_all(self.before(self.out), out)
            add_all(kept, out, without=[start.parent for start in starts])
            for start in starts:
                copy_all(start, out / start.relative_to(kept))
            set_base_models(out, self.flow.model)
            resumed = self.observed(f"{stage['run']} {stage['resume']}", out, trace, stage)
            whole = self.numbers(stage["name"])
            if differences := resumes.not_continued(whole, resumed, resumes.steps(starts)):
                raise Mismatch(f"from the other stack's checkpoint: {'; '.join(differences)}")
            ends = [numbers.get("steps") for numbers in (whole, resumed)]
            if None not in ends and ends[0] != ends[1]:
                raise Mismatch(f"from the other stack's checkpoint it ended at step {ends[1]}, not {ends[0]}")

        return work

    def observed(self, command: str, out: Path, trace: Trace, stage: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers of a further run of a stage, by their own names; the trace keeps none of them."""
        try:
            self.execute(self.command(command, out), trace, self.env(stage, out), fresh=True)
            return own_numbers(trace.command, trace.numbers)
        finally:
            trace.numbers = {}

    def numbers(self, name: str) -> dict[str, Any]:
        return own_numbers(name, self.flow.results[name].numbers)

    def command(self, text: str, out: Path) -> list[str]:
        """The words of a command, with its placeholders filled."""
        return [self.filled(word, out) for word in shlex.split(text)]

    def env(self, stage: Mapping[str, Any], out: Path) -> dict[str, str]:
        """The environment variables of a stage, with their placeholders filled."""
        return {name: self.filled(value, out) for name, value in stage["env"].items()}

    def filled(self, text: str, out: Path) -> str:
        return text.replace("{model}", str(self.flow.model)).replace("{out}", str(out))

    def starts(self, stage: Mapping[str, Any]) -> list[Path]:
        """The checkpoints from which a stage resumes; raises ``Mismatch`` where there is none."""
        words = [word for word in self.command(stage["resume"], self.out) if str(self.out) in word]
        named = [Path(word[word.index(str(self.out)) :]) for word in words]
        starts = resumes.first_checkpoints(named, self.before(self.out), self.out)
        for start in starts:
            if not start.is_dir():
                raise Mismatch(
                    f"{start.relative_to(self.out)} is not there to resume from; make {stage['name']} "
                    "save after its first step, and train for more than that"
                )
        if not starts:
            raise Mismatch(
                f"{stage['name']} wrote no checkpoint in {{out}} to resume from; let it save there after its "
                f'first step: resume = "--resume_from_checkpoint {{out}}/{stage["name"]}/checkpoint-1"'
            )
        return starts

    def kept_folders(self, stage: Mapping[str, Any]) -> list[Path]:
        return [Path(path.replace("{out}", str(self.out))) for path in stage["keep"]]

    def keep(self, stage: Mapping[str, Any]) -> None:
        """Keep what another stack loads: the folders that the stage names, and its checkpoints."""
        paths = self.kept_folders(stage)
        if stage["resume"]:
            with contextlib.suppress(Mismatch):  # the resumed run says so
                paths += self.starts(stage)
        for path in paths:
            add_all(path, self.folder / KEPT / path.relative_to(self.out))

    def execute(
        self, words: Sequence[str], trace: Trace, env: Mapping[str, str], *, fresh: bool = False
    ) -> None:
        """Run a command in a copy of the folder: a Python program in this process, else as a process.

        A stage starts with what the stages before it left. A ``fresh`` run of it has another copy as the
        stage found it: some run side by side, and what the stage left may make a script do less.
        """
        log = self.folder / f"{trace.command}.log"
        numbers: observe.Numbers = {}
        seen = self.folder / f"{trace.command}.observed"
        remove(seen)  # of an attempt that did not end in time
        log.unlink(missing_ok=True)
        seen.mkdir()
        variables, words = split_assignments(words)
        copy = self.copy
        if fresh:
            copy = self.folder / f"{trace.command}.repository"
            copy_all(self.before(self.copy), copy)
        failure.own_folders.append(copy)
        os.chdir(copy)
        self.set_environment(seen, {**env, **variables}, [str(copy / root) for root in self.roots])
        if not words:
            raise ScriptError("run: there is no command behind the variables")
        # Variables count from the start of a process, and this one has imported the stack.
        words = own_command(words, self.commands)
        program = None if variables else python_program(words, copy)
        try:
            with log.open("ab") as stream:  # it may be cut in the meantime
                if program and CAN_FORK:
                    observe.start(numbers)
                    run_here(program, stream.fileno())
                else:
                    code = subprocess.run(words, stdout=stream, stderr=stream, check=False).returncode
                    if code:
                        raise ended_with(code, log, copy)
        except SystemExit as ended:
            if ended.code not in (None, 0):
                error = ScriptError(exit_message(ended.code, tail(log)))
                raise error.with_traceback(ended.__traceback__) from None
        # Of a run that failed, how far it got is no difference of its own.
        parts = [json.loads(path.read_text()) for path in sorted(seen.glob("*.json"))]
        for name, value in observe.merged([numbers, *parts]).items():
            trace.add_number(name, value)

    @staticmethod
    def set_environment(seen: Path, variables: Mapping[str, str], roots: Sequence[str]) -> None:
        """Let each Python that the command starts observe itself, and have the variables of the command.

        It also finds the team's own modules in ``roots``, behind what is installed, as it would if the
        repository were.
        """
        site = str(Path(observe.__file__).parent / "site")
        paths = [site, variables.get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")]
        os.environ.update(variables)
        os.environ[observe.VARIABLE] = str(seen)
        os.environ[ROOTS] = os.pathsep.join(roots)
        sys.path.extend(roots)  # of this process, in which a program may run
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def own_numbers(command: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one command without its name."""
    return {name.removeprefix(f"{command}."): value for name, value in numbers.items()}


def set_base_models(folder: Path, model: Path) -> None:
    """Let the adapters of another run stand on this run's copy of the model."""
    for config in folder.rglob("adapter_config.json"):
        set_base_model(config, model)
