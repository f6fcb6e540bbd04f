"""Failures of uv: which are the packages', and which are the machine's, the network's or the index's.

The messages are uv's own, of releases 0.8 to 0.13.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tunematrix.base.errors import InfrastructureError, UninstallableError, UsageError
from tunematrix.locks import index, uv

UNSATISFIABLE = "error: No solution found when resolving dependencies\n  cause: Because "
NEEDLESS = "and you require trl==9, we can conclude that your requirements are unsatisfiable."
FETCH = "error: Failed to fetch: https://index.example/simple/trl/\n  cause: "
BUILD = "error: Failed to build `trl==1`\n  cause: The build backend returned an error\n"
PACKAGES = [
    UNSATISFIABLE + f"trl==9 depends on peft>=3 and only peft<3 is available {NEEDLESS}",
    UNSATISFIABLE + f"the current Python version (3.11.7) does not satisfy Python>=3.99 {NEEDLESS}",
    UNSATISFIABLE
    + f"trl==9 has no wheels with a matching platform tag (e.g., `manylinux_2_36_x86_64`) {NEEDLESS}",
    "  \N{MULTIPLICATION SIGN} No solution found when resolving:\n  ╰─▶ Because trl==9 needs peft>=3",
    BUILD
    + "\n         [stderr]\n         error: linker `cc` not found: No such file (os error 2), timed out",
    "  \N{MULTIPLICATION SIGN} Failed to build `trl==1`\n  ├─▶ The build backend returned an error",
    "error: Failed to install: trl-1-py3-none-any.whl (trl==1)\n  cause: The wheel is invalid: no Name",
    "error: Failed to install: trl\n  cause: Wheel package name does not match: a malformed wheel.",
    "error: Distribution not found at: file:///nothing",
    "error: No interpreter found for Python 3.19 in managed installations or search path",
]
MACHINE = [
    "",
    "something that uv says one day",
    "error: Failed to initialize cache at `x`\n  cause: `x`: Permission denied (os error 13)",
    "error: Failed to create virtual environment\n  cause: `x`: No space left on device (os error 28)",
    "error: Failed to extract archive: t.whl\n  cause: `x`: No space left on device (os error 28)",
    "error: Failed to extract archive: t.whl\n  cause: Invalid zip file structure",
    "error: Failed to download `trl==1`\n  cause: Hash mismatch for `trl==1`",
    "error: Failed to download and build `trl @ git+http://x`\n  cause: Git operation failed",
    "error: Failed to inspect Python interpreter from first executable in the search path",
    "error: Request failed after 3 retries in 4.7s\n  cause: Failed to fetch: https://index.example/simple/trl/",
    "error: Received some unexpected JSON from `http://x/trl/`",
    'error: Unsupported `Content-Type` "application/zip" for `http://x/trl/`. Expected JSON or HTML.',
    FETCH + "HTTP status client error (429 Too Many Requests) for url (https://index.example/simple/trl/)",
    FETCH
    + "error sending request for url\n  cause: dns error\n  cause: failed to lookup address information",
    FETCH + "error sending request for url\n  cause: invalid peer certificate: UnknownIssuer",
    UNSATISFIABLE
    + f"trl was not found in the package registry {NEEDLESS}\n\nhint: An index URL (http://x) could "
    "not be queried due to a lack of valid authentication credentials (401 Unauthorized)",
    UNSATISFIABLE
    + f"trl was not found in the package registry {NEEDLESS}\n\nhint: An index (http://x) returned a "
    "403 Forbidden error.",
    UNSATISFIABLE
    + f"trl was not found in the cache {NEEDLESS}\n\nhint: Packages were unavailable because the "
    "network was disabled.",
    BUILD
    + "  cause: Failed to resolve requirements from `build-system.requires`\n  cause: Failed to fetch: `x`",
    BUILD + "\n         [stderr]\n         OSError: [Errno 28] No space left on device",
    "Timeout (300s) when waiting for lock on `/root/.cache/uv`",
]


def failed(message: str, exit_code: int = 1) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(["uv"], exit_code, "", message)


@pytest.fixture(name="lists")
def _lists(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The packages that the index is asked for; it works, until ``lists`` has ``broken``."""
    lists: list[str] = []

    def files(_: object, package: str) -> None:
        if "broken" in lists:
            raise InfrastructureError("a login page")
        lists.append(package)

    monkeypatch.setattr(index, "files", files)
    monkeypatch.setattr(uv, "index_url", lambda: None)
    return lists


@pytest.mark.parametrize("message", PACKAGES)
def test_faults_of_the_packages(message: str, lists: list[str]) -> None:
    with pytest.raises(UninstallableError) as raised:
        uv.checked(failed(message), UninstallableError)

    assert str(raised.value) == message.strip()
    assert lists == []


@pytest.mark.parametrize("message", MACHINE)
def test_faults_of_the_machine_the_network_and_the_index(message: str, lists: list[str]) -> None:
    with pytest.raises(InfrastructureError) as raised:
        uv.checked(failed(message), UninstallableError)

    assert "\n" not in str(raised.value)
    assert str(raised.value)
    assert lists == []


def test_a_uv_that_was_killed_proves_nothing() -> None:
    with pytest.raises(InfrastructureError, match="uv ended with exit code -9"):
        uv.checked(failed("", -9), UsageError)
    with pytest.raises(InfrastructureError):
        uv.checked(failed(PACKAGES[0], -6), UsageError)


@pytest.mark.parametrize(
    ("message", "packages"),
    [
        ("trl was not found in the package registry", ["trl"]),
        ("peft[x,y] was not found in the package registry and all of trl", ["peft"]),
        ("there is no version of trl==9 and you require trl==9", ["trl"]),
        ("there are no versions of trl and huggingface.hub_x was not found in", ["huggingface.hub_x", "trl"]),
        ("there is no version of -._ and", []),
    ],
)
def test_what_uv_does_not_find_is_checked_with_the_index(
    message: str, packages: list[str], lists: list[str]
) -> None:
    with pytest.raises(UninstallableError, match="No solution"):
        uv.checked(failed(UNSATISFIABLE + message), UninstallableError)
    assert sorted(lists) == packages

    lists.append("broken")
    expected = InfrastructureError if packages else UninstallableError
    with pytest.raises(expected):
        uv.checked(failed(UNSATISFIABLE + message), UninstallableError)


def test_an_index_in_a_folder_is_uvs_alone(lists: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uv, "index_url", lambda: "file:///srv/simple")

    with pytest.raises(UninstallableError):
        uv.checked(failed(UNSATISFIABLE + "trl was not found in the package registry"), UninstallableError)

    assert lists == []


def test_uvs_message_in_one_line() -> None:
    message = (
        "error: Request failed\n  cause: Failed to fetch: http://x/\n  Caused by: dns error\n\nhint: none\n"
    )

    assert uv.one_line(message) == "Request failed: Failed to fetch: http://x/: dns error: hint: none"


def test_uv_gets_no_token_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setattr(uv, "_pip_config", lambda name: None)

    assert not {"HF_TOKEN", "VIRTUAL_ENV"} & uv._environment().keys()


def test_threads_find_uv_at_the_same_time() -> None:
    """Each thread of a fresh process finds it, though Python's own variables are filled in by the first."""
    source = (
        "import sys, threading; from concurrent.futures import ThreadPoolExecutor\n"
        "from tunematrix.locks import uv\n"
        "import uv as package\n"
        "sys.setswitchinterval(1e-6); barrier = threading.Barrier(8)\n"
        "def find(_): barrier.wait(); return package.find_uv_bin()\n"
        "with ThreadPoolExecutor(8) as pool: assert len(set(pool.map(find, range(8)))) == 1\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", source], check=True)
