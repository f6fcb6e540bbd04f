"""Which values of an option the sweep tries: read from the configuration class of the stack."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Container, Iterator
from enum import Enum
from typing import Any, Final, Literal

from tunematrix.harness.measures.sweep.values import NOT_TRIED, NOT_TRIED_PREFIXES, VALUES
from tunematrix.harness.surface import to_json

MAX_CHOICES: Final = 60
LISTS_CHOICES: Final = re.compile(r"(?i)possible|supported|allowed|available|one of|either|choose|options")
CHOICE_IN_HELP: Final = re.compile(r"""[`"']{1,2}([a-z][a-z0-9_.]*)[`"']{1,2}""")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """A field of a configuration class: the values to try, or the reason why there are none."""

    name: str
    values: tuple[Any, ...] = ()
    reason: str = ""


def options(config: Any, without: Container[str] = ()) -> Iterator[Option]:
    """The fields of ``config``, an instance with the values of the base run, but those named in ``without``.

    A field whose type or default cannot be read is one without values; it does not end the sweep.
    """
    hints = _hints(type(config))
    fields = dataclasses.fields(config)
    names = {field.name for field in fields}
    for field in fields:
        if not field.init or field.name.startswith("_") or field.name in without:
            continue
        try:
            option = _option(config, field, hints.get(field.name, field.type), names)
        except Exception as error:
            reason = f"its values cannot be read: {type(error).__name__}"
            option = Option(name=field.name, reason=reason)
        yield option


def _option(config: Any, field: dataclasses.Field[Any], hint: Any, names: Container[str]) -> Option:
    if reason := _reason(type(config).__name__, field.name):
        return Option(name=field.name, reason=reason)
    default = getattr(config, field.name, None)
    candidates = VALUES.get(field.name)
    if candidates is None:
        choices = field.metadata.get("choices")
        found = (
            choices
            if choices is not None
            else _candidates(hint, default, str(field.metadata.get("help", "")))
        )
        # What the help names may also be another option.
        candidates = tuple(value for value in found if not (isinstance(value, str) and value in names))
    others = [value for value in candidates if not _same(value, default) and not _same([value], default)]
    unknown = "" if others else "no other value is known for its type"
    return Option(name=field.name, values=tuple(others[:MAX_CHOICES]), reason=unknown)


def label(value: Any) -> str:
    """``value`` as a key of the record."""
    return str(to_json(value))


def _reason(class_name: str, name: str) -> str:
    prefixes = (reason for prefix, reason in NOT_TRIED_PREFIXES.items() if name.startswith(prefix))
    return NOT_TRIED.get(name) or NOT_TRIED.get(f"{class_name}.{name}") or next(prefixes, "")


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # a name that only a type checker imports; the annotations themselves have to do
        return {}


def _candidates(hint: Any, default: Any, help_text: str) -> Iterator[Any]:
    """Alternatives by type: literals, members, both truths, twice the number, choices that the help lists."""
    kinds = list(_kinds(hint, default))
    for kind in kinds:
        if typing.get_origin(kind) is Literal:
            yield from typing.get_args(kind)
        elif isinstance(kind, type) and issubclass(kind, Enum):
            yield from (member.value for member in kind)
    if bool in kinds:
        yield from (True, False)
    elif int in kinds or float in kinds:
        yield _other_number(default, whole=float not in kinds)
    elif kinds and all(kind in (str, list[str]) for kind in kinds) and LISTS_CHOICES.search(help_text):
        yield from dict.fromkeys(CHOICE_IN_HELP.findall(help_text))


def _kinds(hint: Any, default: Any) -> Iterator[Any]:
    """The types that ``hint`` allows, without None; that of the default value if there is no hint."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _kinds(part, None)
    elif isinstance(hint, str) or hint is None:
        if default is not None:
            yield type(default)
    elif hint is not type(None):
        yield hint


def _other_number(default: Any, *, whole: bool) -> float:
    if not isinstance(default, (int, float)) or default <= 0:
        return 2 if whole else 0.5
    return default * 2


def _same(value: Any, default: Any) -> bool:
    return bool(to_json(value) == to_json(default)) and isinstance(value, bool) == isinstance(default, bool)
