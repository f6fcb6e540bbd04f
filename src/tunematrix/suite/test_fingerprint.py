"""The fingerprint: numbers that ought not to move, defaults, signatures, public names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.harness import fingerprint

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_fingerprint(tmp_path: Path) -> None:
    fingerprint.take(tmp_path)
