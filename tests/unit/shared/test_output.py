"""What the program prints: no secrets, no control of the terminal, no commands to a CI service."""

from __future__ import annotations

import io
import sys
from typing import cast

import click
import pytest
from rich.console import Console

from tunematrix.shared import output

CANARY = "hf_canary"


@pytest.fixture(autouse=True)
def _canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", f"{CANARY}\n")


class Terminal(io.TextIOWrapper):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_clean_stream_prints_on_the_stream_that_it_stands_for() -> None:
    binary = io.BytesIO()
    terminal = Terminal(binary, encoding="latin-1", errors="backslashreplace", line_buffering=True)
    stream = output.clean_stream(terminal)

    print("a", CANARY, "ü €", file=stream)
    print("prompt hf_", end="canary", file=stream, flush=True)
    stream.buffer.write(b"raw hf_canary\n")
    stream.flush()

    assert binary.getvalue().decode("latin-1") == "a *** ü \\u20ac\nprompt ***raw ***\n"
    assert (stream.isatty(), stream.encoding, stream.errors) == (True, "latin-1", "backslashreplace")


def test_a_stream_without_a_binary_layer_is_cleaned_too() -> None:
    text = io.StringIO()

    print(CANARY, file=output.clean_stream(text))

    assert text.getvalue() == "***\n"


def test_the_output_of_the_process_is_cleaned_once(capsys: pytest.CaptureFixture[str]) -> None:

    output.clean_output()
    stream = sys.stdout
    output.clean_output()
    print(CANARY)
    print(CANARY, file=sys.stderr)

    assert sys.stdout is stream
    assert tuple(capsys.readouterr()) == ("***\n", "***\n")
    del stream
    assert not cast("io.TextIOBase", sys.stdout).closed


def test_rich_and_click_print_through_it(capsys: pytest.CaptureFixture[str]) -> None:
    output.clean_output()

    Console(force_terminal=True, color_system="standard", width=80).print(f"[red]{CANARY}[/red]")
    click.echo(f"{CANARY} \x1b[2J\x07")
    click.echo("::error::planted", err=True)
    click.echo(b"raw hf_canary")
    print("\x1b[2J")

    out, err = capsys.readouterr()
    assert out == "\x1b[31m***\x1b[0m\n*** \ufffd\nraw ***\n\ufffd[2J\n"
    assert err == ": :error::planted\n"


def test_an_error_keeps_its_lines_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(f"error: a\n  because of {CANARY}\r\x1b[31m\n::warning::b\n")

    assert capsys.readouterr().err == "error: a\n  because of *** \ufffd[31m\n: :warning::b\n"
