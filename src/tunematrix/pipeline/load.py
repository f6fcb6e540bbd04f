"""Reading configurations; every error names the file, the key and the closest valid key."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

from tunematrix.pipeline.combinations import check_combinations
from tunematrix.pipeline.config import AlignConfig, DownloadConfig, FinetuneConfig, GenerateConfig
from tunematrix.pipeline.errors import ConfigError
from tunematrix.shared import secrets
from tunematrix.shared.reading import UnreadableError, expand_path, parse_yaml, read_text
from tunematrix.shared.suggest import did_you_mean

TOKEN: Final = "huggingface.token"  # noqa: S105  # the only key with a secret
VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
MAX_SHOWN: Final = 80  # characters of a value in a message
TYPE_NAMES: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
Config = TypeVar("Config", DownloadConfig, FinetuneConfig, AlignConfig, GenerateConfig)


def load(config_class: type[Config], path: Path) -> Config:
    """Read ``path`` as a ``config_class``; raises ``ConfigError`` for everything that is wrong with it."""
    try:
        content = parse_yaml(read_text(path), path, allow_nan=True)  # the error for NaN names its key
    except UnreadableError as error:
        raise ConfigError(str(error)) from None
    secrets.add_values(content)
    return parse(config_class, content, str(path))


def parse(config_class: type[Config], content: object, file: str) -> Config:
    """Check ``content`` and convert it to a ``config_class``; messages name ``file``."""
    config: Config = _parse_section(config_class, _expand_variables(content, file, ""), file, "")
    check_combinations(config, file)
    return config


def _expand_variables(value: Any, file: str, key: str) -> Any:
    """Replace ``${VAR}`` by the environment's value."""
    if isinstance(value, Mapping):
        return {name: _expand_variables(item, file, _join(key, name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_expand_variables(item, file, f"{key}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if key == TOKEN:
        return _token(VARIABLE.sub(lambda match: os.environ.get(match[1], ""), value), file)
    return VARIABLE.sub(lambda match: _variable(match[1], file, key), value)


def _token(text: str, file: str) -> str | None:
    """The token, which is masked from now on; None if it is empty, as with an unset variable."""
    secrets.add(text)
    try:
        return secrets.clean_token(text) or None
    except ValueError as error:
        raise ConfigError(f"{file}: {TOKEN}: {error}") from None


def _variable(name: str, file: str, key: str) -> str:
    if secrets.is_secret_name(name):
        raise ConfigError(f"{file}: {key}: ${{{name}}} holds a secret, which may only stand in {TOKEN}")
    if (value := os.environ.get(name)) is None:
        raise ConfigError(f"{file}: {key}: ${{{name}}} is not set; export {name}=... first")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{file}: {key}: ${{{name}}} is not UTF-8") from None
    return value


def _join(section: str, name: object) -> str:
    """The full name of a key, as it is shown."""
    text = str(name)[:MAX_SHOWN]
    return f"{section}.{text if text.isprintable() else repr(text)}".lstrip(".")


def _parse_section(section_class: type[Any], content: Any, file: str, section: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(section_class)}
    if not isinstance(content, Mapping):
        keys = ", ".join(fields)
        raise ConfigError(f"{file}: {section or 'the file'} must be a mapping with the keys {keys}")
    hints = typing.get_type_hints(section_class)
    values: dict[str, Any] = {}
    for name, value in content.items():
        key = _join(section, name)
        if name not in fields:
            raise ConfigError(f"{file}: {key}: unknown key{did_you_mean(str(name), fields)}")
        values[name] = _parse_value(hints[name], value, file, key)
        if fields[name].metadata:
            _check_bounds(values[name], fields[name].metadata, file, key)
    for field in fields.values():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in values:
            raise ConfigError(f"{file}: {_join(section, field.name)}: missing; it has no default")
    return section_class(**values)


def _check_bounds(value: Any, bounds: Mapping[str, Any], file: str, key: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{file}: {key}: {value} is not a finite number")
    if value < bounds["minimum"]:
        raise ConfigError(f"{file}: {key}: {value} is too small; the minimum is {bounds['minimum']:g}")
    if value > bounds["maximum"]:
        raise ConfigError(f"{file}: {key}: {value} is too large; the maximum is {bounds['maximum']}")


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
    suggestion = did_you_mean(str(value), map(str, options))
    raise ConfigError(f"{file}: {key}: {_shown(value, key)} is not valid{suggestion}")


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
        raise ConfigError(f"{file}: {key}: {_shown(value, key)} is not {TYPE_NAMES[scalar_type]}")
    if scalar_type is not Path:
        return scalar_type(value)
    try:
        return expand_path(value)
    except UnreadableError as error:
        raise ConfigError(f"{file}: {key}: {error}") from None


def _shown(value: Any, key: str) -> str:
    """``value`` for a message: short, and never a token."""
    if key.startswith(TOKEN):
        return "the value"
    text = secrets.mask(repr(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _parse_float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
