"""The only place that looks at a version or a signature of the stack.

The pipeline is written against the newest release. Where an older one spells an argument differently,
wants it elsewhere or lacks it, the call is adapted here and every adaptation is announced: to a user
who goes from such a release to the newest one, each is an edit to make.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from tunematrix.pipeline.trace import Trace

# Older spellings, newest first, of arguments by their newest name.
SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "max_length": ("max_seq_length",),
    "processing_class": ("tokenizer",),
    "eval_strategy": ("evaluation_strategy",),
    "use_cpu": ("no_cuda",),
    "dtype": ("torch_dtype",),
}


def stack_version(package: str) -> tuple[int, ...]:
    """The release numbers of an installed package: ``(4, 46, 3)``."""
    return tuple(int(part) for part in version(package).split("+")[0].split(".")[:3] if part.isdigit())


def spell(names: frozenset[str], argument: str) -> str | None:
    """The spelling of ``argument`` among ``names``, or None where there is none."""
    return next((name for name in (argument, *SPELLINGS.get(argument, ())) if name in names), None)


def accepted(call: Callable[..., Any]) -> frozenset[str]:
    """The names that may be passed to ``call``; a dataclass's are its fields."""
    if dataclasses.is_dataclass(call):
        return frozenset(item.name for item in dataclasses.fields(call) if item.init)
    names = set()
    for owner in inspect.getmro(call) if inspect.isclass(call) else (call,):
        function = owner.__init__ if inspect.isclass(owner) else owner
        parameters = inspect.signature(function).parameters.values()
        names |= {item.name for item in parameters if item.kind is not item.VAR_KEYWORD}
        if not any(item.kind is item.VAR_KEYWORD for item in parameters):
            break  # only **kwargs hands anything on to the next class
    return frozenset(names)


def fit(call: Callable[..., Any], label: str, wanted: Mapping[str, Any], traced: Trace) -> dict[str, Any]:
    """``wanted`` as ``call`` spells it; what it lacks is left out. Both are announced."""
    names = accepted(call)
    fitted = {}
    for argument, value in wanted.items():
        spelling = spell(names, argument)
        if spelling != argument:
            traced.call_site(label, argument, spelling or "")
        if spelling:
            fitted[spelling] = value
    return fitted


def build_trainer(kind: str, options: Mapping[str, Any], parts: Mapping[str, Any], traced: Trace) -> Any:
    """A trl trainer, ``kind`` being ``SFT`` or ``DPO``, from its options and its parts.

    Up to trl 0.8 there was no config class of its own and up to 0.12 several options were arguments of
    the trainer; what the config lacks is offered to the trainer before it is dropped.
    """
    import trl

    trainer = getattr(trl, f"{kind}Trainer")
    label, config_label = f"trl.{kind}Trainer", f"trl.{kind}Config"
    if hasattr(trl, f"{kind}Config"):
        config = getattr(trl, f"{kind}Config")
    else:
        from transformers import TrainingArguments

        traced.call_site(label, config_label, "transformers.TrainingArguments")
        config, config_label = TrainingArguments, "transformers.TrainingArguments"
    known, taken = accepted(config), accepted(trainer)
    moved = {}
    for name, value in options.items():
        spelling = spell(taken, name)
        if not spell(known, name) and spelling:
            traced.call_site(config_label, name, f"{label}({spelling}=)")
            moved[spelling] = value
    kept = {name: value for name, value in options.items() if spell(known, name) or not spell(taken, name)}
    args = config(**fit(config, config_label, kept, traced))
    return trainer(args=args, **moved, **fit(trainer, label, parts, traced))


def load_model(path: str, dtype: Any, traced: Trace) -> Any:
    """``AutoModelForCausalLM.from_pretrained`` with a dtype: ``torch_dtype=`` before transformers 4.56.

    Both hide behind ``**kwargs``, so only the version can tell.
    """
    from transformers import AutoModelForCausalLM

    name = "dtype" if stack_version("transformers") >= (4, 56) else "torch_dtype"
    if name != "dtype":
        traced.call_site("transformers.AutoModelForCausalLM.from_pretrained", "dtype", name)
    return AutoModelForCausalLM.from_pretrained(path, **{name: dtype})
