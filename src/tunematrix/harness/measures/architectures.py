"""What LoRA trains in tiny models of several architectures, made from their configurations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from tunematrix.harness.measures.adapters import LORA, trained_names
from tunematrix.harness.measures.lab import Lab

TINY: Final[Mapping[str, Any]] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "pad_token_id": 0,
}
EXPERTS: Final[Mapping[str, Any]] = {"num_experts_per_tok": 1, "num_key_value_heads": 1}
# By the name of their configuration: those that teams fine-tune, and those with experts.
ARCHITECTURES: Final[Mapping[str, Mapping[str, Any]]] = {
    "GPTNeoX": {},
    "Gemma": {"num_key_value_heads": 1, "head_dim": 8},
    "Mistral": {"num_key_value_heads": 1},
    "Mixtral": {**EXPERTS, "num_local_experts": 2},
    "Phi3": {"num_key_value_heads": 1},
    "Qwen2": {"num_key_value_heads": 1},
    "Qwen2Moe": {
        **EXPERTS,
        "num_experts": 2,
        "moe_intermediate_size": 8,
        "shared_expert_intermediate_size": 8,
    },
}
TARGETS: Final[Mapping[str, Any]] = {
    "default": None,
    "all_linear": "all-linear",
    "experts": ["w1", "w2", "w3", "gate_proj", "up_proj", "down_proj"],
}


def adapter_architectures(lab: Lab) -> None:
    """What LoRA trains of each architecture: by default, of all linear layers, and of experts by name."""
    import peft
    import transformers

    for name, options in ARCHITECTURES.items():
        if not hasattr(transformers, f"{name}Config"):
            lab.add_number(f"{name}.unavailable", f"transformers has no {name}")
            continue
        config = getattr(transformers, f"{name}Config")(**TINY, **options)
        base = transformers.AutoModelForCausalLM.from_config(config)
        for kind, targets in TARGETS.items():
            lora = peft.LoraConfig(**{**LORA, "target_modules": targets}, task_type="CAUSAL_LM")
            try:
                model = peft.get_peft_model(copy.deepcopy(base), lora)
            except Exception as error:
                lab.add_number(f"{name}.{kind}_error", type(error).__name__)
                continue
            trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
            lab.add_number(f"{name}.{kind}", {"trained": trained, "names": trained_names(model)})


ALL: Final = (adapter_architectures,)
