"""The command ``lock``: what it leaves alone, and what it says about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tunematrix.base.errors import InfrastructureError, UnresolvableError, UsageError
from tunematrix.cli import main as cli
from tunematrix.locks import imported, lock
from tunematrix.locks.imported import ImportedLock

MATRIX = "schema = 1\n" + "".join(f'[[cell]]\nname = "{name}"\n[cell.pins]\ntrl = "1.0"\n' for name in "ab")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two cells; uv resolves everything to the same packages."""
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.setattr(lock, "resolve", lambda *_, over: "trl==1.0\npeft==0.1\n")
    monkeypatch.setattr(lock, "header", lambda _, __, inputs: f"# made\n# inputs: {inputs}\n")
    (tmp_path / "matrix.toml").write_text(MATRIX)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, ["lock", *arguments], standalone_mode=False)


def test_a_lock_that_was_edited_by_hand_stays_and_is_named(folder: Path) -> None:
    assert run().output == "a: written\nb: written\n"
    path = folder / "a.txt"
    path.write_text(edited := path.read_text().replace("peft==0.1", "peft==0.2"))

    result = run()

    assert (result.output, result.return_value) == (
        "a: edited by hand, stays; to remake it: nox -s lock -- a --force\nb: unchanged\n",
        0,
    )
    assert path.read_text() == edited
    assert run("--check").return_value == 0, "its pins are those of the matrix"
    assert run("a", "--force").output == "a: written\n"
    assert "peft==0.1" in path.read_text()


def test_a_lock_without_our_header_is_made_by_hand(folder: Path) -> None:
    (folder / "a.txt").write_text("trl==1.0\n")

    assert "a: edited by hand, stays" in run("a").output
    assert (folder / "a.txt").read_text() == "trl==1.0\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--check", "--populate"),
        ("--from", "x", "--populate"),
        ("--from", "x", "--check"),
        ("--from", "x", "a"),
        ("--populate", "a"),
        ("--name", "x"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_options_that_exclude_each_other(arguments: tuple[str, ...]) -> None:
    assert isinstance(run(*arguments).exception, UsageError)


def test_what_cannot_be_resolved_is_told_of_each_cell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, over: object) -> str:
        raise UnresolvableError("no solution")

    monkeypatch.setattr(lock, "resolve", resolve)

    result = run()

    assert result.return_value == 3
    assert result.output == "a: unresolvable\nno solution\nb: unresolvable\nno solution\n"


def test_a_failure_of_the_network_ends_the_command_with_3(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: object, over: object) -> str:
        raise InfrastructureError("no network")

    monkeypatch.setattr(lock, "resolve", resolve)

    error = run().exception

    assert isinstance(error, InfrastructureError)
    assert error.exit_code == 3
    assert not list(folder.glob("*.txt"))


def test_a_folder_of_imported_locks_has_nothing_to_make(folder: Path) -> None:
    (folder / "matrix.toml").unlink()
    (folder / "a.txt").write_text("trl==1.0\n")

    result = run()

    assert result.return_value == 0
    assert "all locks are imported" in result.output


def test_an_import_shows_what_it_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = ImportedLock(
        packages={"trl": "1.0", "torch": "2.9.0", "nvidia-nccl": "1"},
        added=("torch",),
        moved={"pluggy": ("0.13", "1.6")},
        left_out=("./local",),
        replaced=("fork",),
    )
    monkeypatch.setattr(imported, "import_lock", lambda *_: result)

    output = run("--from", "r.txt", "--name", "ours").output

    assert output.splitlines() == [
        "moved: pluggy 0.13 -> 1.6, for the test tools",
        "left out, not releases for a CPU: ./local",
        "replaced by releases on the index: fork",
        "torch 2.9.0 is a CUDA build, with 1 CUDA packages",
        "added: torch",
        f"{folder}/ours.txt: 3 packages; run it: nox -s 'e2e(ours)'",
    ]
