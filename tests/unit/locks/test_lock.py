"""Locks: what uv is asked, where torch comes from, and how its refusals are told."""

from __future__ import annotations

import dataclasses
import datetime
import subprocess
from pathlib import Path

import pytest

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.locks import lock, uv
from tunematrix.locks.table import Cell

TODAY = datetime.date(2026, 11, 22)
CELL = Cell(
    name="old", pins={"torch": "2.13.0", "trl": "0.12.2", "click": "8.1.7"}, as_of=datetime.date(2024, 12, 10)
)


class Uv:
    """Stands for uv's process: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stdin = ""
        self.answer = (0, "trl==0.12.2\n", "")

    def __call__(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        if arguments == ("--version",):
            return subprocess.CompletedProcess([], 0, "uv 1.2.3 (x)", "")
        self.asked, self.stdin = list(arguments), stdin or ""
        return subprocess.CompletedProcess([], *self.answer)


@pytest.fixture(name="fake")
def _fake(monkeypatch: pytest.MonkeyPatch) -> Uv:
    fake = Uv()
    monkeypatch.setattr(uv, "run", fake)
    monkeypatch.setattr(uv, "torch_source", lambda: ["--torch-backend", "cpu"])
    return fake


def test_the_pins_the_needs_and_the_test_tools_are_asked_for(fake: Uv) -> None:
    lock.resolve(CELL, TODAY)

    assert fake.stdin.split() == [
        "torch==2.13.0", "trl==0.12.2", "click==8.1.7",
        "transformers", "peft", "accelerate", "datasets",
        "pytest", "pytest-timeout", "pytest-reportlog", "pyyaml",
    ]  # fmt: skip


def test_as_of_a_day_all_but_the_platform_is_of_that_day(fake: Uv) -> None:
    lock.resolve(CELL, TODAY)

    at = fake.asked.index("--exclude-newer")
    assert fake.asked[at + 1] == "2024-12-11T00:00:00Z"
    exempt = [fake.asked[at + 1] for at, word in enumerate(fake.asked) if word == "--exclude-newer-package"]
    assert "torch=2026-11-23T00:00:00Z" in exempt
    assert not any(row.startswith("numpy=") for row in exempt)


def test_without_a_day_all_is_of_the_day_of_locking(fake: Uv) -> None:
    lock.resolve(Cell(name="new", pins={"trl": "1.0"}), TODAY)

    assert "--exclude-newer-package" not in fake.asked
    assert fake.asked[fake.asked.index("--exclude-newer") + 1] == "2026-11-23T00:00:00Z"


def test_the_header_says_how_to_remake_it(fake: Uv, tmp_path: Path) -> None:
    assert lock.write(CELL, tmp_path / "old.txt", TODAY)

    text = (tmp_path / "old.txt").read_text()
    assert "#   nox -s lock -- old\n" in text
    assert "# as of 2024-12-10, torch and what it needs as of 2026-11-22; uv 1.2.3\n" in text
    assert text.endswith("\ntrl==0.12.2\n")


LOCKED = "torch==2.13.0+cpu\ntrl==0.12.2\nclick==8.1.7\n"
LATER = datetime.date(2027, 1, 1)


def test_locking_an_unchanged_cell_again_changes_no_byte(fake: Uv, tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    fake.answer = (0, LOCKED, "")
    lock.write(CELL, path, TODAY)
    first = path.read_bytes()

    assert not lock.write(CELL, path, LATER)
    assert path.read_bytes() == first
    assert "torch=2026-11-23T00:00:00Z" in fake.asked


def test_a_cell_of_today_is_locked_anew(fake: Uv, tmp_path: Path) -> None:
    path, cell = tmp_path / "new.txt", Cell(name="new", pins={"trl": "0.12.2"})
    fake.answer = (0, LOCKED, "")
    lock.write(cell, path, TODAY)
    fake.answer = (0, LOCKED + "zipp==1\n", "")

    assert lock.write(cell, path, LATER)
    assert "# as of 2027-01-01; uv" in path.read_text()


def test_a_lock_is_stale_when_its_row_has_changed(fake: Uv, tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    assert lock.stale(CELL, path) == "there is no lock"
    fake.answer = (0, LOCKED, "")
    lock.write(CELL, path, TODAY)

    assert lock.stale(CELL, path) is None
    moved = dataclasses.replace(CELL, pins={**CELL.pins, "trl": "0.13.0"})
    assert lock.stale(moved, path) == "trl is 0.12.2 there, 0.13.0 in matrix.toml"
    added = dataclasses.replace(CELL, as_of=LATER)
    assert lock.stale(added, path) == "its row in matrix.toml has changed since"
    path.write_text(LOCKED)
    assert lock.stale(added, path) is None, "a lock made by hand is held to the pins alone"


def test_a_refusal_keeps_uvs_own_words_and_the_old_lock(fake: Uv, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    fake.answer = (1, "", "  x No solution found: because trl needs transformers>=5 ...\n")

    with pytest.raises(UnresolvableError, match="because trl needs transformers>=5"):
        lock.write(CELL, tmp_path / "old.txt", TODAY)

    assert (tmp_path / "old.txt").read_text() == "old"


def test_a_broken_network_is_not_called_unresolvable(fake: Uv) -> None:
    fake.answer = (2, "", "error: Failed to fetch: `https://...`\n  Caused by: dns error")

    with pytest.raises(InfrastructureError):
        lock.resolve(CELL, TODAY)


def test_versions_of_a_lock() -> None:
    text = "# head\ntorch==2.13.0+cpu  # via x\nHuggingface_Hub==0.26.5 ; python_version > '3'\n--pre\n\n"

    assert lock.versions(text) == {"huggingface-hub": "0.26.5", "torch": "2.13.0+cpu"}
    with pytest.raises(UsageError, match=r"a\.txt: line 2: 'torch = 2' is not"):
        lock.versions("trl==1\ntorch = 2\n", "a.txt")


@pytest.fixture(name="links")
def _links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.delenv("UV_TORCH_BACKEND", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    uv._configured.cache_clear()
    return tmp_path


def test_a_torch_wheel_in_find_links_is_taken(links: Path) -> None:
    (links / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()

    assert uv.find_links() == (str(links),)
    assert uv.torch_source() == []


def test_without_one_uvs_backend_gives_the_cpu_build(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert uv.torch_source() == ["--torch-backend", "cpu"]
    monkeypatch.setenv("UV_TORCH_BACKEND", "cu130")
    assert uv.torch_source() == ["--torch-backend", "cu130"]


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "constraints").glob("*.txt")), ids=lambda p: p.stem
)
def test_the_shipped_locks_hold_their_pins_and_no_cuda(path: Path) -> None:
    from tunematrix.locks import table

    cell = table.load(path.parent).cell(path.stem)
    found = lock.versions(path.read_text())

    assert lock.stale(cell, path) is None
    assert lock.INPUTS in path.read_text()
    assert not [name for name in found if name.startswith(("nvidia", "triton", "cuda"))]
    assert "://" not in path.read_text()
