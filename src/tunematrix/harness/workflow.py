"""The seed workflow: configs written at run time, each command run as a stage."""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tunematrix.harness.checkpoint import WEIGHTS, differences
from tunematrix.harness.endpoint import hub, hub_trouble, own_hub
from tunematrix.harness.isolate import Ended, Skipped, attempt, isolated
from tunematrix.harness.stages import import_stack, limit, not_run, notify, report_end, stage
from tunematrix.pipeline import cli
from tunematrix.pipeline.trace import Trace
from tunematrix.shared.stages import DEFAULT_MODEL

PROMPT: Final = "The color of the sky is"
# High enough that one step on one sample changes the greedy answer of every model, the real one
# included, and low enough that the loss of the next step still is a sensible number.
LEARNING_RATE: Final = 0.02
OPEN: Final = ExitStack()  # what the run holds open, its Hub among it
# What the workflow needs of a repository on a real Hub, which may also hold the model for other frameworks.
FILES: Final = ("*.json", "*.txt", "*.model", "*.jinja", "model*.safetensors", "pytorch_model*.bin")
_ready: list[bool] = []
_trouble: list[str] = []  # why the Hub could not serve: asked once, not by each test again
_downloaded: list[Path] = []  # the model of this pytest run, shared by its tests: they only read it


class Mismatch(Exception):
    """Two things that must be equal are not."""


def ready() -> None:
    """Find a Hub and import the stack, once per run, before the first workflow; the stage ``import``.

    In this very process, and only here: the stages' children are copies of it. Skips, with the reason, where
    the user asks for that or no Hub is to be had; a summary never counts a skip as a pass.
    """
    if os.environ.get("SKIP_INTEGRATION", "").lower() in ("1", "true", "yes"):
        pytest.skip("SKIP_INTEGRATION is set")
    if _trouble:
        pytest.skip(_trouble[0])
    if _ready:
        return
    # With two threads gradient norms move by 1e-7 from run to run, and resume is proved by equality.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        OPEN.enter_context(hub())
    except Skipped as reason:
        pytest.skip(str(reason))
    _ready.append(True)
    notify("began", "import")
    report_end("import", attempt(import_stack))
    settle()


class Workflow:
    """One run of the workflow below ``folder``."""

    def __init__(
        self, folder: Path, *, texts: Sequence[str], preferences: Sequence[tuple[str, str, str]]
    ) -> None:
        ready()
        self.folder = folder
        self.ended: dict[str, Ended] = {}
        self.repo = os.environ.get("TUNEMATRIX_REPO") or os.environ.get("TUNEMATRIX_MODEL", DEFAULT_MODEL)
        (folder / "data").mkdir()
        self._data("finetune", [{"text": text} for text in texts])
        names = ("prompt", "chosen", "rejected")
        self._data("dpo", [dict(zip(names, row, strict=True)) for row in preferences])

    @property
    def model(self) -> Path:
        own = self.folder / "models" / self.repo.split("/")[-1]
        return own if own.is_dir() or not _downloaded else _downloaded[0]

    def checkpoints(self, name: str) -> Path:
        return self.folder / "checkpoints" / name

    # The commands and their configurations

    def download(self, *, reported: bool = True) -> Ended:
        """Fetch the model into ``models/``; untold, an earlier test's copy will do."""
        if _downloaded and not reported:
            return self.run("download", lambda _: None, reported=False)
        output = self.folder / "models" / self.repo.split("/")[-1]
        entry: dict[str, Any] = {"repo": self.repo, "output_dir": str(output)}
        if not own_hub():
            entry["files"] = list(FILES)
        config = {"huggingface": {"token": "${HF_TOKEN}"}, "models": [entry]}
        fetch = hub_trouble(self.command("download", config))

        def work(trace: Trace) -> None:
            fetch(trace)
            there = sorted(path.name for path in output.iterdir())
            if "config.json" not in there or not any(name.startswith(WEIGHTS) for name in there):
                raise Mismatch(f"the download ended well, but {output} holds only {', '.join(there)}")

        ended = self.run("download", work, reported=reported)
        if ended.outcome == "passed":
            _downloaded[:] = [output]
            preload(output)
            settle()
        elif ended.outcome == "skipped":
            _trouble.append((ended.error or {})["message"])
        return ended

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
        """Run the ``generate`` command on a saved model; returns the folder with the sample."""
        folder = self.folder / "samples" / output
        config = {
            "model": {"path": str(model)},
            "sample": {"prompt": PROMPT},
            "output_dir": str(folder),
            "device": "cpu",
        }
        own = Trace()
        self.command("generate", config, name=f"generate-{output}")(own)
        trace.call_sites += own.call_sites
        trace.numbers |= {key.replace(".", f".{output}.", 1): value for key, value in own.numbers.items()}
        return folder

    # How they are run

    def command(
        self, command: str, config: dict[str, Any], *arguments: str, name: str = ""
    ) -> Callable[[Trace], None]:
        """The pipeline's command line on ``config``, to be called in process."""
        path = self.folder / f"{name or command}.yaml"
        path.write_text(yaml.safe_dump(adapted(command, config), sort_keys=False))
        return partial(cli.run, [command, "--config", str(path), *arguments])

    def resume(
        self, command: str, config: dict[str, Any], whole: str, resumed: str
    ) -> Callable[[Trace], None]:
        """Work that resumes ``whole`` after its first step as ``resumed``, and compares their ends.

        ``whole`` was planned for two steps, as a run that is killed after the first was: its checkpoint
        of step 1 is copied away, so that the resumed run finds nothing of step 2.
        """
        start = self.folder / "killed" / "checkpoint-1"
        go_on = self.command(command, config, "--resume", str(start), name=f"{command}-resume")

        def work(trace: Trace) -> None:
            shutil.copytree(self.checkpoints(whole) / "checkpoint-1", start, dirs_exist_ok=True)
            go_on(trace)
            trace.numbers = {key.replace(".", "-resume.", 1): value for key, value in trace.numbers.items()}
            batches = trace.numbers[f"{command}-resume.batches"]
            expected = self.ended["uninterrupted run"].numbers[f"{command}.batches"][-len(batches) :]
            found = [] if batches == expected else [f"data order: {expected} became {batches}"]
            ends = (self.checkpoints(name) / "checkpoint-2" for name in (whole, resumed))
            found += differences(*ends)
            if found:
                raise Mismatch("the resumed run is not the uninterrupted one: " + "; ".join(found))

        return work

    def run(
        self, name: str, work: Callable[[Trace], None], *, after: Sequence[str] = (), reported: bool = True
    ) -> Ended:
        """Run ``work`` in a child, unless one of those it builds on did not pass; a stage if ``reported``."""
        missing = [before for before in after if self.ended[before].outcome != "passed"]
        if missing:
            ended = not_run(name, f"{missing[0]} did not pass", reported=reported)
        else:
            ended = stage(name, work) if reported else isolated(work, limit())
        self.ended[name] = ended
        return ended

    def finish(self) -> None:
        """Fail the test with one line per stage that did not pass; skip it where the Hub is the reason."""
        for ended in self.ended.values():
            if ended.outcome == "skipped":
                pytest.skip((ended.error or {})["message"])
        lines = [
            f"{name} {ended.outcome}: {(ended.error or {}).get('message', '')}"
            for name, ended in self.ended.items()
            if ended.outcome != "passed"
        ]
        assert not lines, "\n".join([*lines, f"work folder: {self.folder}"])

    def _data(self, name: str, rows: Sequence[dict[str, str]]) -> None:
        (self.folder / "data" / f"{name}.json").write_text(json.dumps(rows, indent=1))


def probe(work: Callable[[Trace], None]) -> Ended:
    """Run ``work`` in a child, as the whole of a test beside the stages: the test ends as it does."""
    ready()
    ended = isolated(work, limit())
    message = (ended.error or {}).get("message", "")
    if ended.outcome in ("skipped", "unavailable"):
        pytest.skip(message)
    assert ended.outcome == "passed", f"{(ended.error or {})['type']}: {message}"
    return ended


def adapted(command: str, config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with the user's own on top: ``COMMAND.yaml`` of ``--workload DIR``, section by section.

    Paths in it are relative to that folder; model and output folders stay the workflow's.
    """
    folder = Path(os.environ.get("TUNEMATRIX_WORKLOAD", ""))
    source = folder / f"{command}.yaml"
    if not os.environ.get("TUNEMATRIX_WORKLOAD") or not source.is_file():
        return config
    own = yaml.safe_load(source.read_text()) or {}
    if "path" in (dataset := own.get("dataset", {})):
        config = {**config, "dataset": {}}
        own = {**own, "dataset": {**dataset, "path": str(folder / dataset["path"])}}
    return config | {
        key: {**config.get(key, {}), **value} if isinstance(value, dict) else value
        for key, value in own.items()
    }


def settle() -> None:
    """Keep the collector off what is imported: else each child copies every page it looks through.

    Halves the time of a short stage; ``gc.freeze`` is made for this.
    """
    gc.collect()
    gc.freeze()


def preload(model: Path) -> None:
    """Import the model's own module in the parent, so that not every child pays for it again."""
    with suppress(Exception):  # a stage will show what is wrong with it
        kind = json.loads((model / "config.json").read_text())["model_type"]
        importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
