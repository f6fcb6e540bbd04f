"""Configurations: what each command reads from its YAML file, with defaults and checks.

A dataclass a section; the field names are the keys. ``load`` names the file, the key, what is wrong and
the nearest valid key.
"""

from __future__ import annotations

import dataclasses
import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import yaml

from tunematrix.pipeline.errors import ConfigError, nearest

Device = Literal["cpu", "cuda", "mps", "auto"]
Dtype = Literal["float32", "bfloat16", "float16"]
Format = Literal["json", "jsonl", "csv", "parquet"]
Method = Literal["lora", "dora", "rslora", "full"]
Reference = Literal["stack", "base", "start"]
SECRET: Final = re.compile(r"token|secret|password", re.IGNORECASE)


def number(default: Any, *, least: float) -> Any:
    """A field with a lower bound; ``least`` 0 with an exclusive bound is written as a tiny number."""
    return field(default=default, metadata={"least": least})


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A repository to download; ``files`` are names or glob patterns, all files without it."""

    repo: str
    output_dir: Path
    revision: str = "main"
    files: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    models: tuple[Wanted, ...]
    huggingface: Login = Login()
    retries: int = number(5, least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model folder or, for ``align`` and ``generate``, also a LoRA adapter's."""

    path: Path
    dtype: Dtype = "float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A prompt to answer greedily after training; written to ``sample.json`` in ``output_dir``."""

    prompt: str
    max_new_tokens: int = number(16, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lora:
    rank: int = number(8, least=1)
    alpha: int = number(16, least=1)
    dropout: float = number(0.0, least=0)
    targets: str | tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The training options that fine-tuning and alignment share."""

    output_dir: Path
    max_steps: int = number(-1, least=-1)
    epochs: float = number(1.0, least=1e-9)
    batch_size: int = number(1, least=1)
    gradient_accumulation_steps: int = number(1, least=1)
    gradient_checkpointing: bool = False
    learning_rate: float = number(2e-4, least=0)
    scheduler: str = "linear"
    warmup_steps: int = number(0, least=0)
    weight_decay: float = number(0.0, least=0)
    max_grad_norm: float = number(1.0, least=0)
    optimizer: str = "adamw_torch"
    seed: int = number(42, least=0)
    save_steps: int = number(1, least=1)
    logging_steps: int = number(1, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Training(Schedule):
    method: Method = "lora"
    max_seq_length: int = number(1024, least=1)
    packing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Alignment(Schedule):
    method: Literal["dpo"] = "dpo"
    learning_rate: float = number(5e-6, least=0)
    beta: float = number(0.1, least=0)
    loss_type: str = "sigmoid"
    reference: Reference = "stack"
    max_length: int = number(1024, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """Training data of one of three kinds, by the field that is named."""

    path: Path
    format: Format = "json"
    text_field: str | None = None
    messages_field: str | None = None
    prompt_field: str | None = None
    completion_field: str | None = None
    eval_split: float = number(0.0, least=0)

    def columns(self) -> dict[str, str]:
        """The file's column for each standard column name of trl."""
        pairs = {
            "text": self.text_field,
            "messages": self.messages_field,
            "prompt": self.prompt_field,
            "completion": self.completion_field,
        }
        return {standard: name for standard, name in pairs.items() if name}


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """Preference pairs: a prompt, the better and the worse answer."""

    path: Path
    format: Format = "json"
    prompt_field: str = "prompt"
    chosen_field: str = "chosen"
    rejected_field: str = "rejected"
    eval_split: float = number(0.0, least=0)

    def columns(self) -> dict[str, str]:
        return {"prompt": self.prompt_field, "chosen": self.chosen_field, "rejected": self.rejected_field}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finetune:
    model: Model
    dataset: Texts
    training: Training
    lora: Lora = Lora()
    sample: Sample | None = None
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Align:
    model: Model
    dataset: Preferences
    alignment: Alignment
    lora: Lora = Lora()
    sample: Sample | None = None
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Generate:
    model: Model
    sample: Sample
    output_dir: Path
    device: Device = "auto"


Config = TypeVar("Config", Download, Finetune, Align, Generate)


def load(kind: type[Config], path: Path) -> Config:
    """Read a ``kind`` configuration; raises ``ConfigError`` for everything that is wrong with it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; name a YAML file with --config"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    return parse(kind, content, str(path))


def parse(kind: type[Config], content: object, name: str) -> Config:
    """Check ``content`` and make it a ``kind``; ``name`` is the file's, for messages."""
    config: Config = _section(kind, _expand(content, name, ""), name, "")
    _check_together(config, name)
    return config


def _expand(value: Any, name: str, key: str) -> Any:
    """Replace ``${VAR}`` by the environment's value; an empty login is the same as none."""
    if isinstance(value, Mapping):
        return {at: _expand(below, name, f"{key}.{at}".lstrip(".")) for at, below in value.items()}
    if isinstance(value, list):
        return [_expand(below, name, f"{key}[{at}]") for at, below in enumerate(value)]
    if not isinstance(value, str):
        return value
    optional = bool(SECRET.search(key))

    def replace(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None and not optional:
            raise ConfigError(f"{name}: {key}: ${{{match[1]}}} is not set; export {match[1]}=... first")
        return found or ""

    expanded = re.sub(r"\$\{(\w+)\}", replace, value)
    return (expanded or None) if optional else expanded


def _section(kind: type[Any], content: Any, name: str, where: str) -> Any:
    if not isinstance(content, Mapping):
        wanted = ", ".join(item.name for item in dataclasses.fields(kind))
        raise ConfigError(f"{name}: {where or 'the file'} must be a mapping with the keys {wanted}")
    hints = typing.get_type_hints(kind)
    known = {item.name: item for item in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        full = f"{where}.{key}".lstrip(".")
        if key not in known:
            raise ConfigError(f"{name}: {full}: unknown key{nearest(str(key), known)}")
        values[key] = _value(hints[key], value, name, full)
        least = known[key].metadata.get("least")
        if least is not None and values[key] < least:
            raise ConfigError(f"{name}: {full}: {value} is too small; the least is {least:g}")
    for item in known.values():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and item.name not in values:
            raise ConfigError(f"{name}: {f'{where}.{item.name}'.lstrip('.')}: missing; it has no default")
    return kind(**values)


def _value(hint: Any, value: Any, name: str, key: str) -> Any:
    """Check one value against its annotation; the few kinds of annotation used above are all it knows."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        options = [option for option in get_args(hint) if option is not type(None)]
        if value is None and len(options) < len(get_args(hint)):
            return None
        as_list = [option for option in options if get_origin(option) is tuple]
        return _value(as_list[0] if as_list and isinstance(value, list) else options[0], value, name, key)
    if get_origin(hint) is Literal:
        return _choice(get_args(hint), value, name, key)
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise ConfigError(f"{name}: {key}: must be a list with at least one entry")
        return tuple(_value(get_args(hint)[0], item, name, f"{key}[{at}]") for at, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return _section(typing.cast("type[Any]", hint), value, name, key)
    return _scalar(hint, value, name, key)


def _choice(options: tuple[Any, ...], value: Any, name: str, key: str) -> Any:
    if value in options:
        return value
    raise ConfigError(f"{name}: {key}: {value!r} is not known{nearest(str(value), map(str, options))}")


def _scalar(kind: type[Any], value: Any, name: str, key: str) -> Any:
    if kind is float and isinstance(value, str):
        value = _float(value)  # YAML 1.1 reads 2e-4 as a string
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, (int, float)) and not isinstance(value, bool),
        str: isinstance(value, str),
        Path: isinstance(value, str) and bool(value),
    }
    if not fits[kind]:
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
        shown = "..." if SECRET.search(key) else repr(value)
        raise ConfigError(f"{name}: {key}: {shown} is not {names[kind]}")
    return Path(value).expanduser() if kind is Path else kind(value)


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _check_together(config: Any, name: str) -> None:
    """The rules that span several keys."""
    if isinstance(config, Finetune):
        kinds = {frozenset({"text"}), frozenset({"messages"}), frozenset({"prompt", "completion"})}
        if frozenset(config.dataset.columns()) not in kinds:
            raise ConfigError(
                f"{name}: dataset: give text_field, or messages_field, or prompt_field and completion_field"
            )
    if isinstance(config, (Finetune, Align)) and config.dataset.eval_split >= 1:
        raise ConfigError(f"{name}: dataset.eval_split: a share of the data, from 0 up to but not 1")
    if isinstance(config, (Finetune, Align)) and config.lora.dropout >= 1:
        raise ConfigError(f"{name}: lora.dropout: a probability, from 0 up to but not 1")
    if isinstance(config, (Finetune, Align)) and not config.dataset.path.is_file():
        raise ConfigError(f"{name}: dataset.path: no such file: {config.dataset.path}")
    if isinstance(config, (Finetune, Align, Generate)) and not config.model.path.is_dir():
        raise ConfigError(
            f"{name}: model.path: no such folder: {config.model.path}; "
            "get the model with 'python -m tunematrix.pipeline download' first"
        )
