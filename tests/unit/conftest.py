"""Unit tests: no network, no TUNEMATRIX settings of the caller, warnings are errors."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "unit" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("error"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise RuntimeError("unit tests use no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the caller's settings, so that they cannot change a test."""
    for name in ("CONSTRAINTS", "RESULTS", "HUB", "CACHE", "CELL", "MODEL", "REPO", "WORKLOAD", "NOX"):
        monkeypatch.delenv(f"TUNEMATRIX_{name}", raising=False)
