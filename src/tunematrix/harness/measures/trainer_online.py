"""Measures of the trainers that generate what they learn from: GRPO and RLOO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.lab import SEED, Lab, clones
from tunematrix.harness.measures.preferences import PAIRS
from tunematrix.harness.measures.trainer_lab import (
    STEPS,
    Found,
    add_moves,
    add_step,
    build,
    classifier,
    dataset,
    find_trainer,
    frozen_embeddings,
    perturbed,
    with_adapter,
)
from tunematrix.pipeline import compat

GENERATIONS: Final = 2  # completions of each prompt
NEW_TOKENS: Final = 8
# Two steps on the same completions: in the first, the loss itself is zero whatever the gradient.
ONLINE: Final[Mapping[str, Any]] = {
    **STEPS,
    "num_iterations": 2,
    "per_device_train_batch_size": 2 * GENERATIONS,
    "num_generations": GENERATIONS,
    "max_completion_length": NEW_TOKENS,
    "max_prompt_length": 32,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "repetition_penalty": 1.0,
    "epsilon": 0.2,
    "beta": 0.1,
    "disable_dropout": False,
    "mask_truncated_completions": False,
    "use_vllm": False,
    "shuffle_dataset": False,
}
GRPO: Final[Mapping[str, Any]] = {
    "learning_rate": 0.5,  # else the second step hardly differs from the first
    "loss_type": "grpo",
    "scale_rewards": True,
    "importance_sampling_level": "token",
    "use_bias_correction_kl": False,
}
RLOO: Final[Mapping[str, Any]] = {"normalize_advantages": False}
# RLOO up to trl 0.21. The early ones step a linear schedule to its end before the only step of training.
ONLINE_BEFORE: Final[Mapping[str, Any]] = {
    **STEPS,
    "total_episodes": 2 * GENERATIONS,
    "per_device_train_batch_size": 2 * GENERATIONS,
    "num_mini_batches": 1,
    "num_ppo_epochs": 2,
    "rloo_k": GENERATIONS,
    "response_length": NEW_TOKENS,
    "local_rollout_forward_batch_size": 2 * GENERATIONS,
    "num_sample_generations": 0,
    "temperature": 1.0,
    "kl_coef": 0.1,
    "cliprange": 0.2,
    "normalize_reward": False,
    "normalize_advantage": False,
    "token_level_kl": False,
    "whiten_rewards": False,
}


@dataclass(kw_only=True, slots=True)
class Rollouts:
    """What was generated, and what the reward function was asked about and returned."""

    generated: list[Any] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    completions: list[str] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    calls: int = 0

    def watch(self, model: Any) -> None:
        """Seed each generation, so that it does not depend on what was drawn before; keep its new tokens."""
        import torch

        original: Callable[..., Any] = model.generate

        def generate(*args: Any, **kwargs: Any) -> Any:
            torch.manual_seed(SEED)
            result = original(*args, **kwargs)
            self.generated.extend(getattr(result, "sequences", result)[:, -NEW_TOKENS:])
            return result

        model.generate = generate

    def reward(self, prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        """Reward long completions; keep the first call."""
        rewards = [len(text) / 10 for text in completions]
        self.calls += 1
        if self.calls == 1:
            self.prompts, self.completions, self.rewards = list(prompts), list(completions), rewards
        return rewards


def make_online(lab: Lab, found: Found, options: Mapping[str, Any], rollouts: Rollouts) -> Any:
    """A trainer for two steps on the same completions; raises ``Unavailable`` for RLOO up to trl 0.21."""
    if not takes_reward_functions(found):
        raise Unavailable(f"{found.trainer.__name__} takes no reward function")
    model = with_adapter(lab.load())
    rollouts.watch(model.get_base_model())
    rows = [{"prompt": pair["prompt"]} for pair in PAIRS]
    options = {**ONLINE, **options}
    return build(lab, found, options, model=model, reward_funcs=rollouts.reward, rows=rows)


def takes_reward_functions(found: Found) -> bool:
    return "reward_funcs" in compat.accepted_arguments(found.trainer)


def _online(lab: Lab, algorithm: str, options: Mapping[str, Any]) -> None:
    """In the first step, the loss itself is zero whatever the gradient."""
    found = find_trainer(algorithm)
    lab.add_number("module", found.module)
    if not takes_reward_functions(found):
        _online_before(lab, found)
        return
    rollouts = Rollouts()
    trainer = make_online(lab, found, options, rollouts)
    entry = add_step(lab, trainer)
    decoded = [lab.load_tokenizer().decode(ids, skip_special_tokens=True) for ids in rollouts.generated]
    lab.add_number("completions", rollouts.completions)
    lab.add_number(
        "rewarded_equal", bool(decoded) and decoded[: len(rollouts.prompts)] == rollouts.completions
    )
    lab.add_number("count_equal", set(Counter(rollouts.prompts).values()) == {GENERATIONS})
    lab.add_number("generated_times", rollouts.calls)
    mean = sum(rollouts.rewards) / max(len(rollouts.rewards), 1)
    # Not "reward", from which RLOO subtracts what the model moved away from its reference.
    logged = next(entry[name] for name in ("rewards/reward/mean", "rewards/reward") if name in entry)
    lab.add_number("logged_reward_equal", abs(logged - mean) < 1e-5)


def trainer_grpo(lab: Lab) -> None:
    _online(lab, "GRPO", GRPO)


def trainer_rloo(lab: Lab) -> None:
    _online(lab, "RLOO", RLOO)


def _online_before(lab: Lab, found: Found) -> None:
    """RLOO up to trl 0.21: with a reward model, and a training loop of its own."""
    rollouts, reference, scored = Rollouts(), frozen_embeddings(lab), []
    policy, reward_model = perturbed(reference), classifier(lab, 1)
    rollouts.watch(policy)
    reward_model.model.register_forward_pre_hook(
        lambda _module, _args, inputs: scored.extend(inputs["input_ids"][:, -NEW_TOKENS:].tolist()),
        with_kwargs=True,
    )
    tokenizer = lab.load_tokenizer()
    rows = [{"input_ids": tokenizer(pair["prompt"])["input_ids"]} for pair in PAIRS]
    models = {"policy": policy, "ref_policy": reference, "reward_model": reward_model}
    trainer = build(lab, found, ONLINE_BEFORE, **models, rows=rows, eval_dataset=dataset(rows))
    start = clones(policy.named_parameters())
    trainer.train()
    entry = next(entry for entry in trainer.state.log_history if "loss/policy_avg" in entry)
    lab.add_number("loss", entry["loss/policy_avg"])
    lab.add_number("grad_norm.unavailable", "the trainer logs none")
    lab.add_number("log_keys", sorted(entry))
    add_moves(lab, policy, start, {name for name, value in policy.named_parameters() if value.requires_grad})
    lab.add_number("completions", [tokenizer.decode(ids) for ids in scored])
    padding = tokenizer.pad_token_id  # written as 0 for the reward model
    generated = [ids.masked_fill(ids == padding, 0).tolist() for ids in rollouts.generated]
    lab.add_number("rewarded_equal", bool(scored) and scored == generated)
    lab.add_number("count_equal", len(scored) == GENERATIONS * len(rows))


ALL: Final = (trainer_grpo, trainer_rloo)
