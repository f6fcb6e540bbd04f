"""The reader of people's files: every oddity is one message with its place, none of it shows the line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunematrix.shared import reading
from tunematrix.shared.reading import UnreadableError

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
DIGITS = "9" * 5000


def message(parse: object, text: str) -> str:
    assert callable(parse)
    with pytest.raises(UnreadableError) as raised:
        parse(text, "file")
    assert str(raised.value).startswith("file: ")
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"schema = {DIGITS}", "a number is too large"),
        (f"schema = 0x{'f' * 5000}", "a number is too large"),
        ("a = 1e999", "a number is too large"),
        ("a = nan", "a number is too large, infinite or not a number"),
        ("a = " + "[" * 3000, "nested more than 100 levels deep"),
        ("a = " + "[" * 101 + "]" * 101, "nested more than 100 levels deep"),
        (".".join("a" * 50_000) + " = 1", "line 1: a key of more than 100 parts"),
        ('x = "..."\ny = {' + '"a".' * 50_000 + "a = 1}", "line 2: a key of more than 100 parts"),
        ("a = 'hf_canary", "not TOML"),
        ("a = 1\na = 2", "not TOML: Cannot overwrite a value"),
    ],
)
def test_toml(text: str, expected: str) -> None:
    assert expected in message(reading.parse_toml, text)
    assert "hf_canary" not in message(reading.parse_toml, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DIGITS, "a number is too large"),
        ("1e999", "a number is too large"),
        ("NaN", "a number is too large, infinite or not a number"),
        ("[" * 100_000, "nested more than 100 levels deep"),
        ('"\\ud800"', "a lone surrogate"),
        ('{"a": hf_canary', "not JSON: Expecting value: line 1 column 7"),
    ],
)
def test_json(text: str, expected: str) -> None:
    assert expected in message(reading.parse_json, text)
    assert "hf_canary" not in message(reading.parse_json, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: 1\na: 2024-13-45", "not a valid timestamp (line 2, column 4)"),
        ("a: !!int abc", "not a valid int (line 1, column 4)"),
        ("a: !!bool maybe", "not a valid bool (line 1, column 4)"),
        (f"a: {DIGITS}", "not a valid int (line 1, column 4)"),
        (f"a: 0x{DIGITS}", "a number is too large, infinite or not a number (NaN) (line 1, column 4)"),
        (f"a: {DIGITS}.0", "a number is too large"),
        ("a: .nan", "a number is too large"),
        ("&a [*a]", "an alias inside the value that it stands for (line 1, column 5)"),
        ("a: &a {<<: *a}", "an alias inside the value that it stands for"),
        (BOMB, "aliases that expand to more than 10000 values (line 4, column 4)"),
        ("[" * 2000, "nested more than 100 levels deep (line 1, column 101)"),
        ("- " * 2000, "nested more than 100 levels deep"),
        ("a: 1\nb: 2\na: 3", "duplicate key (line 3, column 1)"),
        ("a: 1\n--- \nb: 2", "expected a single document in the stream, but found another document"),
        ("a: \x01", "a character that is not allowed (line 1)"),
        ('a: "\\ud800"', "a lone surrogate"),
        ("x" * 2**21, "larger than 1 MB"),
        ("? [1]\n: 2", "found unhashable key"),
    ],
)
def test_yaml(text: str, expected: str) -> None:
    assert expected in message(reading.parse_yaml, text)


@pytest.mark.parametrize(
    "text",
    [
        "token: 'hf_canary",
        "token: *hf_canary",
        "token: !hf_canary 1",
        "token: hf_canary: x",
        "- &hf_canary 1\n- &hf_canary 2",
        "token: [hf_canary",
        "%TAG !hf_canary! x\n%TAG !hf_canary! y\n---\n1",
        "!hf_canary!x y",
        "token: !!python/object:hf_canary {}",
        "token: @hf_canary",
    ],
)
def test_a_yaml_error_shows_its_place_but_no_text_of_the_file(text: str) -> None:
    shown = message(reading.parse_yaml, text)

    assert "hf_canary" not in shown
    assert "(line " in shown


def test_what_is_fine_is_read() -> None:
    many = "[" + ",".join(["1"] * 20_000) + "]"

    assert reading.parse_toml("a.b = 1.5\nc = 2024-01-01", "f")["a"] == {"b": 1.5}
    assert reading.parse_json('{"a": [1, NaN, -1e5]}', "f", allow_nan=True)["a"][2] == -1e5
    assert reading.parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: &m {x: 1}, x: 2}", "f") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"x": 2},
    }
    assert len(reading.parse_yaml(many, "f")) == 20_000
    assert reading.parse_yaml("a: .inf", "f", allow_nan=True) == {"a": float("inf")}
    assert reading.parse_toml("a = '" + "." * 200 + "'  # " + "." * 200, "f")
    assert reading.parse_toml("a = -inf", "f", allow_nan=True) == {"a": float("-inf")}


def test_files_are_read_with_their_line_ends_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\n")

    assert reading.read_text(path) == "a\r\nb\n"


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"ok\nna\xefve")
    (tmp_path / "windows").write_text("trl==1.0", encoding="utf-16")
    (tmp_path / "large").write_bytes(b"x" * 21)
    monkeypatch.setattr(reading, "MAX_BYTES", 20)

    for name, expected in {
        "none": "no such file",
        ".": "a folder, not a file",
        "pipe": "a device, not a file",
        "latin": "not UTF-8 text (line 2); save it as UTF-8",
        "windows": "UTF-16; save it as UTF-8",
        "large": "larger than",
        "x" * 300: "too long",
        "a\0b": "NUL",
    }.items():
        with pytest.raises(UnreadableError, match=r".") as raised:
            reading.read_text(tmp_path / name)
        assert expected in str(raised.value)
        assert not reading.is_file(tmp_path / name) or name in ("latin", "windows", "large")


@pytest.mark.parametrize(
    "path", ["~nouser/x", "\ud800", "a/" * 5000], ids=["no user", "surrogate", "too long"]
)
def test_paths_that_no_file_system_can_hold(path: str) -> None:
    with pytest.raises(UnreadableError):
        reading.expand_path(path)
    assert not reading.is_file(path)
