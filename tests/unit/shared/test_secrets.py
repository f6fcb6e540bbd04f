"""Secrets are in no text that leaves a process."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tunematrix.base.files import write_atomic
from tunematrix.shared import secrets

CANARY = "hf_canary"  # too short and too plain to look like a token


@pytest.fixture(autouse=True)
def _nothing_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_added", set())


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HUGGINGFACE_TOKEN",
        "HUGGINGFACEHUB_API_TOKEN",
        "WANDB_API_KEY",
        "GITHUB_TOKEN",
        "TWINE_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "our_secret",
    ],
)
def test_the_value_of_a_token_variable_is_masked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, CANARY)

    assert secrets.mask(f"<{CANARY}> and again {CANARY}") == "<***> and again ***"


@pytest.mark.parametrize("name", ["HF_HOME", "TOKENIZERS_PARALLELISM", "SECRETARY", "KEY"])
def test_other_variables_are_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, CANARY)

    assert secrets.mask(CANARY) == CANARY


def test_a_token_is_masked_with_and_without_the_white_space_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client's message: Illegal header value b'Bearer hf_canary\\n'."""
    monkeypatch.setenv("HF_TOKEN", f" {CANARY}\n")

    for text in (CANARY, f" {CANARY}\n", repr(f"Bearer {CANARY}\n".encode()), json.dumps(f" {CANARY}\n")):
        assert CANARY not in secrets.mask(text)


@pytest.mark.parametrize("password", ["pa\"s's \\ ü", "with%percent/and+plus", "line one\nline two"])
def test_a_password_is_masked_however_it_is_escaped(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_PASSWORD", password)

    for text in (
        password,
        repr(password),
        repr(password.encode()),
        json.dumps(password),
        json.dumps(json.dumps(password, ensure_ascii=False)),
        quote(password),
        quote(password, safe=""),
        " ".join(password.split()),
    ):
        masked = secrets.mask(text)
        assert "***" in masked
        assert not any(word in masked for word in ("pa", "percent", "line"))


def test_short_values_and_numbers_are_not_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masking them would break words and numbers in records."""
    monkeypatch.setenv("A_TOKEN", "in")
    monkeypatch.setenv("PAD_TOKEN", "100000")

    assert secrets.mask('{"loss": 0.1000001, "in": 100000}') == '{"loss": 0.1000001, "in": 100000}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TUNEMATRIX_HUB=http://user:SECRET@host:80/x", "TUNEMATRIX_HUB=http://***@host:80/x"),
        ("https://ghp_x@github.com/a", "https://***@github.com/a"),
        ("https://user:p@ss@host", "https://***@host"),
        ('{"url": "https://a:b@host"}', '{"url": "https://***@host"}'),
        ("git+https://github.com/a/b@v1.0", "git+https://github.com/a/b@v1.0"),
        ("https://host/?mail=a@b.c", "https://host/?mail=a@b.c"),
        ("hf_94wBhPGp6KrrTH3KDchhKpRxZwd6dmHWLL", "***"),
        ("transformers.hf_argparser, hf_quantizer, hf_transfer", None),
        ("hf_hub_download(a)", None),
    ],
)
def test_credentials_in_urls_and_literal_tokens_are_masked(text: str, expected: str | None) -> None:
    assert secrets.mask(text) == (text if expected is None else expected)


def test_the_password_of_a_url_in_the_environment_is_masked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEMATRIX_HUB", "http://user:s3cr%40et@host")

    assert secrets.mask("user s3cr%40et, s3cr@et") == "user ***, ***"


def test_masking_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    once = secrets.mask(f"http://u:{CANARY}@h {CANARY}")

    assert secrets.mask(once) == once == "http://***@h ***"


def test_data_is_masked_at_every_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    data = {"a": [(CANARY, 1)], CANARY: {"b": f"x{CANARY}"}, "c": None}

    assert secrets.mask_all(data) == {"a": [("***", 1)], "***": {"b": "x***"}, "c": None}


def test_tokens_in_a_configuration_are_masked(tmp_path: Path) -> None:
    (tmp_path / "download.yaml").write_text("models: [{repo: a/b}]\nhuggingface:\n  token: &t plainvalue\n")
    (tmp_path / "broken.yaml").write_text("token: [")
    secrets.add_files(tmp_path)
    secrets.add_values({"token": "${HF_TOKEN}", "api_key": 5})

    assert secrets.mask("plainvalue ${HF_TOKEN} a/b") == "*** ${HF_TOKEN} a/b"


@pytest.mark.parametrize("token", ["hf_x", " hf_x\n", "\thf_x\r\n"])
def test_a_token_loses_the_white_space_around_it(token: str) -> None:
    assert secrets.clean_token(token) == "hf_x"


@pytest.mark.parametrize("token", ["hf_x y", "hf_x\ny", "hf_\x00x", "hf_\x7f", "hf_ü"])
def test_a_token_that_no_header_can_carry_is_an_error_that_does_not_show_it(token: str) -> None:
    with pytest.raises(ValueError, match="copy it again") as error:
        secrets.clean_token(token)

    assert "hf_" not in str(error.value)


def test_every_file_that_is_written_is_masked_but_that_of_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)

    write_atomic(tmp_path / "summary.md", f"a {CANARY}\n")
    write_atomic(tmp_path / "matrix.toml", f"# {CANARY}\n", masked=False)

    assert (tmp_path / "summary.md").read_text() == "a ***\n"
    assert (tmp_path / "matrix.toml").read_text() == f"# {CANARY}\n"


def lines_of(*chunks: bytes, flush: bool = True) -> list[bytes]:
    written: list[bytes] = []
    masker = secrets.LineMasker(written.append)
    for chunk in chunks:
        masker.feed(chunk)
    if flush:
        masker.flush()
    return written


def test_a_stream_is_masked_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)

    assert lines_of(b"one\ntwo hf_ca", b"nary\nthree") == [b"one\n", b"two ***\n", b"three"]
    assert lines_of(b"50%\r60%", flush=False) == [b"50%\r"]
    assert lines_of(b"\xff\xfe hf_canary \x80\n") == [b"\xff\xfe *** \x80\n"]


def test_an_endless_line_is_written_in_parts_that_cut_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    text = (b"x" * 65_530 + CANARY.encode()) * 20
    chunks = [text[start : start + 4096] for start in range(0, len(text), 4096)]
    held = secrets.LineMasker(lambda _: None)

    assert b"".join(lines_of(*chunks)) == (b"x" * 65_530 + b"***") * 20
    for chunk in chunks:
        held.feed(chunk)
        assert len(held._pending) <= secrets.MAX_PENDING


def test_a_file_is_masked_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    path = tmp_path / "report.jsonl"
    path.write_bytes(b'{"a": "hf_canary"}\n\xff half a line hf_canary')

    secrets.mask_file(path)
    secrets.mask_file(tmp_path / "none")

    assert path.read_bytes() == b'{"a": "***"}\n\xff half a line ***'
    assert [file.name for file in tmp_path.iterdir()] == ["report.jsonl"]


def test_other_programs_get_no_token_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    monkeypatch.setenv("TUNEMATRIX_HUB", f"http://a:{CANARY}@host")
    monkeypatch.setenv("UV_INDEX_OURS_PASSWORD", "needed")

    environment = secrets.environment_of_tools()

    assert CANARY not in str(environment)
    assert environment["UV_INDEX_OURS_PASSWORD"] == "needed"


def test_in_a_block_without_changes_secrets_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf-canary-1")
    with secrets.unchanged():
        monkeypatch.setenv("OTHER_TOKEN", "hf-canary-2")
        assert secrets.mask("hf-canary-1 hf-canary-2") == "*** hf-canary-2"
    assert secrets.mask("hf-canary-1 hf-canary-2") == "*** ***"
