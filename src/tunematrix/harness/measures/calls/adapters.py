"""What the calls of fine-tuning code return on adapters and accelerate, and what misuse raises."""

# ruff: noqa: PLW0108  # lambdas, so that a name which a stack lacks is looked up where the call is guarded

from __future__ import annotations

import copy
import importlib
from typing import Any, Final

from tunematrix.harness.measures.calls.described import Calls, Exactly, describe_calls, file_names, home, part
from tunematrix.harness.measures.lab import LORA, Lab
from tunematrix.pipeline import models


def call_adapters(lab: Lab) -> None:
    import peft

    base, folder = lab.load(), home(lab)
    lora = models.lora_config(LORA, "lora")

    def make(config: Any = lora) -> Any:
        return peft.get_peft_model(copy.deepcopy(base), copy.deepcopy(config))

    model = make()
    saved = str(folder / "saved")
    states = peft.get_peft_model_state_dict(model)
    describe_calls(
        lab,
        {
            "made": lambda: model,
            "trainable": lambda: model.get_nb_trainable_parameters(),
            "print_trainable": lambda: model.print_trainable_parameters(),
            "peft_config": lambda: model.peft_config,
            "config_targets": lambda: model.peft_config["default"].target_modules,
            "active_adapter": lambda: model.active_adapter,
            "active_adapters": lambda: model.active_adapters,
            "disabled": lambda: model.disable_adapter(),
            "base_model": lambda: model.base_model,
            "get_base_model": lambda: model.get_base_model(),
            "state_dict": lambda: Exactly([type(states).__name__, len(states)]),
            "set_state_dict": lambda: peft.set_peft_model_state_dict(make(), states),
            "add_adapter": lambda: make().add_adapter("second", lora),
            "set_adapter": lambda: make().set_adapter("default"),
            "merged": lambda: make().merge_and_unload(),
            "merge_adapter": lambda: make().merge_adapter(),
            "unloaded": lambda: make().unload(),
            "status": lambda: part(model, "get_model_status")(),
            "layer_status": lambda: part(model, "get_layer_status")(),
            "prepared": lambda: peft.prepare_model_for_kbit_training(copy.deepcopy(base)),
            "save": lambda: model.save_pretrained(saved),
            "save_files": lambda: file_names(folder / "saved"),
            "reloaded": lambda: peft.PeftModel.from_pretrained(copy.deepcopy(base), saved),
            "load_adapter": lambda: make().load_adapter(saved, "second"),
            "config_reloaded": lambda: peft.PeftConfig.from_pretrained(saved),
            "auto": lambda: peft.AutoPeftModelForCausalLM.from_pretrained(saved),
            "transformers_add": lambda: copy.deepcopy(base).add_adapter(lora),
            "transformers_load": lambda: copy.deepcopy(base).load_adapter(saved),
            **_adapter_misuse(base, make, str(folder / "none"), saved),
        },
    )


def _adapter_misuse(base: Any, make: Any, missing: str, saved: str) -> Calls:
    import peft

    def lora(**options: Any) -> Any:
        return peft.LoraConfig(task_type="CAUSAL_LM", **options)

    return {
        "wrong_target": lambda: make(lora(target_modules=["no_such_module"])),
        "wrong_rank": lambda: make(lora(r=0)),
        "wrong_task": lambda: peft.LoraConfig(task_type="NO_SUCH_TASK"),
        "wrong_field": lambda: lora(no_such_field=1),
        "wrong_bias": lambda: make(lora(bias="no such bias")),
        "wrong_init": lambda: make(lora(init_lora_weights="no such init")),
        "wrong_layers": lambda: make(lora(target_modules="all-linear", layers_to_transform=[0])),
        "wrong_module_to_save": lambda: make(lora(modules_to_save=["no_such_module"])),
        "wrong_none": lambda: make(None),
        "wrong_second_time": lambda: peft.get_peft_model(make(), lora()),
        "wrong_set": lambda: make().set_adapter("no such adapter"),
        "wrong_delete": lambda: make().delete_adapter("no such adapter"),
        "wrong_delete_last": lambda: make().delete_adapter("default"),
        "wrong_add_again": lambda: make().add_adapter("default", lora()),
        "wrong_name": lambda: make().add_adapter("a.b", lora()),
        "wrong_load": lambda: make().load_adapter(missing, "second"),
        "wrong_folder": lambda: peft.PeftModel.from_pretrained(copy.deepcopy(base), missing),
        "wrong_config_folder": lambda: peft.PeftConfig.from_pretrained(missing),
        "wrong_shape": lambda: make(lora(r=2)).load_adapter(saved, "default"),
        "wrong_state_dict": lambda: peft.set_peft_model_state_dict(make(), {"no_such_weight": 1}),
        "wrong_merge_names": lambda: make().merge_and_unload(adapter_names=["no such adapter"]),
        "wrong_transformers_set": lambda: copy.deepcopy(base).set_adapter("default"),
        "wrong_transformers_load": lambda: copy.deepcopy(base).load_adapter(missing),
    }


def call_accelerate(lab: Lab) -> None:
    import torch

    accelerate = importlib.import_module("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    base, loader = lab.load(), torch.utils.data.DataLoader([1, 2])
    optimizer = torch.optim.SGD(base.parameters(), lr=0.1)
    prepared = accelerator.prepare(base, optimizer, loader)
    model, folder = prepared[0], home(lab)

    def loss() -> Any:
        return model(input_ids=torch.tensor([[1, 2]]), labels=torch.tensor([[1, 2]])).loss

    def accumulate() -> Any:
        with accelerator.accumulate(model) as entered:
            return entered

    describe_calls(
        lab,
        {
            "prepared": lambda: prepared,
            "device": lambda: accelerator.device,
            "accumulate": accumulate,
            "backward": lambda: accelerator.backward(loss()),
            "clip": lambda: accelerator.clip_grad_norm_(model.parameters(), 1.0),
            "step": lambda: prepared[1].step(),
            "gather": lambda: accelerator.gather(torch.ones(2)),
            "unwrapped": lambda: accelerator.unwrap_model(model),
            "state_dict": lambda: Exactly(len(accelerator.get_state_dict(model))),
            "save_state": lambda: accelerator.save_state(str(folder)),
            "save_state_files": lambda: file_names(folder),
            "load_state": lambda: accelerator.load_state(str(folder)),
            "wrong_load_state": lambda: accelerator.load_state(str(folder / "none")),
            "wrong_prepare": lambda: accelerator.prepare("no model"),
            "wrong_tracker": lambda: accelerator.get_tracker("no such tracker"),
            "prepared_one": lambda: accelerator.prepare(base),
            "wrong_precision": lambda: accelerate.Accelerator(cpu=True, mixed_precision="no such"),
        },
    )


ALL: Final = (call_adapters, call_accelerate)
