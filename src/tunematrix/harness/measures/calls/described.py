"""What a call returns, described without its values: types, keys, lengths, shapes and dtypes."""

from __future__ import annotations

import builtins
import contextlib
import io
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunematrix.harness.isolate import Unavailable
from tunematrix.harness.measures.lab import Lab

Calls = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True, slots=True)
class Exactly:
    """A short value that callers rely on, such as a list of file names, recorded as it is."""

    value: Any


def describe_calls(lab: Lab, calls: Calls) -> None:
    """Record what each of ``calls`` returns or raises; one that raises does not end the others."""
    for name, call in calls.items():
        with contextlib.redirect_stdout(io.StringIO()):
            lab.add_number(name, describe_call(call))


def describe_call(call: Callable[[], Any]) -> Any:
    """A description of what ``call`` returns, of the error it raises, or why this stack has no such call."""
    try:
        return describe(call())
    except Unavailable as reason:
        return {"unavailable": str(reason)}
    except Exception as error:
        return _describe_error(error)


def _describe_error(error: Exception) -> dict[str, str]:
    """The error's class and, if that is a library's own, the built-in class that also catches it."""
    built_in = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == builtins.__name__)
    name = class_name(error)
    return {"raises": name} if name == built_in else {"raises": name, "caught_as": built_in}


def class_name(value: Any) -> str:
    """The name of the value's class, or of its nearest base class that is public."""
    return next(cls.__name__ for cls in type(value).__mro__ if not cls.__name__.startswith("_"))


def describe(value: Any) -> Any:
    if isinstance(value, Exactly):
        return value.value
    if value is None:
        return "None"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{class_name(value)}{list(value.shape)} {value.dtype}"
    if hasattr(value, "features") and hasattr(value, "column_names"):
        return {"type": _sized(value), "columns": _columns(value)}
    if (items := _named_items(value)) is not None:
        keys = {str(key): describe(item) for key, item in items.items()}
        # Equal mappings may differ in their order; where callers use an index, it is a value of its own.
        order = {"order": list(keys)} if isinstance(value, (tuple, OrderedDict)) else {}
        return {"type": class_name(value), "keys": keys, **order}
    if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (str, bytes)):
        return _describe_items(value)
    return class_name(value)


def _sized(value: Any) -> str:
    return f"{class_name(value)}[{len(value)}]" if hasattr(value, "__len__") else class_name(value)


def _named_items(value: Any) -> Mapping[Any, Any] | None:
    """The items of a mapping or a named tuple; None for anything else."""
    if isinstance(value, Mapping):
        return value
    fields = value._asdict() if isinstance(value, tuple) and hasattr(value, "_asdict") else None
    return fields if isinstance(fields, Mapping) else None


def _describe_items(value: Sequence[Any] | AbstractSet[Any]) -> Any:
    """``list[2] list[7] int``; where the items differ, each kind of item once, in a tuple each item."""
    items = [describe(item) for item in value]
    kinds = [item for index, item in enumerate(items) if item not in items[:index]]
    if isinstance(value, AbstractSet):
        kinds.sort(key=str)
    if isinstance(value, tuple) and len(kinds) > 1:
        kinds = items
    if not all(isinstance(kind, str) for kind in kinds):
        return {"type": _sized(value), "items": kinds}
    return f"{_sized(value)} {' | '.join(kinds)}".rstrip()


def _columns(dataset: Any) -> dict[str, str] | None:
    """The kind of each column; None if a streamed dataset does not know them."""
    features = dataset.features
    return None if features is None else {name: _feature(kind) for name, kind in features.items()}


def _feature(kind: Any) -> str:
    """``List of Value int64``."""
    inner = kind[0] if isinstance(kind, list) else getattr(kind, "feature", None)
    if inner is not None:
        return f"{class_name(kind)} of {_feature(inner)}"
    return f"{class_name(kind)} {getattr(kind, 'dtype', '')}".rstrip()


def part(owner: Any, name: str) -> Any:
    """``owner.name``, which early stacks do not have; a name that was removed should raise its own error."""
    try:
        return getattr(owner, name)
    except (AttributeError, ImportError):
        owner_name = getattr(owner, "__name__", None) or class_name(owner)
        raise Unavailable(f"{owner_name} has no {name}") from None


def file_names(folder: Path) -> Exactly:
    """The names of all files below ``folder``, since other tools look for them."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return Exactly(sorted(path.relative_to(folder).as_posix() for path in files))


def home(lab: Lab) -> Path:
    """An empty folder of this measure; absolute, so that no library takes its path for a name on the Hub."""
    folder = (lab.folder / lab.name).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
