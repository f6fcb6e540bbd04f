"""Checkpoints of another cell, loaded and resumed in this one; skipped if there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.harness import kept

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_exchange(tmp_path: Path) -> None:
    kept.check(tmp_path)
