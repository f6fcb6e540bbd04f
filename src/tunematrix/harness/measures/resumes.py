"""Measures of resumed runs, compared with uninterrupted ones: in the first epoch, a later one, and of DPO."""

from __future__ import annotations

import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.measures.lab import Lab, lora_weights, max_difference
from tunematrix.harness.measures.preferences import PAIRS, model_with_adapter, reload_with_adapter
from tunematrix.harness.measures.texts import TEXTS
from tunematrix.pipeline.trace import watch_batches


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The LoRA weights at the end of a training run, the hashes of its batches, and its loss."""

    weights: dict[str, Any]
    batches: list[str]
    loss: float


def _train(lab: Lab, trainer: Any, resume: Path | None = None) -> Run:
    batches: list[str] = []
    stop_watching = watch_batches(trainer.model, batches)
    loss, _ = lab.train(trainer, resume)
    stop_watching()
    return Run(weights=lora_weights(trainer.model), batches=batches, loss=loss)


def _compare(lab: Lab, name: str, whole: Run, resumed: Run) -> None:
    lab.add_number(f"{name}_difference", max_difference(whole.weights, resumed.weights))
    lab.add_number(f"{name}_same_order", whole.batches[-len(resumed.batches) :] == resumed.batches)
    lab.add_number(f"{name}_training_losses", [whole.loss, resumed.loss])


def pickled_names(path: Path) -> list[str]:
    """The functions and classes named in a file of ``torch.save``; a reader must know and allow them.

    numpy 2 writes ``numpy._core`` instead of ``numpy.core``, and readers allow only one of the two.
    """
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))
    names: set[str] = set()
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL":
            names.add(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.add(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return sorted(names)


def resume_sft(lab: Lab) -> None:
    """Four steps over two epochs, resumed after the first and after the third step."""
    options = {"max_steps": 4, "per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 1}
    options |= {"dataset_text_field": "text", "max_length": 64}
    trainer = lab.trainer("SFT", TEXTS, **options)
    whole = _train(lab, trainer)
    output = Path(trainer.args.output_dir)
    lab.add_number("files", sorted(path.name for path in (output / "checkpoint-1").iterdir()))
    lab.add_number("rng_state_names", pickled_names(output / "checkpoint-1" / "rng_state.pth"))
    for name, step in (("first_epoch", 1), ("later_epoch", 3)):
        trainer = lab.trainer("SFT", TEXTS, **options, output_dir=str(lab.folder / name))
        _compare(lab, name, whole, _train(lab, trainer, output / f"checkpoint-{step}"))


def resume_dpo(lab: Lab) -> None:
    """Two steps of DPO from an adapter, resumed after the first."""
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "max_length": 64, "beta": 0.5}
    trainer = lab.trainer("DPO", PAIRS, model=model_with_adapter(lab), lora=None, **options)
    whole = _train(lab, trainer)
    checkpoint = Path(trainer.args.output_dir) / "checkpoint-1"
    lab.add_number("files", sorted(path.name for path in checkpoint.iterdir()))
    options |= {"output_dir": str(lab.folder / "again")}
    trainer = lab.trainer("DPO", PAIRS, model=reload_with_adapter(lab), lora=None, **options)
    _compare(lab, "first_epoch", whole, _train(lab, trainer, checkpoint))


ALL: Final = (resume_sft, resume_dpo)
