"""A Hub over real sockets, serving a small repository."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunematrix.hub.server import Server, serving

FILES = {
    "config.json": json.dumps({"model_type": "gpt2"}).encode(),
    "model.safetensors": bytes(range(256)) * 1000,
    "sub/a b%+é.json": b"{}",
    "empty.txt": b"",
}


def make_root(root: Path) -> Path:
    for repo in ("org/model", "gpt2"):
        for name, content in FILES.items():
            path = root / repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


@pytest.fixture(name="root", scope="session")
def _root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("hub"))


@pytest.fixture(name="server", scope="session")
def _server(root: Path) -> Iterator[Server]:
    with serving(root) as server:
        yield server


@pytest.fixture(name="hub")
def _hub(server: Server) -> Iterator[Server]:
    """The server, without faults and request counts of earlier tests."""
    server.requests.clear()
    yield server
    server.faults.active.clear()
