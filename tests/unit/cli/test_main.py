"""The host's command line: every error becomes one message and its exit code, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tunematrix.base import errors
from tunematrix.cli import main as cli


def code(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return ended.value.code


def leaves(kind: type[errors.TunematrixError]) -> Iterator[type[errors.TunematrixError]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for one in below:
        yield from leaves(one)


@pytest.mark.parametrize("kind", list(leaves(errors.TunematrixError)), ids=lambda kind: kind.__name__)
def test_every_kind_of_error_ends_with_its_own_code(
    kind: type[errors.TunematrixError], capsys: pytest.CaptureFixture[str]
) -> None:
    documented = {
        "RegressionError": 1,
        "UsageError": 2,
        "UnresolvableError": 3,
        "UninstallableError": 3,
        "InfrastructureError": 3,
    }

    with pytest.raises(SystemExit) as ended, cli.exits():
        raise kind("what, why, what to type")

    assert ended.value.code == documented[kind.__name__]
    assert capsys.readouterr().err == "error: what, why, what to type\n"


def test_wrong_usage_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert code("run") == 2
    assert "Missing argument 'CELL'" in capsys.readouterr().err


def test_an_unknown_cell_exits_2_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))

    assert code("run", "lastest") == 2
    assert "did you mean 'latest'?" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_report_with_missing_cells_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path))

    assert code("report") == 1
    assert "latest-floor, latest" in capsys.readouterr().out
    assert (tmp_path / "summary.md").is_file()


def test_the_summary_is_shown_at_the_end_only_after_a_cell_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path))
    (tmp_path / "latest.json").write_text(
        '{"schema": 1, "cell": "latest", "outcome": "passed", "model": {"name": "m"}}'
    )
    written = (tmp_path / "latest.json").stat().st_mtime

    assert code("finish", str(written + 1)) == 0
    assert capsys.readouterr().out == ""
    assert code("finish", str(written)) == 0
    assert "Does it work?" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert code("--version") == 0
    assert "0.1.0" in capsys.readouterr().out
