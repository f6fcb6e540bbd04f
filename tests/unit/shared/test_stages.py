"""Which errors are the machine's or the network's, in every process of the project."""

from __future__ import annotations

import pytest

from tunematrix.shared.stages import is_infrastructure


@pytest.mark.parametrize(
    ("error_type", "message"),
    [
        ("ConnectionError", ""),  # of Python and of requests
        ("ConnectError", "[Errno 111] Connection refused"),  # of httpx, under huggingface_hub 1.x
        ("ReadTimeout", ""),
        ("SSLError", "certificate verify failed"),
        ("gaierror", "Name or service not known"),
        ("SIGKILL", "the process ended by SIGKILL"),
        ("OSError", "[Errno 28] No space left on device"),
        ("OSError", "[Errno 122] Disk quota exceeded: '/x'"),
        ("OSError", "[Errno 24] Too many open files"),
        ("RuntimeError", "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        ("RuntimeError", "can't start new thread"),
        ("SafetensorError", "I/O error: No space left on device (os error 28)"),
    ],
)
def test_errors_of_the_machine(error_type: str, message: str) -> None:
    assert is_infrastructure(error_type, message)


@pytest.mark.parametrize(
    ("error_type", "message"),
    [
        ("ImportError", "cannot import name 'DPOConfig' from 'trl'"),
        ("OSError", "Can't load the configuration of 'x'"),
        ("ValueError", "The model is out of range"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'adapter_config.json'"),
        ("SIGSEGV", "the process ended by SIGSEGV"),
        ("TypeError", "a bytes-like object is required"),
    ],
)
def test_errors_of_the_packages(error_type: str, message: str) -> None:
    assert not is_infrastructure(error_type, message)
