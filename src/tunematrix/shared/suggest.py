"""The closest valid name, for messages about a name that is not valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, valid_names: Iterable[str]) -> str:
    """A message suffix: ``; did you mean ...`` or, if no valid name is similar, ``; valid: ...``."""
    names = list(valid_names)
    if matches := difflib.get_close_matches(name, names, n=1):
        return f"; did you mean '{matches[0]}'?"
    return f"; valid: {', '.join(names)}" if names else ""
