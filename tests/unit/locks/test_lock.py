"""Locks: what uv is called with, where torch comes from, and how uv's failures are reported."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.locks import lock, table, uv
from tunematrix.locks.table import Cell

TODAY = datetime.date(2026, 11, 22)
CELL = Cell(
    name="old", pins={"torch": "2.13.0", "trl": "0.12.2", "click": "8.1.7"}, as_of=datetime.date(2024, 12, 10)
)


class FakeUv:
    """Replaces ``uv.run``: keeps the arguments and returns ``answer``: exit code, stdout, stderr."""

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self.stdin = ""
        self.answer = (0, "trl==0.12.2\n", "")

    def __call__(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        if arguments == ("--version",):
            return subprocess.CompletedProcess([], 0, "uv 1.2.3 (x)", "")
        self.arguments, self.stdin = list(arguments), stdin or ""
        return subprocess.CompletedProcess([], *self.answer)


@pytest.fixture(name="fake_uv")
def _fake_uv(monkeypatch: pytest.MonkeyPatch) -> FakeUv:
    fake_uv = FakeUv()
    monkeypatch.setattr(uv, "run", fake_uv)
    monkeypatch.setenv("UV_FIND_LINKS", "/no/such/folder")
    return fake_uv


def test_the_pins_the_workflow_packages_and_the_test_tools_are_requested(fake_uv: FakeUv) -> None:
    lock.resolve(CELL, TODAY)

    assert fake_uv.stdin.split() == [
        "torch==2.13.0", "trl==0.12.2", "click==8.1.7",
        "transformers", "peft", "accelerate", "datasets",
        "pytest", "pytest-timeout", "pytest-reportlog", "pyyaml",
    ]  # fmt: skip


def test_as_of_limits_all_packages_but_the_platforms(fake_uv: FakeUv) -> None:
    lock.resolve(CELL, TODAY)

    index = fake_uv.arguments.index("--exclude-newer")
    assert fake_uv.arguments[index + 1] == "2024-12-11T00:00:00Z"
    exempt = [value for option, value in pairwise(fake_uv.arguments) if option == "--exclude-newer-package"]
    assert "torch=2026-11-23T00:00:00Z" in exempt
    assert not any(cutoff.startswith("numpy=") for cutoff in exempt)


def test_without_as_of_the_day_of_locking_limits_all_packages(fake_uv: FakeUv) -> None:
    lock.resolve(Cell(name="new", pins={"trl": "1.0"}), TODAY)

    assert "--exclude-newer-package" not in fake_uv.arguments
    assert fake_uv.arguments[fake_uv.arguments.index("--exclude-newer") + 1] == "2026-11-23T00:00:00Z"


def test_the_header_has_the_command_that_remakes_the_lock(fake_uv: FakeUv, tmp_path: Path) -> None:
    assert lock.write(CELL, tmp_path / "old.txt", TODAY)

    text = (tmp_path / "old.txt").read_text()
    assert "#   nox -s lock -- old\n" in text
    assert "# as of 2024-12-10, torch and what it needs as of 2026-11-22; uv 1.2.3\n" in text
    assert text.endswith("\ntrl==0.12.2\n")


LOCKED = "torch==2.13.0+cpu\ntrl==0.12.2\nclick==8.1.7\n"
LATER = datetime.date(2027, 1, 1)


def test_locking_an_unchanged_cell_again_keeps_the_file(fake_uv: FakeUv, tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    fake_uv.answer = (0, LOCKED, "")
    lock.write(CELL, path, TODAY)
    first = path.read_bytes()

    assert not lock.write(CELL, path, LATER)
    assert path.read_bytes() == first
    assert "torch=2026-11-23T00:00:00Z" in fake_uv.arguments


def test_a_cell_without_as_of_is_locked_again_with_new_releases(fake_uv: FakeUv, tmp_path: Path) -> None:
    path, cell = tmp_path / "new.txt", Cell(name="new", pins={"trl": "0.12.2"})
    fake_uv.answer = (0, LOCKED, "")
    lock.write(cell, path, TODAY)
    fake_uv.answer = (0, LOCKED + "zipp==1\n", "")

    assert lock.write(cell, path, LATER)
    assert "# as of 2027-01-01; uv" in path.read_text()


def test_a_lock_is_stale_if_the_cells_entry_has_changed(fake_uv: FakeUv, tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    assert lock.stale_reason(CELL, path) == "it has no lock"
    fake_uv.answer = (0, LOCKED, "")
    lock.write(CELL, path, TODAY)

    assert lock.stale_reason(CELL, path) is None
    repinned = dataclasses.replace(CELL, pins={**CELL.pins, "trl": "0.13.0"})
    assert lock.stale_reason(repinned, path) == "trl is 0.12.2 in the lock, 0.13.0 in matrix.toml"
    dated = dataclasses.replace(CELL, as_of=LATER)
    assert lock.stale_reason(dated, path) == "its entry in matrix.toml changed after it was locked"
    path.write_text(LOCKED)
    assert lock.stale_reason(dated, path) is None, "a lock made by hand is checked against the pins only"


def test_a_lock_that_was_made_or_edited_by_hand_is_remade_only_with_force(
    fake_uv: FakeUv, tmp_path: Path
) -> None:
    path = tmp_path / "old.txt"
    fake_uv.answer = (0, LOCKED, "")
    lock.write(CELL, path, TODAY)
    assert not lock.is_edited(path)
    for text in (
        LOCKED,
        path.read_text().replace("click==8.1.7", "click==8.1.8"),
        path.read_text() + "# a note\n",
        "# a note\n" + path.read_text(),
        LOCKED + "not a version\n",
    ):
        path.write_text(text)
        assert lock.is_edited(path)
        with pytest.raises(
            UsageError, match="was edited by hand and stays as it is; to remake it: nox -s lock"
        ):
            lock.write(CELL, path, TODAY)
        assert path.read_text() == text
        assert lock.write(CELL, path, TODAY, force=True)
        assert not lock.is_edited(path)


def test_other_line_ends_are_no_edit(fake_uv: FakeUv, tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    fake_uv.answer = (0, LOCKED, "")
    lock.write(CELL, path, TODAY)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    assert not lock.is_edited(path)
    assert lock.stale_reason(CELL, path) is None


def test_a_lock_made_before_there_were_hashes_can_be_remade(fake_uv: FakeUv, tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_text(f"# made\n{lock.INPUTS_PREFIX}0123\n{LOCKED}")

    assert not lock.is_edited(path)
    assert lock.write(CELL, path, TODAY)


def test_a_lock_with_our_header_can_stand_alone(fake_uv: FakeUv, tmp_path: Path) -> None:
    """In a folder without matrix.toml it is a cell like any other."""
    fake_uv.answer = (0, LOCKED, "")
    lock.write(CELL, tmp_path / "old.txt", TODAY)

    cell = table.load(tmp_path).cell("old")

    assert lock.stale_reason(cell, tmp_path / "old.txt") is None


def test_without_a_pin_torch_comes_from_find_links(
    fake_uv: FakeUv, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise uv takes a newer CUDA build from the index."""
    monkeypatch.setenv("UV_FIND_LINKS", str(links))
    (links / "torch-2.13.0+cpu-cp311-cp311-any.whl").touch()

    lock.resolve(Cell(name="new", pins={"trl": "1.0"}), TODAY)
    assert "torch==2.13.0+cpu" in fake_uv.stdin.split()
    assert "--torch-backend" not in fake_uv.arguments
    lock.resolve(Cell(name="new", pins={"trl": "1.0", "torch": "2.5.0"}), TODAY)
    assert "torch==2.13.0+cpu" not in fake_uv.stdin.split()
    assert "--torch-backend" in fake_uv.arguments


@pytest.mark.parametrize("content", [b"trl==1.0\n# na\xefve\n", "trl==1.0\n".encode("utf-16")])
def test_a_lock_that_is_not_utf_8_raises(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes(content)

    for read in (lock.read_versions, lock.is_edited, lambda path: lock.stale_reason(CELL, path)):
        with pytest.raises(UsageError, match="save it as UTF-8"):
            read(path)


@pytest.mark.parametrize("line", ["trl==1.*", "trl===weird", "trl==" + "9" * 5000])
def test_a_lock_without_an_exact_version_raises(line: str) -> None:
    with pytest.raises(UsageError, match=r"line 1: .* is not "):
        lock.versions(line)


def test_an_unresolvable_cell_keeps_its_lock_and_raises_uvs_message(fake_uv: FakeUv, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text(lock.sealed("# made\n", "old==1\n"))
    fake_uv.answer = (1, "", "  x No solution found: because trl needs transformers>=5 ...\n")

    with pytest.raises(UnresolvableError, match="because trl needs transformers>=5"):
        lock.write(CELL, tmp_path / "old.txt", TODAY)

    assert (tmp_path / "old.txt").read_text().endswith("\nold==1\n")


def test_a_network_failure_is_not_unresolvable(fake_uv: FakeUv) -> None:
    fake_uv.answer = (2, "", "error: Failed to fetch: `https://...`\n  Caused by: dns error")

    with pytest.raises(InfrastructureError):
        lock.resolve(CELL, TODAY)


def test_versions_come_from_pins_by_canonical_name() -> None:
    text = "# head\ntorch==2.13.0+cpu  # via x\nHuggingface_Hub==0.26.5 ; python_version > '3'\n--pre\n\n"

    assert lock.versions(text) == {"huggingface-hub": "0.26.5", "torch": "2.13.0+cpu"}
    with pytest.raises(UsageError, match=r"a\.txt: line 2: 'torch = 2' is not"):
        lock.versions("trl==1\ntorch = 2\n", "a.txt")


@pytest.fixture(name="links")
def _links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    uv._pip_config.cache_clear()
    return tmp_path


def test_uv_takes_a_torch_wheel_from_find_links(links: Path) -> None:
    (links / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()

    assert uv.find_links() == (str(links),)
    assert uv.torch_options() == []


def test_without_a_torch_wheel_uv_gets_the_cpu_build(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert uv.torch_options() == ["--torch-backend", "cpu"]
    monkeypatch.setenv("UV_TORCH_BACKEND", "cu130")
    assert uv.torch_options() == ["--torch-backend", "cu130"]


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "constraints").glob("*.txt")), ids=lambda path: path.stem
)
def test_the_shipped_locks_match_their_pins_and_have_no_cuda_packages(path: Path) -> None:
    cell = table.load(path.parent).cell(path.stem)
    packages = lock.versions(path.read_text())

    assert lock.stale_reason(cell, path) is None
    assert lock.INPUTS_PREFIX in path.read_text()
    assert not [name for name in packages if name.startswith(("nvidia", "triton", "cuda"))]
    assert "://" not in path.read_text()


OVER = Cell(name="ahead", over="ours", pins={"trl": "1.0"})


@pytest.fixture(name="ours")
def _ours(tmp_path: Path) -> Path:
    (tmp_path / "ours.txt").write_text("torch==2.9.0+cpu\ntrl==0.26.2\nwandb==0.20\n")
    return tmp_path / "ahead.txt"


def test_a_cell_over_another_has_its_packages_too(
    ours: Path, fake_uv: FakeUv, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def compile_over(packages: dict[str, str], wanted: list[str], *_: Any) -> str:
        asked.update(packages=packages, wanted=wanted)
        return "trl==1.0\nwandb==0.20\n"

    monkeypatch.setattr(uv, "compile_over", compile_over)
    assert lock.write(OVER, ours, TODAY)
    assert asked["packages"]["wandb"] == "0.20"
    assert asked["wanted"][:3] == ["torch==2.9.0", "trl==1.0", "wandb"]
    assert {"pytest", "click"} <= set(asked["wanted"])
    assert lock.stale_reason(OVER, ours) is None
    (ours.parent / "ours.txt").write_text("torch==2.9.0+cpu\ntrl==0.26.2\nwandb==0.21\n")
    assert lock.stale_reason(OVER, ours) == "ours or its entry in matrix.toml changed after it was locked"
