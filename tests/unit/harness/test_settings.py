"""Environment variables and commands of the packages that are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.harness import settings


def test_sources_and_metadata_tell_what_a_package_takes_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, info = tmp_path / "some_stack", tmp_path / "some_stack-1.0.dist-info"
    for folder in (package / "utils", package / "models", info, tmp_path / "without_metadata"):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text('import os\nos.environ.get("SOME_HOME")\n')
    (tmp_path / "without_metadata" / "__init__.py").write_text("")
    (package / "utils" / "hub.py").write_text('os.getenv("SOME_CACHE")\n')
    (package / "models" / "bert.py").write_text('os.getenv("OF_A_MODEL")\n')
    (package / "testing_utils.py").write_text('os.getenv("RUN_SLOW")\n')
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-stack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nstack-cli = a:b\n[other]\nx = a:b\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(settings, "PACKAGES", ("some_stack", "without_metadata", "not_installed"))

    assert settings.settings() == {
        "some_stack:environment": ["SOME_CACHE", "SOME_HOME"],
        "some_stack:commands": ["stack-cli"],
        "without_metadata:environment": [],
        "without_metadata:commands": [],
    }
