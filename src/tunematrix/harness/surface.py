"""The surface of the stack: effective defaults, parameter names, public names, renamed arguments."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final

# Configuration classes, each with the arguments that it is constructed with here.
CONFIGS: Final = {
    "trl.SFTConfig": ("output_dir", "use_cpu"),
    "trl.DPOConfig": ("output_dir", "use_cpu"),
    "transformers.TrainingArguments": ("output_dir", "use_cpu"),
    "peft.LoraConfig": (),
    "transformers.GenerationConfig": (),
}
# Those of further trainers; one that cannot be constructed is left out.
FURTHER_CONFIGS: Final = ("trl.RewardConfig", "trl.KTOConfig", "trl.GRPOConfig", "trl.RLOOConfig")
# The functions and classes that fine-tuning code calls, apart from the configurations.
CALLS: Final = (
    "trl.SFTTrainer",
    "trl.DPOTrainer",
    "transformers.Trainer",
    "transformers.Trainer.train",
    "transformers.Trainer.evaluate",
    "transformers.Trainer.save_model",
    "transformers.PreTrainedModel.from_pretrained",
    "transformers.PreTrainedModel.save_pretrained",
    "transformers.GenerationMixin.generate",
    "transformers.AutoModelForCausalLM.from_pretrained",
    "transformers.AutoTokenizer.from_pretrained",
    "transformers.PreTrainedTokenizerBase.apply_chat_template",
    "transformers.PreTrainedTokenizerBase.save_pretrained",
    "transformers.DataCollatorForLanguageModeling",
    "transformers.DataCollatorForSeq2Seq",
    "transformers.DataCollatorWithPadding",
    "transformers.set_seed",
    "trl.DataCollatorForCompletionOnlyLM",
    "trl.setup_chat_format",
    "peft.get_peft_model",
    "peft.prepare_model_for_kbit_training",
    "peft.PeftModel",
    "peft.PeftModel.from_pretrained",
    "peft.LoraModel.merge_and_unload",
    "peft.PeftModel.save_pretrained",
    "peft.PeftModel.load_adapter",
    "accelerate.Accelerator",
    "datasets.load_dataset",
    "huggingface_hub.snapshot_download",
    "huggingface_hub.hf_hub_download",
)
# Prefixes of the names that fine-tuning code imports from transformers; with all models it exports thousands.
PREFIXES: Final = ("Auto", "BitsAndBytes", "DataCollator", "EarlyStopping", "Generation", "Train")
# Fields that differ by machine, by time, or in every release.
VOLATILE: Final = {"logging_dir", "run_name", "transformers_version", "peft_version", "output_dir"}


def defaults() -> dict[str, dict[str, Any]]:
    """Effective defaults by class name and, for dataclasses, declared ones by ``NAME (declared)``.

    They differ where ``__post_init__`` replaces the declared value, as for ``report_to``. Classes that this
    stack does not have are left out.
    """
    values = {"output_dir": "out", "use_cpu": True}
    defaults_by_class = {}
    for path, arguments in {**CONFIGS, **dict.fromkeys(FURTHER_CONFIGS, tuple(values))}.items():
        if (cls := resolve(path)) is None:
            continue
        name = path.rpartition(".")[2]
        try:
            config = cls(
                **{key: values[key] for key in arguments if key in inspect.signature(cls).parameters}
            )
        except Exception:
            if path in FURTHER_CONFIGS:
                continue
            raise
        if dataclasses.is_dataclass(cls):
            fields = [field for field in dataclasses.fields(cls) if _is_compared(field.name)]
            defaults_by_class[name] = {
                field.name: _stable(field.name, getattr(config, field.name, None)) for field in fields
            }
            defaults_by_class[f"{name} (declared)"] = {
                field.name: _stable(field.name, field.default)
                for field in fields
                if field.default is not dataclasses.MISSING
            }
        else:
            defaults_by_class[name] = {
                key: _stable(key, value) for key, value in sorted(vars(config).items()) if _is_compared(key)
            }
    return defaults_by_class


def _is_compared(field: str) -> bool:
    return not field.startswith("_")


def _stable(field: str, value: Any) -> Any:
    """``value`` in JSON types; of a volatile field only that it is there, for code that sets it."""
    return "<varies>" if field in VOLATILE else to_json(value)


def construct_bare(path: str) -> str:
    """The result of constructing a configuration with its ``output_dir`` alone.

    ``made``, the error's type, or ``not there`` if this stack does not have the class.
    """
    if (cls := resolve(path)) is None:
        return "not there"
    try:
        cls(output_dir="out")
    except Exception as error:
        return type(error).__name__
    return "made"


def signatures() -> dict[str, list[str]]:
    """Parameter names by callable, without ``*`` and ``**``; callables that this stack lacks are left out."""
    names_by_callable = {}
    for path in (*CONFIGS, *CALLS):
        if (target := resolve(path)) is not None:
            names_by_callable[path] = [name for name in _parameters(target) if name != "self"]
    return names_by_callable


def _parameters(target: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [parameter.name for parameter in parameters if parameter.kind not in variadic]


def renames() -> dict[str, dict[str, str]]:
    """Old and new names of arguments, by class or function, as far as the stack itself declares them.

    It does so in the help of a configuration's fields ("Deprecated. Use `max_length` instead") and with the
    decorator ``deprecate_kwarg`` of transformers.
    """
    renames_by_target = {}
    for path in (*CONFIGS, *CALLS):
        target = resolve(path)
        names = dict(_declared_renames(target)) if target is not None else {}
        if names:
            renames_by_target[path.rpartition(".")[2]] = names
    return renames_by_target


def _declared_renames(target: Any) -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(target):
        for field in dataclasses.fields(target):
            text = str(field.metadata.get("help", ""))
            if "deprecated" in text.lower() and (new := re.search(r"[Uu]se `(?:\w+\.)?(\w+)`", text)):
                yield field.name, new[1]
    function = target.__init__ if inspect.isclass(target) else target
    while function is not None:
        code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
        closure = dict(zip(code.co_freevars, cells, strict=True)) if code and cells else {}
        old, new = (
            closure[key].cell_contents if key in closure else None for key in ("old_name", "new_name")
        )
        if isinstance(old, str) and isinstance(new, str):
            yield old, new
        function = getattr(function, "__wrapped__", None)


def symbols() -> dict[str, list[str]]:
    """The public names of trl and peft, and those of transformers that fine-tuning code imports.

    Submodules are left out: whether one is listed depends on what was imported before.
    """
    names_by_package = {}
    for package in ("transformers", "peft", "trl"):
        if (module := import_or_none(package)) is None:
            continue
        folders = [Path(folder) for folder in getattr(module, "__path__", [])]
        names = getattr(module, "__all__", None) or dir(module)
        selected = (name for name in names if package != "transformers" or name.startswith(PREFIXES))
        names_by_package[package] = sorted(
            name for name in selected if not name.startswith("_") and not _is_module(name, folders)
        )
    return names_by_package


def _is_module(name: str, folders: list[Path]) -> bool:
    return any((folder / name).is_dir() or (folder / f"{name}.py").is_file() for folder in folders)


def resolve(path: str) -> Any:
    """The object at a dotted path, or None if the stack does not have it."""
    package, _, attributes = path.partition(".")
    target: Any = import_or_none(package)
    for name in attributes.split("."):
        try:
            target = getattr(target, name)
        except Exception:  # trl's lazy modules raise what their import raises
            return None
    return target


def import_or_none(package: str) -> Any:
    """The package, or None if its import fails, so that the other packages are still recorded."""
    try:
        return importlib.import_module(package)
    except Exception:
        return None


def to_json(value: Any) -> Any:
    """``value`` in JSON types, the same on every machine and in every run."""
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(to_json(item) for item in value)
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value if value == value else "nan"  # noqa: PLR0124  # only NaN differs from itself
    if isinstance(value, Path):
        return value.name
    return f"<{type(value).__name__}>"
