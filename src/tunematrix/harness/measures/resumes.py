"""Resumed runs beside uninterrupted ones: in the first epoch, in a later one, and of DPO."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.measures.lab import Lab, distance, lora_weights
from tunematrix.harness.measures.preferences import PAIRS, adapted, models_loaded
from tunematrix.harness.measures.texts import TEXTS
from tunematrix.pipeline.trace import watch_batches


def _run(lab: Lab, trainer: Any, resume: Path | None = None) -> tuple[dict[str, Any], list[str], float]:
    batches: list[str] = []
    stop = watch_batches(trainer.model, batches)
    loss, _ = lab.train(trainer, resume)
    stop()
    return lora_weights(trainer.model), batches, loss


def _compare(lab: Lab, name: str, whole: Any, resumed: Any) -> None:
    (weights, batches, loss), (others, rest, other_loss) = whole, resumed
    lab.number(f"{name}_difference", distance(weights, others))
    lab.number(f"{name}_same_order", batches[-len(rest) :] == rest)
    lab.number(f"{name}_training_losses", [loss, other_loss])


def pickled_names(path: Path) -> list[str]:
    """The functions and classes that a file of ``torch.save`` names: what a reader must know and allow.

    numpy 2 writes ``numpy._core`` where numpy 1 wrote ``numpy.core``, and readers allow only one of them.
    """
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))
    found: set[str] = set()
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name == "GLOBAL":
            found.add(str(argument).replace(" ", "."))
        elif operation.name == "STACK_GLOBAL":
            found.add(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
    return sorted(found)


def resume_sft(lab: Lab) -> None:
    """Four steps over two epochs, resumed after the first step and after the third."""
    options = {"max_steps": 4, "per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 1}
    options |= {"dataset_text_field": "text", "max_length": 64}
    whole = _run(lab, trainer := lab.trainer("SFT", TEXTS, **options))
    checkpoint = Path(trainer.args.output_dir)
    lab.number("files", sorted(path.name for path in (checkpoint / "checkpoint-1").iterdir()))
    lab.number("rng_state_names", pickled_names(checkpoint / "checkpoint-1" / "rng_state.pth"))
    for name, step in (("first_epoch", 1), ("later_epoch", 3)):
        again = lab.trainer("SFT", TEXTS, **options, output_dir=str(lab.folder / name))
        _compare(lab, name, whole, _run(lab, again, checkpoint / f"checkpoint-{step}"))


def resume_dpo(lab: Lab) -> None:
    """Two steps of DPO from an adapter, resumed after the first."""
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "max_length": 64, "beta": 0.5}
    whole = _run(lab, trainer := lab.trainer("DPO", PAIRS, model=adapted(lab), lora=None, **options))
    checkpoint = Path(trainer.args.output_dir) / "checkpoint-1"
    lab.number("files", sorted(path.name for path in checkpoint.iterdir()))
    again = lab.trainer(
        "DPO", PAIRS, model=models_loaded(lab), lora=None, **options, output_dir=str(lab.folder / "again")
    )
    _compare(lab, "first_epoch", whole, _run(lab, again, checkpoint))


ALL: Final = (resume_sft, resume_dpo)
