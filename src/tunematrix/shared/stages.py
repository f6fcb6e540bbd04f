"""The stages of the workflow, and the errors that the machine causes rather than the stack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

STAGES: Final = ("import", "download", "finetune", "finetune-resume", "align", "align-resume", "generate")
RESUME: Final = "-resume"
# The stage of ours that trains with the class that a team's script was seen to train with.
OURS: Final = {"SFTTrainer": "finetune", "DPOTrainer": "align"}
TRAINER: Final = ".trainer"
DEFAULT_MODEL: Final = "smollm2-135m"
# How much the fingerprint measures; without the general measures, a cell is done in half the time.
FULL: Final = "full"
DEPTHS: Final = ("quick", FULL, "deep")
# Errors of network, disk, memory or time: worth another attempt, and never evidence about a release. Those of
# Python, of requests, urllib3 and httpx (under the Hub's clients), and of this project.
INFRASTRUCTURE_ERRORS: Final = frozenset(
    {
        "InfrastructureError", "HubError", "TimeoutError", "MemoryError", "SIGKILL", "ConnectionError",
        "ConnectionRefusedError", "ConnectionResetError", "ConnectionAbortedError", "gaierror", "SSLError",
        "ProxyError", "ConnectError", "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout",
        "RemoteProtocolError", "ChunkedEncodingError", "MaxRetryError", "NewConnectionError",
    }
)  # fmt: skip
# What the system and its libraries say when the disk, memory, processes or files of the machine run out, or
# its network is down.
MACHINE_TROUBLE: Final = re.compile(
    r"no space left|disk quota exceeded|read-only file system|input/output error|too many open files"
    r"|cannot allocate memory|can't allocate memory|not enough memory|std::bad_alloc|can't start new thread"
    r"|resource temporarily unavailable|network is unreachable|temporary failure in name resolution",
    re.IGNORECASE,
)


def is_infrastructure(error_type: str, message: str) -> bool:
    """Whether network, disk, memory or time caused an error, rather than the packages."""
    return error_type in INFRASTRUCTURE_ERRORS or MACHINE_TROUBLE.search(message) is not None


def memory_hint(signal_name: str) -> str:
    """The end of a message about a process that this signal killed: a possible cause, or nothing."""
    return ", which the kernel also sends when memory is short" if signal_name == "SIGKILL" else ""


def ours(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """By stage of a team's own, the stage of ours that does the same work, where there is one."""
    return {
        name.removesuffix(TRAINER): OURS[trainer]
        for name, trainer in fingerprint.items()
        if name.endswith(TRAINER) and trainer in OURS
    }
