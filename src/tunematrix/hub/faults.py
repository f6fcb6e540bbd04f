"""Faults to inject into the Hub's responses, for testing clients and the pipeline's download step.

A fault is one line: ``KIND [xTIMES] PATTERN``, for example ``503 x2 HEAD:*/config.json``. It applies to
the first TIMES requests whose ``METHOD:path`` matches PATTERN; without TIMES, to all of them.
"""

from __future__ import annotations

import fnmatch
import re
import threading
from dataclasses import dataclass, field
from typing import Final

KINDS: Final = {
    "reset": "the connection is reset before any response",
    "hang": "the request is never answered",
    "truncate": "the connection ends after half of the body",
    "drip": "the body arrives byte by byte, ten in a second",
    "shrink": "the file is one byte shorter than listed, in its Content-Length too",
    "flip": "one byte of the body is wrong, its size is right",
    "redirect": "a 302 points to the file, as with a content delivery network",
    "portal": "a 200 with an HTML page, as from a captive portal",
}


@dataclass(kw_only=True, slots=True)
class Fault:
    """``kind`` is a status code or one of ``KINDS``; ``remaining`` counts down, None means no limit."""

    kind: str
    pattern: str
    remaining: int | None = None


@dataclass(slots=True)
class Faults:
    """The faults of one server; thread-safe."""

    active: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, text: str) -> Fault:
        """Add a fault; raises ``ValueError`` if ``text`` is not one."""
        match = re.fullmatch(r"(\S+)(?: x(\d{1,9}))? (\S+)", text, re.ASCII)
        if not match or not (match[1] in KINDS or re.fullmatch(r"[45][0-9]{2}", match[1])):
            kinds = ", ".join([*KINDS, "or a status from 400 to 599"])
            raise ValueError(f"not a fault: {text!r}; write 'KIND [xTIMES] PATTERN', KIND being {kinds}")
        fault = Fault(kind=match[1], pattern=match[3], remaining=int(match[2]) if match[2] else None)
        with self._lock:
            self.active.append(fault)
        return fault

    def next_for(self, method: str, path: str) -> str | None:
        """The kind of the first fault that applies to this request, or None; counts the fault down."""
        with self._lock:
            for fault in self.active:
                if fault.remaining != 0 and fnmatch.fnmatch(f"{method}:{path}", fault.pattern):
                    if fault.remaining is not None:
                        fault.remaining -= 1
                    return fault.kind
        return None
