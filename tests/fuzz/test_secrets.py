"""Masking: no way to write, escape or cut a text lets a secret through, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock
from urllib.parse import quote

from hypothesis import assume, given
from hypothesis import strategies as st

from tunematrix.shared import secrets
from tunematrix.shared.lines import clean, one_line

# Visible characters that the texts around it do not have.
SECRET = st.text(st.sampled_from("abcDEF0123-_.+=/\\\"'%&<>{}ü€"), min_size=6, max_size=40)
AROUND = st.text(st.sampled_from("xyz \n\r\t,"), max_size=12)
FORMS = (
    str,
    repr,
    json.dumps,
    quote,
    lambda text: json.dumps(json.dumps(text)),
    lambda text: repr(text.encode()),
)


@contextmanager
def token(value: str) -> Iterator[None]:
    with mock.patch.dict("os.environ", {"HF_TOKEN": value}):
        yield


@given(secret=SECRET, before=AROUND, after=AROUND, white_space=st.sampled_from(["", "\n", " ", "\r\n"]))
def test_a_secret_is_masked_in_every_form(secret: str, before: str, after: str, white_space: str) -> None:
    assume(not secret.isdigit())
    with token(f"{white_space}{secret}{white_space}"):
        for form in FORMS:
            masked = secrets.mask(f"{before}{form(secret)}{after}")
            assert secret not in masked
            assert masked.startswith(before)
            assert masked.endswith(after)
            assert "***" in masked
            assert secret not in clean(masked)
            assert secret not in one_line(f"{before}{form(secret)}{after}")


@given(
    secret=st.text(st.sampled_from("abcDEF_"), min_size=6, max_size=40),
    parts=st.lists(st.binary(max_size=30), max_size=4),
    cuts=st.lists(st.integers(1, 60), max_size=8),
    limit=st.integers(100, 200),
)
def test_no_cut_of_a_stream_shows_a_secret(
    secret: str, parts: list[bytes], cuts: list[int], limit: int
) -> None:
    assume(not any(secret[:3].encode() in part for part in parts))
    text = secret.encode().join([b"", *parts, b""])
    written: list[bytes] = []
    with (
        token(secret),
        mock.patch.object(secrets, "MAX_PENDING", limit),
        mock.patch.object(secrets, "OVERLAP", 50),
    ):
        masker, start = secrets.LineMasker(written.append), 0
        for cut in cuts:
            masker.feed(text[start : start + cut])
            start += cut
            assert len(masker._pending) <= limit
        masker.feed(text[start:])
        masker.flush()

    assert secret.encode() not in b"".join(written)
    assert b"".join(written).count(b"***") >= text.count(secret.encode())


@given(text=st.text(st.sampled_from("abc hf_://@.\n\"'{}[]:,0123456789"), max_size=60))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = secrets.mask(text)

    assert secrets.mask(once) == once
