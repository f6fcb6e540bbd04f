"""The command line: every error becomes a message and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tunematrix.base import errors
from tunematrix.cli import main as cli
from tunematrix.cli.errors import handle_errors


def exit_code(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as raised:
        cli.main(list(arguments))
    return raised.value.code


def leaf_classes(error: type[errors.TunematrixError]) -> Iterator[type[errors.TunematrixError]]:
    subclasses = error.__subclasses__()
    if not subclasses:
        yield error
    for subclass in subclasses:
        yield from leaf_classes(subclass)


@pytest.mark.parametrize(
    "error", list(leaf_classes(errors.TunematrixError)), ids=lambda error: error.__name__
)
def test_every_error_class_has_its_documented_exit_code(
    error: type[errors.TunematrixError], capsys: pytest.CaptureFixture[str]
) -> None:
    documented = {
        "RegressionError": 1,
        "UsageError": 2,
        "UnresolvableError": 3,
        "UninstallableError": 3,
        "InfrastructureError": 3,
    }

    with pytest.raises(SystemExit) as raised, handle_errors():
        raise error("what, why, what to type")

    assert raised.value.code == documented[error.__name__]
    printed = capsys.readouterr()
    assert printed.err == "error: what, why, what to type\n"


def test_wrong_usage_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("run") == 2
    assert "Missing argument 'CELL'" in capsys.readouterr().err


def test_an_unknown_cell_exits_2_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))

    assert exit_code("run", "lastest") == 2
    assert "did you mean 'latest'?" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_report_with_missing_cells_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path))

    assert exit_code("report") == 1
    assert "latest-floor, latest" in capsys.readouterr().out
    assert (tmp_path / "summary.md").is_file()


def test_finish_prints_the_summary_only_if_a_cell_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path))
    (tmp_path / "latest.json").write_text(
        '{"schema": 1, "cell": "latest", "outcome": "passed", "model": {"name": "m"}}'
    )
    written = (tmp_path / "latest.json").stat().st_mtime

    assert exit_code("finish", str(written + 1)) == 0
    assert capsys.readouterr().out == ""
    assert exit_code("finish", str(written)) == 0
    assert "Compatibility summary" in capsys.readouterr().out


def test_version_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert "0.1.0" in capsys.readouterr().out


def test_no_message_has_a_secret_or_controls_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNEMATRIX_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("HF_TOKEN", "hf_canary\n")

    for arguments in (
        ("run", "hf_canary\x1b[31m\n::error::planted"),
        ("run", "--hf_canary\x1b[31m"),
        ("show", "http://a:hf_canary@host/x.json"),
    ):
        assert exit_code(*arguments) == 2
        out, err = capsys.readouterr()
        assert "***" in err
        assert not any(text in out + err for text in ("canary", "\x1b", "\n::"))
