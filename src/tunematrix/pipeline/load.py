"""Reading configurations: every mistake is told with the file, the key, and the nearest valid key."""

from __future__ import annotations

import dataclasses
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import yaml

from tunematrix.pipeline.config import Align, Download, Finetune, Generate
from tunematrix.pipeline.errors import ConfigError, nearest

SECRET: Final = re.compile(r"token|secret|password", re.IGNORECASE)
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
