"""The stages of the workflow, and the errors that the machine causes rather than the stack."""

from __future__ import annotations

import re
from typing import Final

STAGES: Final = ("import", "download", "finetune", "finetune-resume", "align", "align-resume", "generate")
DEFAULT_MODEL: Final = "smollm2-135m"
# Errors of network, disk, memory or time: worth another attempt, and never evidence about a release.
INFRASTRUCTURE_ERRORS: Final = frozenset(
    {
        "InfrastructureError", "HubError", "TimeoutError", "MemoryError", "SIGKILL", "ConnectionError",
        "ConnectionRefusedError", "ConnectionResetError",
    }
)  # fmt: skip
OUT_OF_SPACE: Final = re.compile(r"No space left|Cannot allocate memory|can't allocate memory")


def is_infrastructure(error_type: str, message: str) -> bool:
    """Whether network, disk, memory or time caused an error, rather than the packages."""
    return error_type in INFRASTRUCTURE_ERRORS or OUT_OF_SPACE.search(message) is not None


def memory_hint(signal_name: str) -> str:
    """The end of a message about a process that this signal killed: a possible cause, or nothing."""
    return ", which the kernel also sends when memory is short" if signal_name == "SIGKILL" else ""
