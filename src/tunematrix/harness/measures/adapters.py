"""Measures of the kinds of adapters: what is trained, a step by hand, saving and merging.

Weights are filled with fixed numbers before the step, so that no number depends on random ones.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.lab import SEED, Lab, clones, logits
from tunematrix.harness.measures.texts import TEXTS
from tunematrix.harness.measures.trainer_lab import add_moves, fill
from tunematrix.pipeline import compat

NOISE: Final = 1e-5  # relative; merging in float32 leaves a few 1e-7
LEARNING_RATE: Final = 0.1
LORA: Final[Mapping[str, Any]] = {
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "bias": "none",
    "target_modules": ["q_proj", "v_proj"],
}
KRONECKER: Final[Mapping[str, Any]] = {
    "r": 4,
    "alpha": 8,
    "rank_dropout": 0.0,
    "module_dropout": 0.0,
    "init_weights": True,
    "target_modules": ["q_proj", "v_proj"],
}
ADDED_TO: Final = ("magnitude", "ia3_l", "oft_s", "modules_to_save")  # zero is no start for these
WEIGHTS: Final = (0.7, 0.3)


def make_config(kind: str, **options: Any) -> Any:
    """A configuration of peft; unavailable if it, or one of its options, does not exist."""
    import peft

    config = getattr(peft, kind, None)
    if config is None:
        raise Unavailable(f"peft has no {kind}")
    for name in options:
        if name not in compat.accepted_arguments(config):
            raise Unavailable(f"{kind} has no {name}")
    return config(task_type="CAUSAL_LM", **options)


def fill_trained(model: Any, *, keep: bool = False) -> None:
    """Fill what is trained with fixed numbers; add them to it if ``keep``."""
    for name, value in model.named_parameters():
        if value.requires_grad:
            if not keep and not any(part in name for part in ADDED_TO):
                value.data.zero_()
            fill(value)


def difference(left: Any, right: Any) -> float:
    """The largest difference relative to the largest value; 0.0 below rounding."""
    if left.shape != right.shape:
        return float("inf")
    distance = float((left - right).abs().max() / left.abs().max())
    return distance if not distance < NOISE else 0.0


def trained_names(model: Any) -> list[str]:
    """The names of the trained tensors, those of all layers as one."""
    names = (name for name, value in model.named_parameters() if value.requires_grad)
    return sorted({re.sub(r"\.\d+\.", ".*.", name) for name in names})


def add_step(lab: Lab, model: Any, tokenizer: Any) -> None:
    """One step without a trainer: the losses before and after it, the gradient norm, and what moved."""
    import torch

    batch = tokenizer(TEXTS[1]["text"], return_tensors="pt")
    trained = [value for value in model.parameters() if value.requires_grad]
    start = clones(model.named_parameters())
    trained_from = {name for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE)
    loss = model.train()(**batch, labels=batch["input_ids"]).loss
    loss.backward()
    norm = torch.linalg.vector_norm(torch.stack([value.grad.norm() for value in trained]))
    optimizer.step()
    after = model(**batch, labels=batch["input_ids"]).loss
    lab.add_number("loss", [loss.item(), after.item()])
    lab.add_number("loss_fell", after.item() < loss.item())
    lab.add_number("grad_norm", norm.item())
    add_moves(lab, model, start, trained_from)


def measure_kind(lab: Lab, config: Any, *, keep: bool = False) -> None:
    """Everything about one kind of adapter on one model."""
    from peft import PeftModel, get_peft_model
    from transformers import set_seed

    base, tokenizer = lab.load(), lab.load_tokenizer()
    untouched = logits(base, tokenizer)
    set_seed(SEED)
    model = get_peft_model(copy.deepcopy(base), config)
    lab.add_number("trained", sum(each.numel() for each in model.parameters() if each.requires_grad))
    lab.add_number("trained_names", trained_names(model))
    if not config.is_prompt_learning:
        lab.add_number("start_difference", difference(untouched, logits(model, tokenizer)))
    fill_trained(model, keep=keep)
    add_step(lab, model, tokenizer)
    learned = logits(model, tokenizer)
    lab.add_number("differs_from_base", difference(untouched, learned[-len(untouched) :]) > 0)
    folder = str(lab.folder / lab.name)
    model.save_pretrained(folder)
    loaded_config = base.config.to_dict()
    reloaded = PeftModel.from_pretrained(base, folder)
    lab.add_number("reload_difference", difference(learned, logits(reloaded, tokenizer)))
    if config.is_prompt_learning:
        lab.add_number("merged.unavailable", "a prompt is not merged")
    else:
        merged = reloaded.merge_and_unload()
        lab.add_number("merged_difference", difference(learned, logits(merged, tokenizer)))
        config = merged.config.to_dict()
        changed = {name: value for name, value in config.items() if value != loaded_config.get(name)}
        lab.add_number("merged_config", changed)


def adapter_dora(lab: Lab) -> None:
    measure_kind(lab, make_config("LoraConfig", **LORA, use_dora=True))


def adapter_rslora(lab: Lab) -> None:
    measure_kind(lab, make_config("LoraConfig", **LORA, use_rslora=True))


def adapter_pissa(lab: Lab) -> None:
    """LoRA that starts from the principal components; the base keeps the rest."""
    measure_kind(lab, make_config("LoraConfig", **LORA, init_lora_weights="pissa"), keep=True)


def adapter_loha(lab: Lab) -> None:
    measure_kind(lab, make_config("LoHaConfig", **KRONECKER))


def adapter_lokr(lab: Lab) -> None:
    measure_kind(lab, make_config("LoKrConfig", **KRONECKER, decompose_both=False, decompose_factor=-1))


def adapter_ia3(lab: Lab) -> None:
    targets = {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}
    measure_kind(lab, make_config("IA3Config", **targets, init_ia3_weights=True))


def adapter_prompt(lab: Lab) -> None:
    """Prompt tuning from random tokens."""
    options = {"num_virtual_tokens": 4, "prompt_tuning_init": "RANDOM"}
    measure_kind(lab, make_config("PromptTuningConfig", **options))


def adapter_adalora(lab: Lab) -> None:
    """Before its first budget; the loss has a term for orthogonality."""
    ranks = {"target_r": 4, "init_r": 6, "tinit": 0, "tfinal": 0, "deltaT": 1, "total_step": 10}
    rates = {"beta1": 0.85, "beta2": 0.85, "orth_reg_weight": 0.5}
    lora = {name: value for name, value in LORA.items() if name != "r"}
    measure_kind(lab, make_config("AdaLoraConfig", **lora, **ranks, **rates))


def adapter_oft(lab: Lab) -> None:
    """Four blocks of eight; the early ones count the blocks, the later ones take their size."""
    import peft

    config = getattr(peft, "OFTConfig", None)
    accepted = compat.accepted_arguments(config) if config else frozenset()
    blocks: dict[str, Any] = {"r": 0, "oft_block_size": 8} if "oft_block_size" in accepted else {"r": 4}
    options = {"module_dropout": 0.0, "coft": False, "block_share": False, "use_cayley_neumann": False}
    blocks |= {name: value for name, value in options.items() if name in accepted}
    blocks |= {"target_modules": ["q_proj", "v_proj"], "init_weights": True}
    measure_kind(lab, make_config("OFTConfig", **blocks))


def adapter_vera(lab: Lab) -> None:
    """Random projections that all layers share, so the targets have one shape."""
    options = {
        "r": 4,
        "projection_prng_key": 0,
        "save_projection": True,
        "vera_dropout": 0.0,
        "d_initial": 0.1,
    }
    measure_kind(lab, make_config("VeraConfig", **options, target_modules=["q_proj", "o_proj"]))


def adapter_saved_modules(lab: Lab) -> None:
    """A module that is trained and saved whole beside LoRA."""
    measure_kind(lab, make_config("LoraConfig", **LORA, modules_to_save=["norm"]))


def adapter_saved_embeddings(lab: Lab) -> None:
    """The embedding, to which the head is tied, trained and saved whole beside LoRA."""
    measure_kind(lab, make_config("LoraConfig", **LORA, modules_to_save=["embed_tokens"]))


def _two_adapters(lab: Lab) -> Any:
    """A model with the adapters ``first`` and ``second``, of different weights; ``first`` is active."""
    from peft import get_peft_model

    model = get_peft_model(lab.load(), make_config("LoraConfig", **LORA), adapter_name="first")
    model.add_adapter("second", make_config("LoraConfig", **LORA))
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data.zero_()
            fill(value, 0.1 if ".first." in name else -0.2 if "lora_A" in name else 0.3)
    return model


def adapter_several(lab: Lab) -> None:
    """Switching between two adapters, and none; each must give what its weights give when merged."""
    tokenizer = lab.load_tokenizer()
    untouched = logits(lab.load(), tokenizer)
    model = _two_adapters(lab)
    for name in ("first", "second"):
        model.set_adapter(name)
        lab.add_number(f"{name}_trained_names", trained_names(model))
        alone = copy.deepcopy(model).merge_and_unload(adapter_names=[name])
        lab.add_number(f"{name}_difference", difference(logits(alone, tokenizer), logits(model, tokenizer)))
    second = logits(model, tokenizer)
    with model.disable_adapter():
        lab.add_number("disabled_difference", difference(untouched, logits(model, tokenizer)))
    lab.add_number("enabled_again_difference", difference(second, logits(model, tokenizer)))
    model.set_adapter("first")
    first = logits(model, tokenizer)
    pairs = itertools.combinations((untouched, first, second), 2)
    lab.add_number("all_differ", all(difference(*pair) > 0 for pair in pairs))
    model.delete_adapter("second")
    lab.add_number("left_difference", difference(first, logits(model, tokenizer)))
    lab.add_number("left", sorted(model.peft_config))


def adapter_weighted(lab: Lab) -> None:
    """Weighted merges of two adapters; two of the methods must give the exact weighted sum."""
    import torch

    model = _two_adapters(lab)
    deltas = {name: _delta(model, name) for name in ("first", "second")}
    exact = WEIGHTS[0] * deltas["first"] + WEIGHTS[1] * deltas["second"]
    for method in ("linear", "cat", "svd", "ties", "magnitude_prune", "dare_linear", "dare_ties"):
        options: dict[str, Any] = {"svd_rank": 8} if method == "svd" else {}
        options |= {"density": 0.5} if method not in ("linear", "cat", "svd") else {}
        torch.manual_seed(SEED)
        try:
            model.add_weighted_adapter(
                ["first", "second"], list(WEIGHTS), method, combination_type=method, **options
            )
        except Exception as error:
            lab.add_number(f"{method}.error", type(error).__name__)
            continue
        merged = _delta(model, method)
        lab.add_number(f"{method}_abs_sum", float(merged.abs().sum()))
        if method in ("cat", "svd"):
            lab.add_number(f"{method}_difference", difference(exact, merged))


def _delta(model: Any, adapter: str) -> Any:
    """What ``adapter`` adds to the first layer's query projection."""
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    return layer.get_delta_weight(adapter).detach().clone()


def adapter_prepared(lab: Lab) -> None:
    """``prepare_model_for_kbit_training`` on a bfloat16 model: without bits, and as if it had 8."""
    import torch
    from peft import prepare_model_for_kbit_training

    base = lab.load().to(torch.bfloat16)
    token = torch.tensor([[1]])
    for name in ("without_bits", "as_if_8_bits"):
        model = copy.deepcopy(base)
        model.is_loaded_in_8bit = name == "as_if_8_bits"
        model = prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=True,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
        lab.add_number(f"{name}.dtypes", sorted({str(value.dtype) for value in model.parameters()}))
        lab.add_number(f"{name}.trained", sum(value.requires_grad for value in model.parameters()))
        lab.add_number(f"{name}.inputs_require_grad", model.get_input_embeddings()(token).requires_grad)
        lab.add_number(f"{name}.gradient_checkpointing", bool(model.is_gradient_checkpointing))


ALL: Final = (
    adapter_dora,
    adapter_rslora,
    adapter_pissa,
    adapter_loha,
    adapter_lokr,
    adapter_ia3,
    adapter_prompt,
    adapter_adalora,
    adapter_oft,
    adapter_vera,
    adapter_saved_modules,
    adapter_saved_embeddings,
    adapter_several,
    adapter_weighted,
    adapter_prepared,
)
