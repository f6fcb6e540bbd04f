"""A folder that somebody saved, under this stack: does it load, what does it answer, does it resume?

Nothing in the folder is written, and no pickle in it runs code: the parts are read from copies, large files
through links, and the host sets ``TORCH_FORCE_WEIGHTS_ONLY_LOAD``.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.harness import copies
from tunematrix.harness.checkpoint import load_safetensors, load_torch, load_weights
from tunematrix.harness.exchange.checkpoints import before_step
from tunematrix.harness.exchange.facts import sums
from tunematrix.harness.exchange.kinds import INPUT_IDS, compare
from tunematrix.harness.exchange.models import tokenizer_facts
from tunematrix.harness.failure import describe_with_context
from tunematrix.harness.isolate import Unavailable, WorkResult, run_isolated
from tunematrix.harness.kept import set_base_model
from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.relations.trials import make_trainer, run
from tunematrix.harness.measures.trainer_lab import fill
from tunematrix.harness.stages import time_limit
from tunematrix.pipeline import compat
from tunematrix.pipeline.trace import Trace

Result = dict[str, Any]
# The option of the Trainer by what its optimizer keeps of each weight.
OPTIMIZERS: Final[Mapping[frozenset[str], str]] = {
    frozenset({"step", "exp_avg", "exp_avg_sq"}): "adamw_torch",
    frozenset({"momentum_buffer"}): "sgd",
    frozenset(): "sgd",
}
GROUPS: Final = 2  # of the Trainer's optimizer: with weight decay and without
SCHEDULE: Final = "steps of the schedule"
CLASSIFIER: Final = "ForSequenceClassification"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One thing to read: ``kind`` is adapter, model, tokenizer or checkpoint; ``base`` is an adapter's."""

    kind: str
    folder: Path
    base: str = ""


def read_all(parts: Mapping[str, Mapping[str, str]], scratch: Path) -> Iterator[Result]:
    """A result for each part by its name, each read in a process of its own."""
    for number, (name, entry) in enumerate(parts.items()):
        part = Part(kind=entry["kind"], folder=Path(entry["folder"]), base=entry.get("base", ""))
        folder = scratch / str(number)
        folder.mkdir(parents=True)
        yield {"part": name, **_result(run_isolated(_work(part, folder), time_limit()))}
        shutil.rmtree(folder, ignore_errors=True)


def _work(part: Part, scratch: Path) -> Callable[[Trace], None]:
    def work(trace: Trace) -> None:
        copy = scratch / "copy"
        copy_part(part.folder, copy)
        for config in copy.rglob("adapter_config.json"):
            set_base_model(config, part.base)
        try:
            trace.numbers.update(READERS[part.kind](part, copy, scratch))
        except Unavailable:
            raise
        except Exception as failure:
            trace.numbers.update({"outcome": "fails", "error": describe_with_context(failure)})

    return work


def _result(result: WorkResult) -> Result:
    if result.outcome == "passed":
        return {"outcome": "loads", **result.numbers}
    outcome = "unavailable" if result.outcome == "unavailable" else "fails"
    return {"outcome": outcome, "error": result.error}


def copy_part(source: Path, target: Path) -> None:
    """Copy the files of ``source`` but its checkpoints, which are parts of their own; links to large ones."""
    target.mkdir()
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and copies.step_of(Path(name.parts[0])) is None:
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.stat().st_size > copies.LARGE:
                place.symlink_to(path.resolve())
            else:
                shutil.copyfile(path, place)


def load_model(path: str, name: str) -> Any:
    """The model at ``path`` in float32, with the Auto class for ``name``, that of an architecture or task."""
    import torch

    auto = "AutoModelForSequenceClassification" if is_classifier(name) else "AutoModelForCausalLM"
    return compat.load_model(path, torch.float32, Trace(), auto)


def is_classifier(name: str) -> bool:
    return CLASSIFIER in name or name == "SEQ_CLS"


def read_model(_: Part, copy: Path, __: Path) -> Result:
    return {"facts": answers(load_model(str(copy), _architecture(copy)))}


def read_adapter(part: Part, copy: Path, _: Path) -> Result:
    return {"facts": answers(_load_adapter(part, copy, trained=False))}


def read_tokenizer(_: Part, copy: Path, __: Path) -> Result:
    from transformers import AutoTokenizer

    return {"facts": tokenizer_facts(AutoTokenizer.from_pretrained(str(copy)))}


def read_checkpoint(part: Part, copy: Path, scratch: Path) -> Result:
    """Resume from the checkpoint for a step: before it, all must be as it stands in the files."""
    expected, options = _in_files(copy)
    is_adapter = (copy / "adapter_config.json").is_file()
    model = (
        _load_adapter(part, copy, trained=True) if is_adapter else load_model(str(copy), _architecture(copy))
    )
    for value in model.parameters():
        if value.requires_grad:
            fill(value)  # otherwise nobody could see that the weights are not restored
    ids = _ids(model.config)
    rows = [{"input_ids": ids, "labels": 0 if is_classifier(type(model).__name__) else ids}]
    lab = Lab(model=copy, tokenizer=copy, folder=scratch, trace=Trace(), prefix="x", name="resumed")
    step = expected["step"]
    trainer = make_trainer(
        lab, model, rows, **options, max_steps=step + 1, num_train_epochs=1, ignore_data_skip=True
    )
    found: dict[str, Any] = {}
    trainer.add_callback(before_step(trainer, step, found))
    trainer.add_callback(_before_scheduled(trainer, step, found))
    ended = run(trainer, copy).steps
    if not found or ended != step + 1:
        raise AssertionError(f"it did not go on from step {step}: it ended at step {ended}")
    known = {name: value for name, value in found.items() if name in expected}
    if not is_adapter:  # of a model, a file has no tied weights, and some releases give them other names
        expected["weights"] = _shared(expected["weights"], known["weights"])
        known["weights"] = _shared(known["weights"], expected["weights"])
    difference = compare(expected, known)
    return {"facts": {"step": step}, **({"difference": difference} if difference else {})}


def _before_scheduled(trainer: Any, done: int, found: dict[str, Any]) -> Any:
    """A callback that adds to ``found`` where the schedule of the learning rate is after ``done`` steps."""
    from transformers import TrainerCallback

    class Schedule(TrainerCallback):  # type: ignore[misc]  # the stack is not installed where mypy runs
        def on_step_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            if state.global_step == done:
                found[SCHEDULE] = trainer.lr_scheduler.state_dict()["last_epoch"]

    return Schedule()


def _shared(tensors: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tensors.items() if name in other}


READERS: Final[Mapping[str, Callable[[Part, Path, Path], Result]]] = {
    "adapter": read_adapter,
    "model": read_model,
    "tokenizer": read_tokenizer,
    "checkpoint": read_checkpoint,
}


def _in_files(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a checkpoint's files say of its step, and the Trainer's options to resume it."""
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    expected = {"step": int(state["global_step"]), "weights": _weights(folder)}
    options: dict[str, Any] = {"lr_scheduler_type": "linear"}
    if (folder / "optimizer.pt").is_file():
        optimizer = load_torch(folder / "optimizer.pt")
        kept = frozenset(key for values in optimizer["state"].values() for key in values)
        if kept not in OPTIMIZERS or len(optimizer["param_groups"]) != GROUPS:
            raise Unavailable(f"its optimizer is none of the Trainer's own: it keeps {sorted(kept)}")
        options["optim"] = OPTIMIZERS[kept]
        expected["optimizer"] = {
            f"{index}.{key}": value
            for index, values in optimizer["state"].items()
            for key, value in values.items()
            if value is not None
        }
        expected["learning rate"] = [float(group["lr"]) for group in optimizer["param_groups"]]
    if (folder / "scheduler.pt").is_file():
        schedule = load_torch(folder / "scheduler.pt")
        expected |= {SCHEDULE: schedule["last_epoch"]} if "last_epoch" in schedule else {}
    return expected, options


def _weights(folder: Path) -> dict[str, Any]:
    shards = sorted(folder.glob("model-*-of-*.safetensors"))
    if not shards:
        return load_weights(folder)
    return {name: value for path in shards for name, value in load_safetensors(path).items()}


def _load_adapter(part: Part, copy: Path, *, trained: bool) -> Any:
    if not importlib.util.find_spec("peft"):
        raise Unavailable("this stack has no peft")
    from peft import PeftModel

    config = json.loads((copy / "adapter_config.json").read_text(encoding="utf-8"))
    task = config.get("task_type") or ""
    base = load_model(part.base, str(task) or _architecture(Path(part.base)))
    return PeftModel.from_pretrained(base, str(copy), is_trainable=trained)


def _architecture(folder: Path) -> str:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(next(iter(config.get("architectures") or []), ""))


def _ids(config: Any) -> list[int]:
    """Fixed ids that the vocabulary has."""
    size = getattr(config, "vocab_size", 0) or getattr(config.get_text_config(), "vocab_size", 0)
    return [token % size for token in INPUT_IDS]


def answers(model: Any) -> dict[str, Any]:
    """Sums of the logits of fixed ids, which another stack must find too."""
    import torch

    ids = torch.tensor([_ids(model.config)])
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits.float()
    return {"logits": [float(value) for value in sums(logits)], "shape": list(logits.shape)}
