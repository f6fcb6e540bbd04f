"""Collects deprecations that the stack announces while it works, through ``warnings`` or its loggers."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.failure import ANSI, STACK, short_path
from tunematrix.shared.secrets import mask

CATEGORIES: Final = (DeprecationWarning, FutureWarning, PendingDeprecationWarning)
ANNOUNCEMENT: Final = re.compile(
    r"deprecat|will be removed|removed in|no longer (be )?support", re.IGNORECASE
)
PACKAGES: Final = (*STACK, "torch", "tunematrix")
MAX_LENGTH: Final = 400


@contextmanager
def collect_deprecations(collected: list[dict[str, Any]]) -> Iterator[None]:
    """Append each deprecation of the block to ``collected`` once: category, message, module and count."""
    deprecations: dict[tuple[str, str, str], dict[str, Any]] = {}

    def add(category: str, message: str, module: str) -> None:
        text = mask(" ".join(ANSI.sub("", message).split()))[:MAX_LENGTH]
        if module.split(".", maxsplit=1)[0] not in PACKAGES:
            return
        deprecation = deprecations.setdefault(
            (category, text, module), {"category": category, "message": text, "module": module}
        )
        deprecation["count"] = deprecation.get("count", 0) + 1

    def show_warning(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
        if issubclass(category, CATEGORIES) or ANNOUNCEMENT.search(str(message)):
            module = short_path(Path(filename)).removesuffix(".py").replace("/", ".")
            add(category.__name__, str(message), module)

    class LogHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if ANNOUNCEMENT.search(message := record.getMessage()):
                add("log", message, record.name)

    handler = LogHandler(logging.WARNING)
    loggers = [logging.getLogger(name) for name in STACK]
    with warnings.catch_warnings():
        for category in CATEGORIES:
            warnings.simplefilter("always", category)
        warnings.showwarning = show_warning  # type: ignore[assignment]  # its type is an overload of functions
        for logger in loggers:
            logger.addHandler(handler)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(handler)
            collected += deprecations.values()
