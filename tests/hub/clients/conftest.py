"""Tests with the real client; collected only if it is installed, as in ``nox -s clients``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.hub.conftest import make_root
from tunematrix.hub.server import Server, serving

RESOURCES = ExitStack()

if find_spec("huggingface_hub") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    # The client reads its endpoint on import, so the server starts before any test module is imported.
    TEMPORARY = Path(RESOURCES.enter_context(tempfile.TemporaryDirectory()))
    SERVER = RESOURCES.enter_context(serving(make_root(TEMPORARY / "root")))
    os.environ |= {
        "HF_ENDPOINT": f"{SERVER.url}/@cell-1",
        "HF_HOME": str(TEMPORARY / "hf"),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }
    os.environ.pop("HF_TOKEN", None)


def pytest_unconfigure() -> None:
    RESOURCES.close()


@pytest.fixture(name="hub")
def _hub() -> Iterator[Server]:
    """The server, without faults and request counts of earlier tests."""
    SERVER.requests.clear()
    yield SERVER
    SERVER.faults.active.clear()
