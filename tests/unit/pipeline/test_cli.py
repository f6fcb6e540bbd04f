"""The pipeline as a program: exit codes and messages, without a stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.pipeline import cli
from tunematrix.pipeline.errors import HubError
from tunematrix.pipeline.trace import Trace


def exit_code(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as exit_info:
        cli.main(list(arguments))
    return exit_info.value.code


def test_a_wrong_configuration_exits_2_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("modles: []")

    assert exit_code("download", "--config", str(path)) == 2
    message = capsys.readouterr().err
    assert message == f"error: {path}: modles: unknown key; did you mean 'models'?\n"


def test_wrong_usage_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("finetune") == 2
    assert "Missing option '--config'" in capsys.readouterr().err


def test_resuming_from_a_folder_without_a_checkpoint_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.json").write_text("[]")
    path = tmp_path / "c.yaml"
    path.write_text(
        f"model: {{path: {tmp_path}}}\n"
        f"dataset: {{path: {tmp_path}/data.json, text_field: text}}\n"
        f"training: {{output_dir: {tmp_path}/out}}\n"
    )

    assert exit_code("finetune", "--config", str(path), "--resume", str(tmp_path)) == 2
    assert "not a checkpoint (no trainer_state.json)" in capsys.readouterr().err


def test_a_hub_error_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    def runner(arguments: list[str], trace: Trace) -> None:
        raise HubError("a/b: the Hub answered 503")

    with pytest.raises(SystemExit) as exit_info:
        cli.main([], runner)

    assert exit_info.value.code == 3
    assert capsys.readouterr().err == "error: a/b: the Hub answered 503\n"


def test_each_adaptation_is_printed_once_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    def runner(arguments: list[str], trace: Trace) -> None:
        trace.add_call_site("trl.SFTConfig", "max_length", "max_seq_length")
        trace.add_call_site("trl.SFTConfig", "max_length", "max_seq_length")

    with pytest.raises(SystemExit) as exit_info:
        cli.main([], runner)

    assert exit_info.value.code == 0
    message = "adapted to this stack: trl.SFTConfig(max_length) -> max_seq_length\n"
    assert capsys.readouterr().err == message


def test_no_message_has_a_token_or_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary\n")

    def runner(arguments: list[str], trace: Trace) -> None:
        print("Illegal header value b'Bearer hf_canary\\n'")
        raise HubError("http://a:hf_canary@host\x1b[31m\n::error::planted")

    with pytest.raises(SystemExit):
        cli.main([], runner)

    out, err = capsys.readouterr()
    assert out == "Illegal header value b'Bearer ***\\n'\n"
    assert err == "error: http://***@host\ufffd[31m\n: :error::planted\n"


def test_an_option_with_control_characters_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("download", "--\x1b[31m") == 2
    assert "\x1b" not in capsys.readouterr().err
