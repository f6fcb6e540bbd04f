"""Measures of DPO beyond its first step: each type of loss, and the models that it compares with."""

from __future__ import annotations

import copy
import re
import typing
from dataclasses import fields
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.lab import Lab
from tunematrix.harness.measures.preferences import PAIRS
from tunematrix.harness.measures.trainer_lab import (
    BATCH,
    LENGTHS,
    NOISE,
    STEPS,
    Found,
    add_step,
    build,
    find_trainer,
    frozen_embeddings,
    perturbed,
    with_adapter,
)
from tunematrix.pipeline import compat

# The types of any release: those that a release does not name are recorded as unavailable there.
LOSS_TYPES: Final = (
    *(
        "sigmoid",
        "hinge",
        "ipo",
        "robust",
        "bco_pair",
        "sppo_hard",
        "nca_pair",
        "exo_pair",
        "aot",
        "aot_pair",
    ),
    *("aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm", "kto_pair"),
)
SMOOTHED: Final = ("robust", "exo_pair")  # without smoothing, the one equals sigmoid and the other is refused
# With two of which model and reference disagree on the order, since some losses sort.
ROWS: Final = (
    *PAIRS,
    {**PAIRS[0], "chosen": " The sun is blue.", "rejected": " The sun is warm."},
    {**PAIRS[0], "chosen": " The sun is warm.", "rejected": " The sun is blue."},
)


def loss_types(config: Any) -> list[str]:
    """The loss types that a config names: as its type, as its field's choices or in its help."""
    loss_type = next(each for each in fields(config) if each.name == "loss_type")
    choices = typing.get_args(loss_type.type) or loss_type.metadata.get("choices") or ()
    names = [name for name in choices if isinstance(name, str)]
    return names or re.findall(r"`'(\w+)'`", loss_type.metadata.get("help", ""))


def _dpo(lab: Lab, found: Found, model: Any, **options: Any) -> Any:
    arguments = {"model": model, "rows": options.pop("rows", PAIRS)}
    if "ref_model" in options:
        arguments["ref_model"] = options.pop("ref_model")
    defaults = {"loss_type": "sigmoid", "label_smoothing": 0.0, "precompute_ref_log_probs": False}
    defaults |= {"beta": 0.5, "discopop_tau": 0.05, "use_weighting": False, "disable_dropout": True}
    return build(lab, found, {**BATCH, **LENGTHS, **defaults, **options}, **arguments)


def trainer_dpo_losses(lab: Lab) -> None:
    """The loss of each type on the same batch, without a step; or the error of one that is refused."""
    found = find_trainer("DPO")
    reference = frozen_embeddings(lab)
    model = perturbed(reference)
    named = loss_types(found.config)
    lab.add_number("named", sorted(named))
    for loss_type in sorted({*named, *LOSS_TYPES}):
        if named and loss_type not in named:
            lab.add_number(f"{loss_type}.unavailable", "DPOConfig does not name it")
            continue
        try:
            lab.add_number(f"{loss_type}.loss", _loss_of_type(lab, found, model, reference, loss_type))
        except Exception as error:
            lab.add_number(f"{loss_type}.error", type(error).__name__)


def _loss_of_type(lab: Lab, found: Found, model: Any, reference: Any, loss_type: str) -> float:
    smoothing = 0.1 if loss_type in SMOOTHED else 0.0
    options = {"loss_type": loss_type, "label_smoothing": smoothing, "per_device_train_batch_size": len(ROWS)}
    trainer = _dpo(lab, found, model, ref_model=reference, rows=ROWS, **options)
    batch = next(iter(trainer.get_train_dataloader()))
    return float(trainer.compute_loss(trainer.model, batch))


def trainer_dpo_references(lab: Lab) -> None:
    """Two steps against the start: given as a copy, not given, as an adapter, computed in advance."""
    found = find_trainer("DPO")
    options = dict(STEPS)
    model = frozen_embeddings(lab)
    given = _two_steps(lab, found, "given", copy.deepcopy(model), ref_model=copy.deepcopy(model), **options)
    none_given = _two_steps(lab, found, "none_given", copy.deepcopy(model), **options)
    lab.add_number("reference_equal", abs(given - none_given) < NOISE)
    options["precompute_ref_log_probs"] = True
    computed = _two_steps(lab, found, "computed", model, **options)
    lab.add_number("computed_reference_equal", abs(given - computed) < NOISE)


def trainer_dpo_adapter_reference(lab: Lab) -> None:
    """A second adapter with the weights of the first as reference: as a copy of the whole model?"""
    found = find_trainer("DPO")
    if "ref_adapter_name" not in compat.accepted_arguments(found.config):
        raise Unavailable("DPOConfig has no ref_adapter_name")
    options = dict(STEPS)
    model = with_adapter(lab.load())
    given = _two_steps(lab, found, "given", copy.deepcopy(model), ref_model=copy.deepcopy(model), **options)
    _add_reference_adapter(model)
    options |= {"model_adapter_name": "default", "ref_adapter_name": "reference"}
    adapter = _two_steps(lab, found, "adapter", model, **options)
    lab.add_number("reference_equal", abs(given - adapter) < NOISE)


def _add_reference_adapter(model: Any) -> None:
    model.add_adapter("reference", model.peft_config["default"])
    weights = dict(model.named_parameters())
    for name, value in weights.items():
        if ".reference." in name:
            value.data.copy_(weights[name.replace(".reference.", ".default.")].data)
            value.requires_grad_(requires_grad=False)


def _two_steps(lab: Lab, found: Found, name: str, model: Any, **options: Any) -> float:
    trainer = _dpo(lab, found, model, **options)
    add_step(lab, trainer, f"{name}.")
    return float(trainer.state.log_history[-1]["train_loss"])


ALL: Final = (trainer_dpo_losses, trainer_dpo_references, trainer_dpo_adapter_reference)
