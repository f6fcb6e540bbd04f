"""What the stack offers and assumes: effective defaults, parameter names, public names."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final

# Classes whose fields people set; each is made with what cannot be left out, after ``__post_init__``.
CONFIGS: Final = {
    "trl.SFTConfig": ("output_dir", "use_cpu"),
    "trl.DPOConfig": ("output_dir", "use_cpu"),
    "transformers.TrainingArguments": ("output_dir", "use_cpu"),
    "peft.LoraConfig": (),
    "transformers.GenerationConfig": (),
}
# What fine-tuning code calls, beside the configurations.
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
# Of the names that transformers exports, thousands with the models, those that fine-tuning code imports.
IMPORTED: Final = ("Auto", "BitsAndBytes", "DataCollator", "EarlyStopping", "Generation", "Train")
# What differs by machine, by minute, or with every release by itself.
VOLATILE: Final = {"logging_dir", "run_name", "transformers_version", "peft_version", "output_dir"}


def defaults() -> dict[str, dict[str, Any]]:
    """Effective defaults by class name, and declared ones by ``NAME (declared)`` where there are such.

    ``__post_init__`` fills in what hides the declared value of some, such as ``report_to``. A class that
    this stack lacks is left out.
    """
    found = {}
    for path, given in CONFIGS.items():
        if (cls := resolve(path)) is None:
            continue
        name = path.rpartition(".")[2]
        values = {"output_dir": "out", "use_cpu": True}
        made = cls(**{key: values[key] for key in given if key in inspect.signature(cls).parameters})
        if dataclasses.is_dataclass(cls):
            fields = [item for item in dataclasses.fields(cls) if _kept(item.name)]
            found[name] = {item.name: plain(getattr(made, item.name, None)) for item in fields}
            found[f"{name} (declared)"] = {
                item.name: plain(item.default) for item in fields if item.default is not dataclasses.MISSING
            }
        else:
            found[name] = {key: plain(value) for key, value in sorted(vars(made).items()) if _kept(key)}
    return found


def _kept(name: str) -> bool:
    return not name.startswith("_") and name not in VOLATILE


def bare(path: str) -> str:
    """What comes of a configuration that is given its ``output_dir`` alone: ``made``, or the error's type."""
    if (cls := resolve(path)) is None:
        return "not there"
    try:
        cls(output_dir="out")
    except Exception as error:
        return type(error).__name__
    return "made"


def signatures() -> dict[str, list[str]]:
    """Parameter names by callable, ``*`` and ``**`` left out; what this stack lacks is left out."""
    found = {}
    for path in (*CONFIGS, *CALLS):
        if (target := resolve(path)) is not None:
            found[path] = [name for name in _parameters(target) if name != "self"]
    return found


def _parameters(target: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return []
    return [item.name for item in parameters if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)]


def renames() -> dict[str, dict[str, str]]:
    """Old and new names of arguments, by class or function, where the stack itself says so.

    It does in the help of a configuration's fields ("Deprecated. Use `max_length` instead") and in the
    decorator ``deprecate_kwarg`` of transformers.
    """
    found = {}
    for path in (*CONFIGS, *CALLS):
        target = resolve(path)
        names = dict(_stated_renames(target)) if target is not None else {}
        if names:
            found[path.rpartition(".")[2]] = names
    return found


def _stated_renames(target: Any) -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(target):
        for item in dataclasses.fields(target):
            text = str(item.metadata.get("help", ""))
            if "deprecated" in text.lower() and (new := re.search(r"[Uu]se `(?:\w+\.)?(\w+)`", text)):
                yield item.name, new[1]
    function = target.__init__ if inspect.isclass(target) else target
    while function is not None:
        names, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
        held = dict(zip(names.co_freevars, cells, strict=True)) if names and cells else {}
        old, new = (held[key].cell_contents if key in held else None for key in ("old_name", "new_name"))
        if isinstance(old, str) and isinstance(new, str):
            yield old, new
        function = getattr(function, "__wrapped__", None)


def symbols() -> dict[str, list[str]]:
    """The public names of trl and peft, and those of transformers that fine-tuning code imports."""
    found = {}
    for package in ("transformers", "peft", "trl"):
        if (module := imported(package)) is None:
            continue
        names = getattr(module, "__all__", None) or dir(module)
        kept = (name for name in names if package != "transformers" or name.startswith(IMPORTED))
        found[package] = sorted(name for name in kept if not name.startswith("_"))
    return found


def resolve(path: str) -> Any:
    """The object at a dotted path, or None where the stack has no such thing."""
    package, _, rest = path.partition(".")
    target: Any = imported(package)
    for name in rest.split("."):
        try:
            target = getattr(target, name)
        except Exception:  # trl's lazy modules raise what their import raises
            return None
    return target


def imported(package: str) -> Any:
    """The package, or None where its import fails: what the others offer still shows."""
    try:
        return importlib.import_module(package)
    except Exception:
        return None


def plain(value: Any) -> Any:
    """``value`` in JSON types, the same on every machine and run."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value if value == value else "nan"  # noqa: PLR0124  # NaN is unlike itself
    if isinstance(value, Path):
        return value.name
    return f"<{type(value).__name__}>"
