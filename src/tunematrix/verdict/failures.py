"""Classify a failure with one word, which shows who must act.

The first matching rule decides; a failure that matches none is ``other``, never a guess.
"""

from __future__ import annotations

import re
from typing import Final

from tunematrix.base.record import Failure
from tunematrix.shared.stages import is_infrastructure

KINDS: Final = {
    "resolver": "the pins contradict each other",
    "install": "a package cannot be installed here",
    "infrastructure": "network, disk, memory or time: run it again",
    "import": "the packages cannot be imported together",
    "api": "a call that this release does not accept: edit the code, or pin",
    "artifact": "a checkpoint, tokenizer or configuration file that this release cannot read",
    "numeric": "it ran, but the numbers are wrong",
    "crash": "the process crashed",
    "other": "none of these",
}
ARTIFACT: Final = {"UnpicklingError", "SafetensorError", "JSONDecodeError", "UnicodeDecodeError", "EOFError"}
API: Final = {"TypeError", "AttributeError", "ImportError", "ModuleNotFoundError", "NotImplementedError"}
FILES: Final = re.compile(
    r"(error\(s\) in loading state_dict|can't find a valid checkpoint|tokenizer\.json|tokenizer_config"
    r"|adapter_config|merges|untagged enum|config\.json)",
    re.IGNORECASE,
)


def kind_of(stages: tuple[str, ...], error: Failure) -> str:
    """The word for ``error``, which made ``stages`` fail."""
    if error.type in ("UnresolvableError", "UninstallableError"):
        return "resolver" if error.type == "UnresolvableError" else "install"
    if is_infrastructure(error.type, error.message):
        return "infrastructure"
    if "import" in stages:
        return "import"
    if error.type in ARTIFACT or FILES.search(error.message):
        return "artifact"
    if error.type in API:
        return "api"
    if error.type in ("Mismatch", "FloatingPointError", "AssertionError"):
        return "numeric"
    return "crash" if re.fullmatch(r"SIG[A-Z]+|Exit\d+|exit_code_\d+", error.type) else "other"
