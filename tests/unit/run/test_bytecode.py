"""Byte code is kept by release, and linked into the next environment that has the release."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tunematrix.run import bytecode

Make = Callable[..., Path]
PYTHON = f"cpython-{sys.version_info.major}{sys.version_info.minor}"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes environments with the release ``acme 1.0``, whose sources have one time, as uv's links have."""
    monkeypatch.setenv("TUNEMATRIX_CACHE", str(tmp_path / "cache"))

    def make(name: str, source: str = "VALUE = 1\n", listed: str = "acme/core.py,sha256=a,10") -> Path:
        packages = tmp_path / name / "lib" / "python3.11" / "site-packages"
        (packages / "acme").mkdir(parents=True)
        (packages / "acme" / "__init__.py").write_text("")
        (packages / "acme" / "core.py").write_text(source)
        for path in (packages / "acme").iterdir():
            os.utime(path, (1e9, 1e9))
        info = packages / "acme-1.0.dist-info"
        info.mkdir()
        (info / "RECORD").write_text(f"acme/__init__.py,,\n{listed}\nacme-1.0.dist-info/RECORD,,\n")
        return tmp_path / name

    return make


def core(venv: Path) -> Path:
    return venv / f"lib/python3.11/site-packages/acme/__pycache__/core.{PYTHON}.pyc"


def run(venv: Path) -> str:
    """What the environment's module has, in a Python that writes byte code."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    code = "import acme.core; print(acme.core.VALUE)"
    command = [sys.executable, "-c", code]
    variables["PYTHONPATH"] = str(venv / "lib/python3.11/site-packages")
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.strip()


def test_the_next_environment_compiles_nothing_again(environment: Make) -> None:
    first, second = environment("first"), environment("second")
    assert run(first) == "1"
    bytecode.keep(first)
    bytecode.restore(second)
    assert core(first).samefile(core(second))
    assert run(second) == "1"
    assert core(first).samefile(core(second))


def test_another_build_of_the_release_has_its_own(environment: Make) -> None:
    first, second = environment("first"), environment("second", listed="acme/core.py,sha256=b,10")
    run(first)
    bytecode.keep(first)
    bytecode.restore(second)
    assert not core(second).exists()


def test_a_source_with_another_time_is_compiled_and_kept_anew(environment: Make) -> None:
    first, second, third = environment("first"), environment("second", "VALUE = 22\n"), environment("third")
    run(first)
    bytecode.keep(first)
    bytecode.restore(second)
    assert run(second) == "22"
    assert not core(first).samefile(core(second))
    bytecode.keep(second)
    bytecode.restore(third)
    assert core(third).samefile(core(second))
    assert run(third) == "1"  # of another size: Python does not take what does not fit


def test_what_is_there_stays(environment: Make) -> None:
    first, second = environment("first"), environment("second")
    run(first)
    bytecode.keep(first)
    run(second)
    own = core(second).stat().st_ino
    bytecode.restore(second)
    assert core(second).stat().st_ino == own


def test_what_no_environment_had_for_long_is_removed(environment: Make, tmp_path: Path) -> None:
    first = environment("first")
    run(first)
    bytecode.keep(first)
    old = tmp_path / "cache" / "bytecode" / "gone-0.9-0000000000000000"
    old.mkdir()
    long_ago = time.time() - bytecode.UNUSED - 10
    os.utime(old, (long_ago, long_ago))
    bytecode.keep(first)
    assert not old.exists()
    assert list((tmp_path / "cache" / "bytecode").iterdir())


def test_a_cache_that_cannot_be_written_harms_nothing(environment: Make, tmp_path: Path) -> None:
    first = environment("first")
    run(first)
    (tmp_path / "cache").write_text("a file")
    bytecode.keep(first)
    bytecode.restore(first)
    assert run(first) == "1"


def test_a_source_outside_of_the_environment_is_left_alone(environment: Make, tmp_path: Path) -> None:
    first = environment("first", listed="../../../../outside.py,,")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / f"outside.{PYTHON}.pyc").write_bytes(b"x")
    bytecode.keep(first)
    assert not list((tmp_path / "cache").rglob("*outside*"))
