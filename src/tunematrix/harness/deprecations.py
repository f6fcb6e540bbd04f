"""Deprecations that the stack announces while it works, through ``warnings`` or its loggers."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tunematrix.harness.failure import ANSI, STACK, short_path

LOUD: Final = (DeprecationWarning, FutureWarning, PendingDeprecationWarning)
ANNOUNCES: Final = re.compile(r"deprecat|will be removed|removed in|no longer (be )?support", re.IGNORECASE)
FROM: Final = (*STACK, "torch", "tunematrix")
LONGEST: Final = 400


@contextmanager
def collected(rows: list[dict[str, Any]]) -> Iterator[None]:
    """Append each announcement of the block to ``rows`` once: category, message, module and count."""
    seen: dict[tuple[str, str, str], dict[str, Any]] = {}

    def note(category: str, message: str, module: str) -> None:
        text = " ".join(ANSI.sub("", message).split())[:LONGEST]
        if module.split(".", maxsplit=1)[0] not in FROM:
            return
        row = seen.setdefault(
            (category, text, module), {"category": category, "message": text, "module": module}
        )
        row["count"] = row.get("count", 0) + 1

    def shown(message: Warning | str, category: type[Warning], filename: str, *_: Any) -> None:
        if issubclass(category, LOUD) or ANNOUNCES.search(str(message)):
            module = short_path(Path(filename)).removesuffix(".py").replace("/", ".")
            note(category.__name__, str(message), module)

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if ANNOUNCES.search(message := record.getMessage()):
                note("log", message, record.name)

    listener = Listener(logging.WARNING)
    loggers = [logging.getLogger(name) for name in STACK]
    with warnings.catch_warnings():
        for category in LOUD:
            warnings.simplefilter("always", category)
        warnings.showwarning = shown  # type: ignore[assignment]  # its type is an overload of functions
        for logger in loggers:
            logger.addHandler(listener)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeHandler(listener)
            rows += seen.values()
