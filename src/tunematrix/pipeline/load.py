"""Reading configurations; every error names the file, the key and the closest valid key."""

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

from tunematrix.pipeline.config import AlignConfig, DownloadConfig, FinetuneConfig, GenerateConfig
from tunematrix.pipeline.errors import ConfigError, did_you_mean

SECRET: Final = re.compile(r"token|secret|password", re.IGNORECASE)
Config = TypeVar("Config", DownloadConfig, FinetuneConfig, AlignConfig, GenerateConfig)


def load(config_class: type[Config], path: Path) -> Config:
    """Read ``path`` as a ``config_class``; raises ``ConfigError`` for everything that is wrong with it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; name a YAML file with --config"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    return parse(config_class, content, str(path))


def parse(config_class: type[Config], content: object, file: str) -> Config:
    """Check ``content`` and convert it to a ``config_class``; messages name ``file``."""
    config: Config = _parse_section(config_class, _expand_variables(content, file, ""), file, "")
    _check_combinations(config, file)
    return config


def _expand_variables(value: Any, file: str, key: str) -> Any:
    """Replace ``${VAR}`` by the environment's value; an unset or empty secret becomes None."""
    if isinstance(value, Mapping):
        return {
            name: _expand_variables(item, file, f"{key}.{name}".lstrip(".")) for name, item in value.items()
        }
    if isinstance(value, list):
        return [_expand_variables(item, file, f"{key}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    optional = bool(SECRET.search(key))

    def replace(match: re.Match[str]) -> str:
        variable = os.environ.get(match[1])
        if variable is None and not optional:
            raise ConfigError(f"{file}: {key}: ${{{match[1]}}} is not set; export {match[1]}=... first")
        return variable or ""

    expanded = re.sub(r"\$\{(\w+)\}", replace, value)
    return (expanded or None) if optional else expanded


def _parse_section(section_class: type[Any], content: Any, file: str, section: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(section_class)}
    if not isinstance(content, Mapping):
        keys = ", ".join(fields)
        raise ConfigError(f"{file}: {section or 'the file'} must be a mapping with the keys {keys}")
    hints = typing.get_type_hints(section_class)
    values: dict[str, Any] = {}
    for name, value in content.items():
        key = f"{section}.{name}".lstrip(".")
        if name not in fields:
            raise ConfigError(f"{file}: {key}: unknown key{did_you_mean(str(name), fields)}")
        values[name] = _parse_value(hints[name], value, file, key)
        minimum = fields[name].metadata.get("minimum")
        if minimum is not None and values[name] < minimum:
            raise ConfigError(f"{file}: {key}: {value} is too small; the minimum is {minimum:g}")
    for field in fields.values():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise ConfigError(f"{file}: {f'{section}.{field.name}'.lstrip('.')}: missing; it has no default")
    return section_class(**values)


def _parse_value(hint: Any, value: Any, file: str, key: str) -> Any:
    """Check one value against its annotation; supports only the annotations that ``config`` uses."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        options = [option for option in get_args(hint) if option is not type(None)]
        if value is None and len(options) < len(get_args(hint)):
            return None
        tuples = [option for option in options if get_origin(option) is tuple]
        return _parse_value(tuples[0] if tuples and isinstance(value, list) else options[0], value, file, key)
    if get_origin(hint) is Literal:
        return _parse_choice(get_args(hint), value, file, key)
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise ConfigError(f"{file}: {key}: must be a list with at least one entry")
        item_hint = get_args(hint)[0]
        return tuple(
            _parse_value(item_hint, item, file, f"{key}[{index}]") for index, item in enumerate(value)
        )
    if dataclasses.is_dataclass(hint):
        return _parse_section(typing.cast("type[Any]", hint), value, file, key)
    return _parse_scalar(hint, value, file, key)


def _parse_choice(options: tuple[Any, ...], value: Any, file: str, key: str) -> Any:
    if value in options:
        return value
    raise ConfigError(f"{file}: {key}: {value!r} is not valid{did_you_mean(str(value), map(str, options))}")


def _parse_scalar(scalar_type: type[Any], value: Any, file: str, key: str) -> Any:
    if scalar_type is float and isinstance(value, str):
        value = _parse_float(value)  # YAML 1.1 reads 2e-4 as a string
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, (int, float)) and not isinstance(value, bool),
        str: isinstance(value, str),
        Path: isinstance(value, str) and bool(value),
    }
    if not fits[scalar_type]:
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
        shown = "..." if SECRET.search(key) else repr(value)
        raise ConfigError(f"{file}: {key}: {shown} is not {names[scalar_type]}")
    return Path(value).expanduser() if scalar_type is Path else scalar_type(value)


def _parse_float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _check_combinations(config: Any, file: str) -> None:
    """Check the rules that involve several keys or the file system."""
    if isinstance(config, FinetuneConfig):
        forms = {frozenset({"text"}), frozenset({"messages"}), frozenset({"prompt", "completion"})}
        if frozenset(config.dataset.columns()) not in forms:
            raise ConfigError(
                f"{file}: dataset: set text_field, or messages_field, or prompt_field and completion_field"
            )
    if isinstance(config, (FinetuneConfig, AlignConfig)) and config.dataset.eval_split >= 1:
        raise ConfigError(f"{file}: dataset.eval_split: a share of the data, at least 0 and less than 1")
    if isinstance(config, (FinetuneConfig, AlignConfig)) and config.lora.dropout >= 1:
        raise ConfigError(f"{file}: lora.dropout: a probability, at least 0 and less than 1")
    if isinstance(config, (FinetuneConfig, AlignConfig)) and not config.dataset.path.is_file():
        raise ConfigError(f"{file}: dataset.path: no such file: {config.dataset.path}")
    if isinstance(config, (FinetuneConfig, AlignConfig, GenerateConfig)) and not config.model.path.is_dir():
        raise ConfigError(
            f"{file}: model.path: no such folder: {config.model.path}; "
            "get the model with 'python -m tunematrix.pipeline download' first"
        )
