"""The built wheel in an environment of its own; not in ``conftest.py``, which cells import too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import uv as uv_package

from tunematrix.locks import uv

ROOT = Path(__file__).parents[2]


def run_uv(*arguments: str) -> None:
    settings = {"UV_FIND_LINKS": ",".join(uv.find_links()), "UV_DEFAULT_INDEX": uv.index_url() or ""}
    variables = {**os.environ, **{name: value for name, value in settings.items() if value}}
    subprocess.run([uv_package.find_uv_bin(), *arguments], env=variables, check=True)


@pytest.fixture(name="program", scope="session")
def _program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``tunematrix`` program of a virtual environment with the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    run_uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    run_uv("venv", "--quiet", str(folder / "venv"))
    run_uv("pip", "install", "--quiet", "--python", str(folder / "venv"), str(wheel))
    return folder / "venv/bin/tunematrix"
