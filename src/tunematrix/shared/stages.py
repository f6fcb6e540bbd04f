"""The stages of the workflow, and which failures are the machine's and not the stack's."""

from __future__ import annotations

import re
from typing import Final

STAGES: Final = ("import", "download", "finetune", "finetune-resume", "align", "align-resume", "generate")
DEFAULT_MODEL: Final = "smollm2-135m"
# Errors of network, disk, memory or time: worth another try, and never evidence about a release.
INFRASTRUCTURE: Final = frozenset(
    {
        "InfrastructureError", "HubError", "TimeoutError", "MemoryError", "SIGKILL", "ConnectionError",
        "ConnectionRefusedError", "ConnectionResetError",
    }
)  # fmt: skip
OUT_OF_SPACE: Final = re.compile(r"No space left|Cannot allocate memory|can't allocate memory")


def is_infrastructure(error_type: str, message: str) -> bool:
    """Whether an error is about network, disk, memory or time, and not about the packages."""
    return error_type in INFRASTRUCTURE or OUT_OF_SPACE.search(message) is not None


def memory_hint(signal_name: str) -> str:
    """What to add to a message about a process that ended by this signal."""
    return ", which the kernel also sends when memory is short" if signal_name == "SIGKILL" else ""
