"""Bad input ends a command before anything runs: one message, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.cli import main as cli
from tunematrix.questions import candidate
from tunematrix.run import cell

MATRIX = """\
schema = 1
baseline = "a"
[[cell]]
name = "a"
[cell.pins]
trl = "1.0"
[[cell]]
name = "plain"
imported_from = "r.txt"
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix, and nothing that may run."""

    def fail(*_: object) -> None:
        pytest.fail("it ran")

    monkeypatch.setenv("TUNEMATRIX_CONSTRAINTS", str(tmp_path))
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    (tmp_path / "matrix.toml").write_text(MATRIX)
    (tmp_path / "a.txt").write_text("trl==1.0\n")
    monkeypatch.setattr(candidate, "resolve", fail)
    monkeypatch.setattr(cell, "_run_with_retries", fail)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "a", "-k", "((("], "-k '(((': not an expression"),
        (["run", "a", "-k", ""], "-k '': not an expression"),
        (["lock", "--json"], "--json goes with --check"),
        (["upgrade", "trl==2.0", "--markdown", "/nope/x.md"], "the folder /nope is not there"),
        (["upgrade", "trl==2.0", "--markdown", "/tmp"], "is no regular file, or its name is too long"),
        (["upgrade", "trl==2.0", "--markdown", "x" * 300], "is no regular file, or its name is too long"),
        (["upgrade", "--against", "plain"], "this cell pins nothing that can be requested"),
        (["upgrade", "trl==2.0", "--baseline", "x" * 300], "no cell 'xxx"),
        (["lock", "--from", "x" * 300, "--name", "b"], "too long"),
        (["lock", "--from", "~nouser/x", "--name", "b"], "no such user"),
        (["jobs", "/dev/null"], "nox -l --json"),
    ],
)
def test_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)

    assert raised.value.code == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: ")
    assert message in output.err
    assert output.err.count("\n") == 1
    assert not output.out


def test_a_wrong_time_limit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TUNEMATRIX_CELL_SECONDS", "abc")

    with pytest.raises(SystemExit) as raised:
        cli.main(["run", "a"])

    assert raised.value.code == 2
    assert (
        capsys.readouterr().err
        == "error: TUNEMATRIX_CELL_SECONDS=abc: must be a number of seconds, such as 1200\n"
    )
