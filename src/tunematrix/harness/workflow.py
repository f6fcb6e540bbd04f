"""The workflow of the suite: writes the configurations and runs each pipeline command as a stage."""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tunematrix.harness import shrink
from tunematrix.harness.checkpoint import WEIGHTS, compare_checkpoints
from tunematrix.harness.endpoint import provide_hub, skip_on_hub_error, uses_embedded_hub
from tunematrix.harness.isolate import Skipped, WorkResult, run_in_process, run_isolated
from tunematrix.harness.stages import import_stack, not_run, notify, report_end, run_stage, time_limit
from tunematrix.harness.workload import apply_workload
from tunematrix.pipeline import cli
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.stages import DEFAULT_MODEL

PROMPT: Final = "The color of the sky is"
# High enough that one step on one sample changes the greedy answer of every model, also of the
# real one, and low enough that the loss of the next step is still meaningful.
LEARNING_RATE: Final = 0.02
RESOURCES: Final = ExitStack()  # what the run holds open, such as its Hub
# The files to download from a real Hub, whose repositories may also hold the model for other frameworks.
FILES: Final = ("*.json", "*.txt", "*.model", "*.jinja", "model*.safetensors", "pytorch_model*.bin")
_ready: list[bool] = []  # not empty once the stack is imported
_hub_errors: list[str] = []  # why the Hub failed, so that later tests skip at once
_downloaded: list[Path] = []  # the model of this pytest run, shared by its tests: they only read it


class Mismatch(Exception):
    """A result differs from what it must equal."""


def ensure_ready() -> None:
    """Provide a Hub and import the stack, once per run, before the first workflow; the stage ``import``.

    The import runs in this process, because the stages' children are copies of it. Skips, with the reason,
    if the user requests that or there is no Hub; a summary never counts a skip as a pass.
    """
    if os.environ.get("SKIP_INTEGRATION", "").lower() in ("1", "true", "yes"):
        pytest.skip("SKIP_INTEGRATION is set")
    if _hub_errors:
        pytest.skip(_hub_errors[0])
    if _ready:
        return
    # With two threads gradient norms vary by 1e-7 between runs, and a resume is checked for equality.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        RESOURCES.enter_context(provide_hub())
    except Skipped as reason:
        pytest.skip(str(reason))
    _ready.append(True)
    notify("start", "import")
    report_end("import", run_in_process(import_stack))
    freeze_imports()


class Workflow:
    """One run of the workflow; all its files are in ``folder``."""

    def __init__(
        self, folder: Path, *, texts: Sequence[str], preferences: Sequence[tuple[str, str, str]]
    ) -> None:
        ensure_ready()
        self.folder = folder
        self.results: dict[str, WorkResult] = {}
        self.repo = os.environ.get("TUNEMATRIX_REPO") or os.environ.get("TUNEMATRIX_MODEL", DEFAULT_MODEL)
        (folder / "data").mkdir()
        self._write_data("finetune", [{"text": text} for text in texts])
        names = ("prompt", "chosen", "rejected")
        self._write_data("dpo", [dict(zip(names, texts, strict=True)) for texts in preferences])

    @property
    def model(self) -> Path:
        folder = self.folder / "models" / self.repo.split("/")[-1]
        return folder if folder.is_dir() or not _downloaded else _downloaded[0]

    def checkpoints(self, name: str) -> Path:
        return self.folder / "checkpoints" / name

    # The commands and their configurations

    def download(self, *, reported: bool = True) -> WorkResult:
        """Download the model into ``models/``; an unreported download reuses the copy of an earlier test."""
        if _downloaded and not reported:
            return self.run("download", lambda _: None, reported=False)
        output = self.folder / "models" / self.repo.split("/")[-1]
        entry: dict[str, Any] = {"repo": self.repo, "output_dir": str(output)}
        tiny = os.environ.get(shrink.VARIABLE) == "1"
        if tiny:
            entry["files"] = list(shrink.FILES)
        elif not uses_embedded_hub():
            entry["files"] = list(FILES)
        config = {"huggingface": {"token": "${HF_TOKEN}"}, "models": [entry]}
        download = skip_on_hub_error(self.command("download", config))

        def work(trace: Trace) -> None:
            download(trace)
            if tiny:
                shrink.make(output)
            names = sorted(path.name for path in output.iterdir())
            if "config.json" not in names or not any(name.startswith(WEIGHTS) for name in names):
                raise Mismatch(f"the download succeeded, but {output} holds only {', '.join(names)}")

        result = self.run("download", work, reported=reported)
        if result.outcome == "passed":
            _downloaded[:] = [output]
            preload(output)
            freeze_imports()
        elif result.outcome == "skipped":
            _hub_errors.append((result.error or {})["message"])
        return result

    def finetune_config(self, name: str, steps: int) -> dict[str, Any]:
        training = {
            "method": "lora",
            "max_steps": steps,
            "max_seq_length": 64,
            "batch_size": 1,
            "gradient_accumulation_steps": 1,
            "learning_rate": LEARNING_RATE,
            "output_dir": str(self.checkpoints(name)),
        }
        dataset = {"path": str(self.folder / "data/finetune.json"), "format": "json", "text_field": "text"}
        return {
            "model": {"path": str(self.model)},
            "dataset": dataset,
            "training": training,
            "sample": {"prompt": PROMPT},
            "device": "cpu",
        }

    def align_config(self, name: str, start: str, steps: int) -> dict[str, Any]:
        fields = {f"{field}_field": field for field in ("prompt", "chosen", "rejected")}
        alignment = {
            "method": "dpo",
            "max_steps": steps,
            "batch_size": 1,
            "learning_rate": LEARNING_RATE,
            "output_dir": str(self.checkpoints(name)),
        }
        return {
            "model": {"path": str(self.checkpoints(start))},
            "dataset": {"path": str(self.folder / "data/dpo.json"), "format": "json", **fields},
            "alignment": alignment,
            "sample": {"prompt": PROMPT},
            "device": "cpu",
        }

    def generate(self, model: Path, output: str, trace: Trace) -> Path:
        """Run the ``generate`` command on the saved ``model``; returns the folder with the sample.

        Adds the command's facts to ``trace``, its numbers as ``generate.OUTPUT.NAME``.
        """
        folder = self.folder / "samples" / output
        config = {
            "model": {"path": str(model)},
            "sample": {"prompt": PROMPT},
            "output_dir": str(folder),
            "device": "cpu",
        }
        command_trace = Trace()
        self.command("generate", config, name=f"generate-{output}")(command_trace)
        trace.call_sites += command_trace.call_sites
        trace.numbers |= {
            key.replace(".", f".{output}.", 1): value for key, value in command_trace.numbers.items()
        }
        return folder

    # Running the commands

    def command(
        self, command: str, config: dict[str, Any], *arguments: str, name: str = ""
    ) -> Callable[[Trace], None]:
        """Work that writes ``config`` to a file and runs the pipeline's command line on it in process."""
        path = self.folder / f"{name or command}.yaml"

        def work(trace: Trace) -> None:
            path.write_text(yaml.safe_dump(apply_workload(command, config), sort_keys=False))
            cli.run([command, "--config", str(path), *arguments], trace)

        return work

    def resume(
        self, command: str, config: dict[str, Any], whole: str, resumed: str
    ) -> Callable[[Trace], None]:
        """Work that resumes the run ``whole`` after its first step as ``resumed``, and compares their ends.

        The checkpoint of step 1 is copied to a folder without step 2, as if ``whole`` had been killed after
        the first of its two steps.
        """
        start = self.folder / "killed" / "checkpoint-1"
        resume = self.command(command, config, "--resume", str(start), name=f"{command}-resume")

        def work(trace: Trace) -> None:
            shutil.copytree(self.checkpoints(whole) / "checkpoint-1", start, dirs_exist_ok=True)
            resume(trace)
            trace.numbers = {key.replace(".", "-resume.", 1): value for key, value in trace.numbers.items()}
            batches = trace.numbers[f"{command}-resume.batches"]
            expected = self.results["uninterrupted run"].numbers[f"{command}.batches"][-len(batches) :]
            differences = [] if batches == expected else [f"data order: {expected} became {batches}"]
            ends = (self.checkpoints(name) / "checkpoint-2" for name in (whole, resumed))
            differences += compare_checkpoints(*ends)
            if differences:
                raise Mismatch("the resumed run is not the uninterrupted one: " + "; ".join(differences))

        return work

    def run(
        self,
        name: str,
        work: Callable[[Trace], None],
        *,
        after: Sequence[str] = (),
        reported: bool = True,
        limit: float | None = None,
    ) -> WorkResult:
        """Run ``work`` in a child if all of ``after`` passed; as a stage if ``reported``."""
        not_passed = [earlier for earlier in after if self.results[earlier].outcome != "passed"]
        if not_passed:
            result = not_run(name, f"{not_passed[0]} did not pass", reported=reported)
        else:
            result = run_stage(name, work, limit) if reported else run_isolated(work, time_limit())
        self.results[name] = result
        return result

    def finish(self) -> None:
        """Fail the test with one line per stage that did not pass; skip it if a stage was skipped."""
        for result in self.results.values():
            if result.outcome == "skipped":
                pytest.skip((result.error or {})["message"])
        lines = [
            f"{name} {result.outcome}: {(result.error or {}).get('message', '')}"
            for name, result in self.results.items()
            if result.outcome != "passed"
        ]
        assert not lines, "\n".join([*lines, f"work folder: {self.folder}"])

    def _write_data(self, name: str, rows: Sequence[dict[str, str]]) -> None:
        (self.folder / "data" / f"{name}.json").write_text(json.dumps(rows, indent=1))


def run_probe(work: Callable[[Trace], None]) -> WorkResult:
    """Run ``work`` in a child as the whole body of a test; the test passes, fails or skips with it."""
    ensure_ready()
    result = run_isolated(work, time_limit())
    message = (result.error or {}).get("message", "")
    if result.outcome in ("skipped", "unavailable"):
        pytest.skip(message)
    assert result.outcome == "passed", f"{(result.error or {})['type']}: {message}"
    return result


def freeze_imports() -> None:
    """Exclude imported objects from garbage collection; otherwise each child copies every page it visits.

    Halves the time of a short stage.
    """
    gc.collect()
    gc.freeze()


def preload(model: Path) -> None:
    """Import the module of the model's architecture in the parent, so that no child has to."""
    with suppress(Exception):  # a stage will report the error
        model_type = json.loads((model / "config.json").read_text())["model_type"]
        importlib.import_module(f"transformers.models.{model_type}.modeling_{model_type}")
