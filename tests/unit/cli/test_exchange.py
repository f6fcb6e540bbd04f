"""``exchange`` and its bad input."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tunematrix.base.errors import UsageError
from tunematrix.base.record import Record
from tunematrix.base.store import Store
from tunematrix.cli import main as cli
from tunematrix.questions import exchange, freeze


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--artifact", "merge"], "--artifact: no 'merge'; did you mean 'merged'?"),
        (["--model", "tiny-lama"], "--model: no 'tiny-lama' here; did you mean 'tiny-llama'?"),
        (["trl-0.26", "nowhere"], "nowhere"),
    ],
)
def test_names_that_are_wrong(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli.cli, ["exchange", *arguments])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_it_asks_nothing_of_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.cli, ["exchange"])
    assert isinstance(result.exception, UsageError)
    assert list(tmp_path.iterdir()) in ([], [tmp_path / ".tunematrix"])


def constraints(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one cell, ``old``, and its results elsewhere."""
    (folder / "constraints").mkdir()
    (folder / "constraints/old.txt").write_text("transformers==4.46.3\n")
    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(folder / "constraints"))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(folder / "results"))
    return folder / "constraints"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--freeze", "old", "--json"], "--freeze: takes the names of cells and no other option"),
        (["--freeze"], "--freeze: name the cells to freeze"),
        (["--freeze", "nowhere"], "no cell 'nowhere'"),
        (["--freeze", "old"], "--freeze: .* is in no git repository"),
    ],
)
def test_freeze_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    constraints(tmp_path, monkeypatch)
    monkeypatch.setattr(freeze, "OWN", tmp_path)  # the code of an installed wheel
    result = CliRunner().invoke(cli.cli, ["exchange", *arguments])
    assert isinstance(result.exception, UsageError)
    assert re.search(message, str(result.exception))


def test_a_damaged_frozen_set_ends_an_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = constraints(tmp_path, monkeypatch) / "frozen/old"
    folder.mkdir(parents=True)
    (folder / "frozen.json").write_text('{"schema": 1, "sha256": {"artifacts.tar.xz": "00"}}')
    (folder / "artifacts.tar.xz").write_bytes(b"")
    result = CliRunner().invoke(cli.cli, ["exchange", "old"])
    assert isinstance(result.exception, UsageError)
    assert "artifacts.tar.xz: was changed after it was frozen" in str(result.exception)


def test_a_page_that_is_there_shows_the_new_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = constraints(tmp_path, monkeypatch)
    (folder / "matrix.toml").write_text("schema = 1\n[[cell]]\nname = 'old'\n[cell.pins]\ntrl = '0.12.2'\n")
    nothing = exchange.Exchange(sides=(), pairs=(), absent={"old": "cannot be installed"})
    monkeypatch.setattr(exchange, "run", lambda *_, **__: nothing)
    store = Store(tmp_path / "results", "tiny-llama")
    store.save(Record(cell="old", outcome="passed", model={"name": "tiny-llama"}))
    page = store.folder / "summary.html"

    def ask(*arguments: str) -> None:
        assert CliRunner().invoke(cli.cli, list(arguments)).exception is None

    ask("exchange", "old")
    assert not page.exists()
    ask("report")
    made = page.stat().st_mtime_ns
    other = exchange.Exchange(sides=(), pairs=(), absent={"old": "cannot be resolved"})
    monkeypatch.setattr(exchange, "run", lambda *_, **__: other)
    ask("exchange", "old")
    assert page.stat().st_mtime_ns > made
