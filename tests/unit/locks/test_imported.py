"""Cells from an existing environment: pins are kept, and moved pins are reported."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.locks import imported, lock, table, uv

UvResult = tuple[int, str, str]
UvCalls = list[list[str]]
FakeUv = Callable[..., UvCalls]
MATRIX = 'schema = 1\n# a comment\n[[cell]]\nname = "old"\n[cell.pins]\ntrl = "1.0"\n'


@pytest.fixture(name="fake_uv")
def _fake_uv(monkeypatch: pytest.MonkeyPatch) -> FakeUv:
    """Make ``uv.compile`` return results in turn; the calls list requirements and ``<constraint>``s."""
    calls: UvCalls = []

    def install(*results: UvResult) -> UvCalls:
        remaining = list(results)

        def fake_compile(requirements: list[str], constraints: list[str], _: list[str]) -> object:
            calls.append([*requirements, *(f"<{line}>" for line in constraints)])
            return subprocess.CompletedProcess([], *remaining.pop(0))

        monkeypatch.setattr(uv, "compile", fake_compile)
        monkeypatch.setattr(uv, "torch_options", list)
        return calls

    return install


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


TOOLS_LOCK = "".join(f"{name}==1.0\n" for name in lock.TEST_TOOLS)
REQUIREMENTS = """\
# ours
trl==1.0  # pinned
transformers[torch] >=4,<5 ; python_version >= "3.9"
tomli==2.0 ; python_version < "3.11"
torch==2.8.0+cu121 \\
    --hash=sha256:00
nvidia-cublas-cu12==1.0
-e git+https://host/ours.git#egg=ours
other @ https://host/other.whl
--extra-index-url https://host
"""


def test_requirements_are_read_with_markers_hashes_and_builds(tmp_path: Path, fake_uv: FakeUv) -> None:
    calls = fake_uv((0, f"trl==1.0\ntransformers==4.9\ntorch==2.8.0+cpu\nnumpy==2\n{TOOLS_LOCK}", ""))

    result = imported.import_lock(write(tmp_path, "requirements.txt", REQUIREMENTS), "3.11")

    assert calls[0][:3] == ["trl==1.0", "transformers[torch]<5,>=4", "torch==2.8.0"]
    assert calls[0][3:] == list(lock.TEST_TOOLS)
    assert result.left_out == ("nvidia-cublas-cu12", "git+https://host/ours.git#egg=ours", "other")
    assert result.added == tuple(sorted(["numpy", *lock.TEST_TOOLS]))
    assert result.moved == {}
    assert "torch==2.8.0+cpu\n" in result.text


def test_pins_that_the_resolver_refuses_are_kept(tmp_path: Path, fake_uv: FakeUv) -> None:
    calls = fake_uv((1, "", "No solution"), (0, TOOLS_LOCK, ""))

    result = imported.import_lock(write(tmp_path, "freeze.txt", "trl==1.0\ntransformers==4.9\n"), "3.11")

    assert calls[1][-2:] == ["<trl==1.0>", "<transformers==4.9>"]
    assert result.packages["trl"] == "1.0"
    assert result.moved == {}


def test_a_pin_that_moves_for_the_test_tools_is_reported(tmp_path: Path, fake_uv: FakeUv) -> None:
    fake_uv((1, "", "No solution"), (1, "", "No solution"), (0, f"{TOOLS_LOCK}pluggy==1.6\n", ""))

    result = imported.import_lock(write(tmp_path, "freeze.txt", "trl==1.0\npluggy==0.13\n"), "3.11")

    assert result.moved == {"pluggy": ("0.13", "1.6")}
    assert result.packages["pluggy"] == "1.6"


def test_ranges_that_do_not_resolve_raise_uvs_message(tmp_path: Path, fake_uv: FakeUv) -> None:
    fake_uv((1, "", "because trl needs transformers>=5"))

    with pytest.raises(UnresolvableError, match="because trl needs transformers>=5"):
        imported.import_lock(write(tmp_path, "requirements.txt", "trl==1.0\ntransformers<5\n"), "3.11")


def test_a_network_failure_is_not_unresolvable(tmp_path: Path, fake_uv: FakeUv) -> None:
    fake_uv((1, "", "error: Failed to fetch: dns error"))

    with pytest.raises(InfrastructureError):
        imported.import_lock(write(tmp_path, "requirements.txt", "trl==1.0\n"), "3.11")


UV_LOCK = """
version = 1
[[package]]
name = "ours"
version = "0.1"
source = { virtual = "." }
[[package]]
name = "trl"
version = "1.0"
source = { registry = "https://index" }
[[package]]
name = "numpy"
version = "1.0"
source = { registry = "https://index" }
resolution-markers = ["python_full_version < '3.11'"]
[[package]]
name = "numpy"
version = "2.0"
source = { registry = "https://index" }
resolution-markers = ["python_full_version >= '3.11'"]
[[package]]
name = "fork"
version = "2.0"
source = { git = "https://host/fork" }
"""
PYLOCK = """
lock-version = "1.0"
[[packages]]
name = "trl"
version = "1.0"
[[packages]]
name = "numpy"
version = "2.0"
marker = "python_version >= '3.11'"
[[packages]]
name = "tomli"
version = "2.0"
marker = "python_version < '3.11'"
[[packages]]
name = "fork"
vcs = { type = "git", url = "https://host/fork" }
"""


@pytest.mark.parametrize(("name", "text"), [("uv.lock", UV_LOCK), ("pylock.toml", PYLOCK)])
def test_uv_lock_and_pylock_are_read_for_the_cells_python(
    tmp_path: Path, fake_uv: FakeUv, name: str, text: str
) -> None:
    calls = fake_uv((0, f"trl==1.0\nnumpy==2.0\n{TOOLS_LOCK}", ""))

    result = imported.import_lock(write(tmp_path, name, text), "3.11")

    assert calls[0][:2] == ["trl==1.0", "numpy==2.0"]
    assert result.left_out == ("fork",)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "trl = 1.0\n", "a.txt: line 1: 'trl = 1.0' is not a requirement"),
        ("a.txt", "# nothing\n", "a.txt: lists no packages"),
        ("a.toml", "[project]\nname = 'x'\n", "neither a pylock.toml nor a uv.lock"),
        ("a.toml", "[", "not TOML"),
    ],
)
def test_a_file_without_a_list_of_packages_raises(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=r".") as raised:
        imported.import_lock(write(tmp_path, name, text), "3.11")

    assert message in str(raised.value)


def test_importing_adds_one_entry_and_keeps_comments(tmp_path: Path, fake_uv: FakeUv) -> None:
    fake_uv((0, f"trl==1.0\n{TOOLS_LOCK}", ""), (0, f"trl==1.1\n{TOOLS_LOCK}", ""))
    write(tmp_path, "matrix.toml", MATRIX)
    source = write(tmp_path, "ours.txt", "trl==1.0\n")

    cell, _ = imported.import_cell(table.load(tmp_path), source, "ours")

    matrix = table.load(tmp_path)
    assert matrix.cells[-1] == cell
    assert cell.imported_from == "ours.txt"
    assert (tmp_path / "matrix.toml").read_text().startswith(MATRIX)
    assert lock.stale_reason(cell, matrix.lock_path(cell)) is None
    with pytest.raises(UsageError, match=r"ours: its lock is imported from ours\.txt and cannot be remade"):
        lock.write(cell, matrix.lock_path(cell))
    imported.import_cell(matrix, source, "ours")
    assert len(table.load(tmp_path).cells) == 2


def test_importing_does_not_overwrite_a_cell_that_is_not_imported(tmp_path: Path) -> None:
    write(tmp_path, "matrix.toml", MATRIX)

    with pytest.raises(UsageError, match=r"'old' is a cell of matrix\.toml already"):
        imported.import_cell(table.load(tmp_path), tmp_path / "x.txt", "old")
    with pytest.raises(UsageError, match="the name 'a b' must consist of letters"):
        imported.import_cell(table.load(tmp_path), tmp_path / "x.txt", "a b")
