"""Baselines and requests: what is accepted, and what uv is asked for."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
from packaging.version import Version

from tunematrix.base.errors import UsageError
from tunematrix.base.store import Store
from tunematrix.locks import uv
from tunematrix.locks.releases import Release
from tunematrix.locks.table import Cell, Matrix
from tunematrix.questions import candidate


@pytest.fixture(name="store")
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    (tmp_path / "matrix.toml").write_text('schema = 1\n[[cell]]\nname = "a"\n[cell.pins]\ntrl = "1.0"\n')
    return Store(tmp_path / "results")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "~nouser/x"])
def test_a_baseline_that_is_no_path_is_no_cell_either(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match=r"no cell|no such file"):
        candidate.load_baseline(name, store)


@pytest.mark.parametrize("content", [b"trl==1.0\n# \xff", b"trl = 1.0\n", b"-r base.txt\n"])
def test_a_baseline_file_that_cannot_be_read_raises(store: Store, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "base.txt").write_bytes(content)

    with pytest.raises(UsageError, match=r"base\.txt"):
        candidate.load_baseline(str(tmp_path / "base.txt"), store)


def test_a_lock_that_is_not_utf_8_raises(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"trl==1.0\n# \xff")

    with pytest.raises(UsageError, match="not UTF-8"):
        candidate.load_baseline("a", store)


def baseline(store: Store, **packages: str) -> candidate.Baseline:
    cell = Cell(name="a")
    matrix = Matrix(folder=store.root, cells=(cell,))
    return candidate.Baseline(
        cell=cell, matrix=matrix, store=store, packages=packages, direct=tuple(packages)
    )


def test_a_version_alone_is_told_from_a_package(store: Store) -> None:
    with pytest.raises(UsageError, match=r"'0\.29\.0' is a version alone.*'trl==0\.29\.0'"):
        candidate.resolve(baseline(store, trl="1.0"), ["trl", "0.29.0"], store)


@pytest.mark.parametrize(
    "version", [("0.0.1", "no such release; the newest is 1.5"), ("1.5", ""), ("2.0rc1", "")]
)
def test_without_a_resolver_a_release_must_be_on_the_index(
    store: Store, version: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tuple(
        Release(Version(text), datetime.date(2026, 1, 1), yanked=text == "1.6")
        for text in ("1.0", "1.5", "1.6", "2.0rc1")
    )
    monkeypatch.setattr(candidate, "releases", lambda _: found)
    monkeypatch.setattr(
        candidate, "day_of", lambda _, text: next((each for each in found if str(each.version) == text), None)
    )
    text, message = version
    base = baseline(store, trl="1.0")
    if not message:
        assert candidate.requested(base, [f"trl=={text}"], store).moved == {"trl": ("1.0", text)}
        return
    with pytest.raises(UsageError, match=message):
        candidate.requested(base, [f"trl=={text}"], store)


@pytest.mark.parametrize(
    "text", ["", "trl=1", "trl @ https://host/x.whl", "trl==" + "9" * 5000, "trl===x", "-r x.txt", "x y"]
)
def test_a_malformed_request_raises(store: Store, text: str) -> None:
    with pytest.raises(UsageError, match="is not a request such as"):
        candidate.resolve(baseline(store, trl="1.0"), [text], store)


@pytest.mark.parametrize(
    ("packages", "request_", "backend"),
    [
        ({"torch": "2.13.0+cpu"}, "trl==2.0", False),
        ({"torch": "2.9.0"}, "trl==2.0", True),
        ({"torch": "2.9.0"}, "torch==2.13.0", False),
        ({"torch": "2.9.0", "nvidia-nccl-cu12": "2.0"}, "trl==2.0", False),
    ],
)
def test_torch_is_a_cpu_build_unless_the_baseline_has_cuda(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packages: dict[str, str], request_: str,
    *, backend: bool,
) -> None:  # fmt: skip
    calls: list[tuple[str, ...]] = []

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        calls.append(arguments)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(uv, "run", run)
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    (tmp_path / "torch-2.13.0+cpu-cp311-cp311-any.whl").touch()

    candidate.resolve(baseline(store, **packages), [request_], store)

    assert ("--torch-backend" in calls[0]) == backend
