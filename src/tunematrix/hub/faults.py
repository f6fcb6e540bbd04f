"""Faults a Hub can show, addressed by URL, for testing clients and our own download step.

A fault is one line: ``KIND [xTIMES] PATTERN``, for example ``503 x2 HEAD:*/config.json``. It applies to
the first TIMES requests whose ``METHOD:path`` matches (always, without TIMES).
"""

from __future__ import annotations

import fnmatch
import re
import threading
from dataclasses import dataclass, field
from typing import Final

KINDS: Final = {
    "reset": "the connection is reset before any answer",
    "hang": "the request is never answered",
    "truncate": "half of the body, then the connection ends",
    "flip": "one byte of the body is wrong, the size is right",
    "redirect": "the file is answered by way of a 302, as a content network does",
    "portal": "a 200 with a page of HTML, as a captive portal gives",
}


@dataclass(kw_only=True, slots=True)
class Fault:
    """``kind`` is a status code or one of ``KINDS``; ``left`` counts down, None is for ever."""

    kind: str
    pattern: str
    left: int | None = None
    seen: int = 0


@dataclass(slots=True)
class Faults:
    """The faults of one server; safe to change and to ask from several threads."""

    active: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, text: str) -> Fault:
        """Plant a fault; raises ``ValueError`` when ``text`` is not one."""
        match = re.fullmatch(r"(\S+)(?: x(\d+))? (\S+)", text)
        if not match or not (match[1] in KINDS or re.fullmatch(r"[45]\d\d", match[1])):
            kinds = ", ".join([*KINDS, "or a status from 400 to 599"])
            raise ValueError(f"not a fault: {text!r}; write 'KIND [xTIMES] PATTERN', KIND being {kinds}")
        fault = Fault(kind=match[1], pattern=match[3], left=int(match[2]) if match[2] else None)
        with self._lock:
            self.active.append(fault)
        return fault

    def take(self, method: str, path: str) -> str | None:
        """The kind of the first fault that applies to this request, counted off."""
        with self._lock:
            for fault in self.active:
                if fault.left != 0 and fnmatch.fnmatch(f"{method}:{path}", fault.pattern):
                    fault.seen += 1
                    if fault.left is not None:
                        fault.left -= 1
                    return fault.kind
        return None
