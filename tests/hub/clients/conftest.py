"""Tests with the real client: collected where one is installed, as ``nox -s clients`` does."""

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

OPEN = ExitStack()

if find_spec("huggingface_hub") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    # The client reads its endpoint when it is imported, so the server is there before any test module.
    SCRATCH = Path(OPEN.enter_context(tempfile.TemporaryDirectory()))
    SERVER = OPEN.enter_context(serving(make_root(SCRATCH / "root")))
    os.environ |= {
        "HF_ENDPOINT": f"{SERVER.url}/@cell-1",
        "HF_HOME": str(SCRATCH / "hf"),
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }
    os.environ.pop("HF_TOKEN", None)


def pytest_unconfigure() -> None:
    OPEN.close()


@pytest.fixture(name="hub")
def _hub() -> Iterator[Server]:
    """The server, free of faults and counts."""
    SERVER.requests.clear()
    yield SERVER
    SERVER.faults.active.clear()
