"""The only place that looks at a version or a signature of the stack.

The pipeline is written against the newest release. Where an older release names an argument differently,
expects it elsewhere or does not accept it, the call is adapted here and every adaptation is recorded: each
is an edit that a user has to make when moving from that release to the newest one.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

from tunematrix.pipeline.trace import Trace

# Older names of arguments, newest first, by their newest name.
OLDER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "max_length": ("max_seq_length",),
    "processing_class": ("tokenizer",),
    "eval_strategy": ("evaluation_strategy",),
    "use_cpu": ("no_cuda",),
    "dtype": ("torch_dtype",),
}


def package_version(package: str) -> tuple[int, ...]:
    """The release numbers of an installed package: ``(4, 46, 3)``."""
    return tuple(int(part) for part in version(package).split("+")[0].split(".")[:3] if part.isdigit())


def matching_name(accepted: frozenset[str], argument: str) -> str | None:
    """The name of ``argument`` among the ``accepted`` ones, an older name included, or None."""
    return next((name for name in (argument, *OLDER_NAMES.get(argument, ())) if name in accepted), None)


def accepted_arguments(call: Callable[..., Any]) -> frozenset[str]:
    """The names that may be passed to ``call``; for a dataclass, its fields.

    trl declared trainers that only pass everything on to be dataclasses; those have no fields.
    """
    if dataclasses.is_dataclass(call) and (fields := dataclasses.fields(call)):
        return frozenset(field.name for field in fields if field.init)
    names = set()
    for owner in inspect.getmro(call) if inspect.isclass(call) else (call,):
        function = owner.__init__ if inspect.isclass(owner) else owner
        parameters = inspect.signature(function).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break  # only **kwargs passes anything on to the next class
    return frozenset(names)


def adapt_arguments(
    call: Callable[..., Any], call_name: str, arguments: Mapping[str, Any], trace: Trace
) -> dict[str, Any]:
    """``arguments`` under the names that ``call`` accepts, without those it rejects; records both changes."""
    accepted = accepted_arguments(call)
    adapted = {}
    for argument, value in arguments.items():
        name = matching_name(accepted, argument)
        if name != argument:
            trace.add_call_site(call_name, argument, name or "")
        if name:
            adapted[name] = value
    return adapted


def build_trainer(
    algorithm: str, options: Mapping[str, Any], arguments: Mapping[str, Any], trace: Trace
) -> Any:
    """Build a trl trainer; ``algorithm`` is ``SFT`` or ``DPO``, ``options`` go to its config.

    Up to trl 0.8 the trainers had no config class, and up to 0.12 several options were arguments of the
    trainer. So an option that the config rejects goes to the trainer if that accepts it.
    """
    import trl

    trainer = getattr(trl, f"{algorithm}Trainer")
    trainer_name, config_name = f"trl.{algorithm}Trainer", f"trl.{algorithm}Config"
    if hasattr(trl, f"{algorithm}Config"):
        config = getattr(trl, f"{algorithm}Config")
    else:
        from transformers import TrainingArguments

        trace.add_call_site(trainer_name, config_name, "transformers.TrainingArguments")
        config, config_name = TrainingArguments, "transformers.TrainingArguments"
    config_accepts, trainer_accepts = accepted_arguments(config), accepted_arguments(trainer)
    config_options, trainer_options = {}, {}
    for option, value in options.items():
        trainer_argument = matching_name(trainer_accepts, option)
        if matching_name(config_accepts, option) or not trainer_argument:
            config_options[option] = value
        else:
            trace.add_call_site(config_name, option, f"{trainer_name}({trainer_argument}=)")
            trainer_options[trainer_argument] = value
    args = config(**adapt_arguments(config, config_name, config_options, trace))
    return trainer(args=args, **trainer_options, **adapt_arguments(trainer, trainer_name, arguments, trace))


def load_model(path: str, dtype: Any, trace: Trace, auto: str = "AutoModelForCausalLM") -> Any:
    """``from_pretrained`` of an Auto class with a dtype: ``torch_dtype=`` before transformers 4.56.

    The signature shows only ``**kwargs``, so the version has to decide.
    """
    import transformers

    name = "dtype" if package_version("transformers") >= (4, 56) else "torch_dtype"
    if name != "dtype":
        trace.add_call_site(f"transformers.{auto}.from_pretrained", "dtype", name)
    return getattr(transformers, auto).from_pretrained(path, **{name: dtype})
