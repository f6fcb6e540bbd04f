"""``exchange`` and its bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tunematrix.base.errors import UsageError
from tunematrix.cli import main as cli


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
