"""The team's own scripts, which ``TUNEMATRIX_SCRIPTS`` lists; each is a stage."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tunematrix.harness.logs import short_logs
from tunematrix.harness.scripts import VARIABLE, Runner

pytestmark = [pytest.mark.integration]


def test_scripts(tmp_path: Path) -> None:
    with short_logs(tmp_path):
        Runner(tmp_path, json.loads(Path(os.environ[VARIABLE]).read_text())).run()
