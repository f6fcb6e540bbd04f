"""Public names of the stack's modules, and whether names of another stack still work here."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.surface import CONFIGS, resolve
from tunematrix.shared.settings import is_setting

DEFINITION: Final = re.compile(r"^(?:class|def|async def) ([A-Za-z]\w*)", re.MULTILINE)
# The modules that fine-tuning code imports from; transformers has thousands more, one for each model.
TRANSFORMERS: Final = (
    "data/data_collator", "generation/configuration_utils", "integrations/*", "modeling_utils",
    "optimization", "pytorch_utils", "tokenization_utils_base", "trainer", "trainer_callback",
    "trainer_pt_utils", "trainer_utils", "training_args", "utils/import_utils",
)  # fmt: skip
PATTERNS: Final[Mapping[str, tuple[str, ...]]] = {
    "trl": ("**/*",),
    "peft": ("**/*",),
    "transformers": TRANSFORMERS,
}


def module_names() -> dict[str, list[str]]:
    """The classes and functions that each module defines, read from the sources without importing them."""
    found = {}
    for package, patterns in PATTERNS.items():
        folder = package_folder(package)
        files = {file for pattern in patterns for file in folder.glob(f"{pattern}.py")} if folder else set()
        for file in sorted(files):
            parts = [package, *file.relative_to(str(folder)).with_suffix("").parts]
            names = sorted(set(DEFINITION.findall(file.read_text(encoding="utf-8", errors="replace"))))
            if names and not any(part.startswith("_") for part in parts):
                found[".".join(parts)] = names
    return found


def package_folder(package: str) -> Path | None:
    """The folder of an installed package; None without one."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def try_names(surface: Mapping[str, Any]) -> dict[str, str]:
    """What another stack's ``surface`` has and this one's has not, each with the error of trying it, if any.

    Names are imported, configurations are made with the field's old default, and arguments are bound.
    """
    results = {}
    for name, attempt in _missing(surface):
        try:
            attempt()
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        else:
            results[name] = ""
    return results


def _missing(surface: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], object]]]:
    modules = {key: names for key, names in surface.get("symbols", {}).items() if not is_setting(key)}
    for module, names in modules.items():
        for path in (f"{module}.{name}" for name in names):
            if resolve(path) is None:
                yield path, partial(_import, path)
    for owner, fields in surface.get("defaults", {}).items():
        path = next((path for path in CONFIGS if path.endswith(f".{owner}")), "")
        if path and (cls := resolve(path)) is not None:
            accepted = inspect.signature(cls).parameters
            for field in fields.keys() - accepted.keys():
                yield f"{owner}.{field}", partial(_construct, path, field, fields[field])
    for path, arguments in surface.get("signatures", {}).items():
        if path not in CONFIGS and (target := resolve(path)) is not None:
            for argument in set(arguments) - inspect.signature(target).parameters.keys():
                yield f"{path}({argument})", partial(_bind, path, argument)


def _import(path: str) -> None:
    module, _, name = path.rpartition(".")
    getattr(importlib.import_module(module), name)


def _construct(path: str, field: str, value: Any) -> None:
    given = {"output_dir": "out", "use_cpu": True}
    required = {name: given[name] for name in CONFIGS[path]}
    resolve(path)(**{**required, field: value})


def _bind(path: str, argument: str) -> None:
    inspect.signature(resolve(path)).bind_partial(**{argument: None})
