"""Environments: when they are made anew, and what stays when that fails."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunematrix.base.errors import InfrastructureError, UninstallableError, UsageError
from tunematrix.locks import uv
from tunematrix.locks.table import Cell
from tunematrix.run import environment

CELL = Cell(name="old")


class FakeUv:
    """Replaces ``uv.run`` with one that installs each line of a lock as an empty package.

    ``failures`` are the messages with which its next installations fail, after half of their work.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failures: list[str] = []

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.calls.append(arguments[0] + (" --offline" if "--offline" in arguments else ""))
        target = Path(arguments[-1])
        if arguments[0] == "venv":
            shutil.rmtree(target, ignore_errors=True)
            for part in ("bin", "lib/python3.11/site-packages/"):
                (target / part).mkdir(parents=True, exist_ok=True)
            (target / "pyvenv.cfg").write_text("version_info = 3.11.7\n")
            (target / "bin/python").touch()
            return subprocess.CompletedProcess([], 0, "", "")
        venv = Path(arguments[arguments.index("--python") + 1]).parents[1]
        names = target.read_text().split()
        for name in names[: len(names) // 2] if self.failures else names:
            folder = venv / f"lib/python3.11/site-packages/{name}.dist-info"
            folder.mkdir()
            (folder / "RECORD").write_text(name)
        message = self.failures.pop(0) if self.failures else ""
        return subprocess.CompletedProcess([], int(bool(message)), "", message)


@pytest.fixture(name="fake_uv")
def _fake_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeUv:
    fake_uv = FakeUv()
    monkeypatch.setattr(uv, "run", fake_uv)
    monkeypatch.setattr(uv, "torch_options", list)
    monkeypatch.setenv("TUNEMATRIX_CACHE", str(tmp_path / "cache"))
    return fake_uv


def sync(folder: Path, packages: str) -> Path:
    venv = folder / "venv"
    (folder / "lock.txt").write_text(packages)
    environment.sync(venv, folder / "lock.txt", CELL)
    return venv


def installed(venv: Path) -> list[str]:
    return sorted(path.stem for path in venv.glob("lib/*/site-packages/*.dist-info"))


def test_an_environment_is_made_once_for_its_lock(fake_uv: FakeUv, tmp_path: Path) -> None:
    venv = sync(tmp_path, "a b")
    (venv / "lib/python3.11/site-packages/__pycache__").mkdir()
    sync(tmp_path, "a b")
    assert fake_uv.calls == ["venv", "pip --offline"]

    sync(tmp_path, "a c")
    assert installed(venv) == ["a", "c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "lock.txt", "venv"]


@pytest.mark.parametrize("change", ["marker", "record", "package"])
def test_a_changed_environment_is_made_anew(fake_uv: FakeUv, tmp_path: Path, change: str) -> None:
    venv = sync(tmp_path, "a b")
    packages = venv / "lib/python3.11/site-packages"
    if change == "marker":
        (venv / environment.MARKER).write_bytes(b"\xff")
    elif change == "record":
        (packages / "a.dist-info/RECORD").write_text("another build")
    else:
        (packages / "c.dist-info").mkdir()

    sync(tmp_path, "a b")

    assert installed(venv) == ["a", "b"]
    assert (packages / "a.dist-info/RECORD").read_text() == "a"


def test_the_index_completes_what_the_cache_lacks_in_a_fresh_environment(
    fake_uv: FakeUv, tmp_path: Path
) -> None:
    fake_uv.failures = ["error: No solution found"]

    venv = sync(tmp_path, "a b")

    assert fake_uv.calls == ["venv", "pip --offline", "venv", "pip"]
    assert installed(venv) == ["a", "b"]


@pytest.mark.parametrize(
    ("message", "error"),
    [("error: Failed to fetch", InfrastructureError), ("error: No solution found", UninstallableError)],
)
def test_a_failure_leaves_what_was_there(
    fake_uv: FakeUv, tmp_path: Path, message: str, error: type[Exception]
) -> None:
    venv = sync(tmp_path, "a b")
    fake_uv.failures = [message, message]
    with pytest.raises(error):
        sync(tmp_path, "c d")

    assert installed(venv) == ["a", "b"]
    assert [path.name for path in tmp_path.iterdir() if "tunematrix" in path.name] == []
    calls = len(fake_uv.calls)
    sync(tmp_path, "a b")
    assert len(fake_uv.calls) == calls


def test_an_environment_is_created_where_none_has_an_interpreter(fake_uv: FakeUv, tmp_path: Path) -> None:
    environment.ensure(tmp_path / "venv", "3.11")
    environment.ensure(tmp_path / "venv", "3.11")
    assert fake_uv.calls == ["venv"]
    assert environment.python_version(tmp_path / "venv") == "3.11.7"

    (tmp_path / "venv/bin/python").unlink()  # of a Python that was removed
    environment.ensure(tmp_path / "venv", "3.11")
    assert fake_uv.calls == ["venv", "venv"]


def test_the_environment_of_this_process_is_refused(fake_uv: FakeUv, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tunematrix runs in this environment; name another one with --venv"):
        environment.sync(Path(sys.prefix), Path(__file__), CELL)


@pytest.mark.parametrize("content", ["", "version", "\xff", "home = x\nversion_info = \n"])
def test_a_configuration_without_a_version(tmp_path: Path, content: str) -> None:
    (tmp_path / "pyvenv.cfg").write_text(content, encoding="latin-1")

    assert environment.python_version(tmp_path) == ""


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("torch==2.13.0+cpu ; python_version > '3'\n", []),
        ("torch==2.9.0+cpu\n", ["--torch-backend", "cpu"]),
        ("torch==2.9.0\nnvidia-nccl-cu12==1\n", []),
    ],
)
def test_torch_comes_from_where_its_build_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, options: list[str]
) -> None:
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-any.whl").touch()
    (tmp_path / "lock.txt").write_text(text)

    assert environment._torch_options(tmp_path / "lock.txt") == options
