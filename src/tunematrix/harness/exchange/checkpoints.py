"""Checkpoints of a run that was stopped after its first of two steps: is everything there again?

Two questions, because teams ask both. What is restored: weights, optimizer, learning rate and step before the
second step must be those of the uninterrupted run. How it goes on: a release that trains otherwise ends
elsewhere, also from a perfect checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.exchange.kinds import LLAMA, Facts, Kind, logits
from tunematrix.harness.measures.adapters import fill_trained, make_config
from tunematrix.harness.measures.lab import LORA, Lab, clones
from tunematrix.harness.measures.preferences import PAIRS
from tunematrix.harness.measures.relations.trials import PLAIN, make_trainer, run, token_rows
from tunematrix.harness.measures.texts import TEXTS
from tunematrix.pipeline.trace import watch_batches

STEPS: Final = {
    **PLAIN,
    "max_steps": 2,
    "save_strategy": "steps",
    "save_steps": 1,
    "optim": "adamw_torch",
    "lr_scheduler_type": "linear",
    "learning_rate": 0.01,
}
SPECIAL_ID: Final = 300  # of a token that every vocabulary has
Build = Callable[[Lab, Path, Path], Any]  # a lab, the folder of the artifact, the output folder -> a trainer


def build_sft(lab: Lab, _: Path, output: Path) -> Any:
    options = {name: value for name, value in STEPS.items() if name != "remove_unused_columns"}
    texts = {"dataset_text_field": "text", "max_length": 64, "packing": False}
    return lab.trainer("SFT", TEXTS, lora=LORA, **{**options, **texts, "output_dir": str(output)})


def build_dpo(lab: Lab, folder: Path, output: Path) -> Any:
    """DPO goes on from an adapter, as after fine-tuning; the folder has the one that it went on from."""
    from peft import PeftModel, get_peft_model

    start = folder / "start"
    if not start.is_dir():
        model = get_peft_model(lab.load(), make_config("LoraConfig", r=4, lora_alpha=8))
        fill_trained(model, keep=True)
        model.save_pretrained(str(start))
    model = PeftModel.from_pretrained(lab.load(), str(start), is_trainable=True)
    options = {name: value for name, value in STEPS.items() if name != "remove_unused_columns"}
    return lab.trainer("DPO", PAIRS, model=model, lora=None, **{**options, "output_dir": str(output)})


def build_full(lab: Lab, _: Path, output: Path) -> Any:
    return make_trainer(lab, lab.load(), token_rows(3), **{**STEPS, "output_dir": str(output)})


def _train(kind: tuple[str, Build], lab: Lab, folder: Path, *, resume: bool) -> Facts:
    """Train both steps in ``folder``, or resume from its first one elsewhere; the facts of both questions."""
    name, build = kind
    output = lab.folder / lab.name if resume else folder
    restored: dict[str, Any] = {}
    trainer = build(lab, folder, output)
    trainer.add_callback(before_step(trainer, 1, restored))
    batches: list[str] = []
    unwatch = watch_batches(trainer.model, batches)
    result = run(trainer, folder / "checkpoint-1" if resume else None)
    unwatch()
    if not restored:
        raise AssertionError(f"it never came to its second step: it ended at step {result.steps}")
    losses = [float(entry["loss"]) for entry in result.log if "loss" in entry]
    end = {"loss": losses[-1], "weights": _weights(trainer.model), "batches": batches[-1:]}
    facts = {name: restored, f"{name}-goes-on": end}
    if not resume:
        # What other kinds read from the folder of the finished run.
        trainer.save_model(str(folder))
        _special_tokenizer(lab).save_pretrained(str(folder))
        facts["trainer-state"] = {"step": result.steps, "max_steps": 2, "losses": losses}
        facts["autopeft"] = {"logits": logits(trainer.model)}
    return facts


def _special_tokenizer(lab: Lab) -> Any:
    """The tokenizer with a special token of the team's own, as after chat fine-tuning; its length stays."""
    tokenizer = lab.load_tokenizer()
    token = tokenizer.convert_ids_to_tokens(SPECIAL_ID)
    tokenizer.add_special_tokens({"additional_special_tokens": [token]})
    return tokenizer


def _checkpoint(name: str, build: Build, *, light: bool = False, only: tuple[str, ...] = ()) -> Kind:
    def write(lab: Lab, folder: Path) -> Facts:
        return _train((name, build), lab, folder, resume=False)

    def read(lab: Lab, folder: Path) -> Facts:
        return _train((name, build), lab, folder, resume=True)

    artifacts = (name, f"{name}-goes-on")
    return Kind(name=name, write=write, read=read, artifacts=artifacts, light=light, only=only)


def before_step(trainer: Any, done: int, found: dict[str, Any]) -> Any:
    """A callback that fills ``found`` with the state of ``trainer`` when ``done`` steps are done.

    transformers 4.48 and 4.49 give callbacks no optimizer, which says nothing about a checkpoint.
    """
    from transformers import TrainerCallback

    class Snapshot(TrainerCallback):  # type: ignore[misc]  # the stack is not installed where mypy runs
        def on_step_begin(self, _: Any, state: Any, *__: Any, **known: Any) -> None:
            if state.global_step == done:
                found["step"] = state.global_step
                found["weights"] = _weights(known["model"])
                optimizer = trainer.optimizer.state_dict()
                found["optimizer"] = {
                    f"{index}.{key}": value.clone()
                    for index, values in optimizer["state"].items()
                    for key, value in values.items()
                }
                found["learning rate"] = [float(group["lr"]) for group in optimizer["param_groups"]]
                losses = [float(entry["loss"]) for entry in state.log_history if "loss" in entry]
                found["losses"] = losses

    return Snapshot()


def _weights(model: Any) -> dict[str, Any]:
    """What is trained, under the names in the files: those in memory also say which adapter it is."""
    model = getattr(model, "module", model)
    if not hasattr(model, "peft_config"):
        return clones((name, value) for name, value in model.named_parameters() if value.requires_grad)
    from peft import get_peft_model_state_dict

    return clones(get_peft_model_state_dict(model, adapter_name="default").items())


def read_auto(_: Lab, folder: Path) -> Facts:
    """The folder of a finished run, through the class that finds the base model and the tokenizer itself."""
    from peft import AutoPeftModelForCausalLM

    return {"autopeft": {"logits": logits(AutoPeftModelForCausalLM.from_pretrained(str(folder)))}}


def read_state(_: Lab, folder: Path) -> Facts:
    """What the trainer wrote down of its run."""
    from transformers import TrainerState

    state = TrainerState.load_from_json(str(folder / "checkpoint-2" / "trainer_state.json"))
    losses = [float(entry["loss"]) for entry in state.log_history if "loss" in entry]
    return {"trainer-state": {"step": state.global_step, "max_steps": state.max_steps, "losses": losses}}


ALL: Final = (
    _checkpoint("sft", build_sft, light=True),
    _checkpoint("dpo", build_dpo, light=True),
    _checkpoint("full-checkpoint", build_full, only=LLAMA),
    Kind(name="autopeft", source="sft", read=read_auto, light=True),
    Kind(name="trainer-state", source="full-checkpoint", read=read_state, only=LLAMA),
)
