"""The names of models: repositories on the Hub, and tiny models of their architecture."""

from __future__ import annotations

import re
from typing import Final

# The rule of huggingface_hub's validate_repo_id, which its releases apply at different moments.
REPO_ID: Final = re.compile(r"(?:\b[\w.-]+\b/)?\b[\w.-]{1,96}\b", re.ASCII)
RULE: Final = (
    "NAME or ORGANISATION/NAME, with letters, digits, '-', '_' and '.', "
    "not at either end, without '--' and '..', and without '.git' at the end"
)

TINY_MODELS: Final = ("tiny-gpt2", "tiny-llama")  # which every cell measures beside its own
TINY: Final = "tiny:"  # before a repository or a folder: a tiny model of that architecture


def is_repo_id(text: str) -> bool:
    """Whether a repository can have this id; says nothing about whether there is one."""
    valid = REPO_ID.fullmatch(text) and "--" not in text and ".." not in text
    return bool(valid) and not text.endswith(".git")
