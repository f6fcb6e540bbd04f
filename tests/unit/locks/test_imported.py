"""A cell from somebody's own file: pins stay, and what had to move is told."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.locks import imported, lock, table, uv

Answer = tuple[int, str, str]
MATRIX = 'schema = 1\n# a comment\n[[cell]]\nname = "old"\n[cell.pins]\ntrl = "1.0"\n'


@pytest.fixture(name="answers")
def _answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[str]]]:
    """Have uv give these answers, in turn; returns what it is asked."""
    asked: list[list[str]] = []

    def give(*answers: Answer) -> list[list[str]]:
        waiting = list(answers)

        def fake(wanted: list[str], constraints: list[str], _: list[str]) -> object:
            asked.append([*wanted, *(f"<{line}>" for line in constraints)])
            return subprocess.CompletedProcess([], *waiting.pop(0))

        monkeypatch.setattr(uv, "compile", fake)
        monkeypatch.setattr(uv, "torch_source", list)
        return asked

    return give


def put(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


TOOLS = "".join(f"{name}==1.0\n" for name in lock.TOOLS)
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


def test_requirements_are_read_with_markers_hashes_and_builds(
    tmp_path: Path, answers: Callable[..., list[list[str]]]
) -> None:
    asked = answers((0, f"trl==1.0\ntransformers==4.9\ntorch==2.8.0+cpu\nnumpy==2\n{TOOLS}", ""))

    found = imported.import_lock(put(tmp_path, "requirements.txt", REQUIREMENTS), "3.11")

    assert asked[0][:3] == ["trl==1.0", "transformers[torch]<5,>=4", "torch==2.8.0"]
    assert asked[0][3:] == list(lock.TOOLS)
    assert found.left_out == ("nvidia-cublas-cu12", "git+https://host/ours.git#egg=ours", "other")
    assert found.added == tuple(sorted(["numpy", *lock.TOOLS]))
    assert found.moved == {}
    assert "torch==2.8.0+cpu\n" in found.text


def test_an_environment_no_resolver_would_make_is_taken_as_it_is(
    tmp_path: Path, answers: Callable[..., list[list[str]]]
) -> None:
    asked = answers((1, "", "No solution"), (0, TOOLS, ""))

    found = imported.import_lock(put(tmp_path, "freeze.txt", "trl==1.0\ntransformers==4.9\n"), "3.11")

    assert asked[1][-2:] == ["<trl==1.0>", "<transformers==4.9>"]
    assert found.packages["trl"] == "1.0"
    assert found.moved == {}


def test_a_pin_the_tools_force_to_move_is_told(
    tmp_path: Path, answers: Callable[..., list[list[str]]]
) -> None:
    answers((1, "", "No solution"), (1, "", "No solution"), (0, f"{TOOLS}pluggy==1.6\n", ""))

    found = imported.import_lock(put(tmp_path, "freeze.txt", "trl==1.0\npluggy==0.13\n"), "3.11")

    assert found.moved == {"pluggy": ("0.13", "1.6")}
    assert found.packages["pluggy"] == "1.6"


def test_ranges_that_do_not_resolve_are_told_with_uvs_words(
    tmp_path: Path, answers: Callable[..., list[list[str]]]
) -> None:
    answers((1, "", "because trl needs transformers>=5"))

    with pytest.raises(UnresolvableError, match="because trl needs transformers>=5"):
        imported.import_lock(put(tmp_path, "requirements.txt", "trl==1.0\ntransformers<5\n"), "3.11")


def test_a_broken_network_is_not_an_unresolvable_file(
    tmp_path: Path, answers: Callable[..., list[list[str]]]
) -> None:
    answers((1, "", "error: Failed to fetch: dns error"))

    with pytest.raises(InfrastructureError):
        imported.import_lock(put(tmp_path, "requirements.txt", "trl==1.0\n"), "3.11")


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
def test_lock_files_of_others_are_read_for_the_cells_python(
    tmp_path: Path, answers: Callable[..., list[list[str]]], name: str, text: str
) -> None:
    asked = answers((0, f"trl==1.0\nnumpy==2.0\n{TOOLS}", ""))

    found = imported.import_lock(put(tmp_path, name, text), "3.11")

    assert asked[0][:2] == ["trl==1.0", "numpy==2.0"]
    assert found.left_out == ("fork",)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "trl = 1.0\n", "a.txt: line 1: 'trl = 1.0' is not a requirement"),
        ("a.txt", "# nothing\n", "a.txt: no packages in it"),
        ("a.toml", "[project]\nname = 'x'\n", "neither a pylock.toml nor a uv.lock"),
        ("a.toml", "[", "not TOML"),
    ],
)
def test_what_is_no_list_of_packages_is_told(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=r".") as told:
        imported.import_lock(put(tmp_path, name, text), "3.11")

    assert words in str(told.value)


def test_a_row_is_added_and_the_comments_stay(
    tmp_path: Path, answers: Callable[..., list[list[str]]]
) -> None:
    answers((0, f"trl==1.0\n{TOOLS}", ""), (0, f"trl==1.1\n{TOOLS}", ""))
    put(tmp_path, "matrix.toml", MATRIX)
    source = put(tmp_path, "ours.txt", "trl==1.0\n")

    cell, _ = imported.import_cell(table.load(tmp_path), source, "ours")

    matrix = table.load(tmp_path)
    assert matrix.cells[-1] == cell
    assert cell.imported_from == "ours.txt"
    assert (tmp_path / "matrix.toml").read_text().startswith(MATRIX)
    assert lock.stale(cell, matrix.lock(cell)) is None
    with pytest.raises(UsageError, match=r"has a lock that was given, from ours\.txt"):
        lock.write(cell, matrix.lock(cell))
    imported.import_cell(matrix, source, "ours")
    assert len(table.load(tmp_path).cells) == 2


def test_a_cell_made_from_its_row_is_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path, "matrix.toml", MATRIX)

    with pytest.raises(UsageError, match=r"'old' is a cell of matrix\.toml already"):
        imported.import_cell(table.load(tmp_path), tmp_path / "x.txt", "old")
    with pytest.raises(UsageError, match="the name 'a b' must be letters"):
        imported.import_cell(table.load(tmp_path), tmp_path / "x.txt", "a b")
