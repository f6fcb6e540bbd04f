"""The fingerprint: numbers that should not change, defaults, signatures, public names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.harness import fingerprint

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_fingerprint(tmp_path: Path) -> None:
    fingerprint.measure(tmp_path)
