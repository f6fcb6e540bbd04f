"""Which Hub a run uses; its credentials and the token are for requests alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunematrix.base.errors import UsageError
from tunematrix.run import models

CANARY = "hf_canary"


@pytest.fixture(autouse=True)
def _no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "tiny_folders", list[Path])
    monkeypatch.setattr(models, "formats_folder", Path)
    monkeypatch.delenv("HF_TOKEN", raising=False)


def cell_variables(model: str) -> dict[str, str]:
    with models.hub_for(models.choose(model), "cell") as hub:
        return hub.variables


def test_the_credentials_of_a_hub_are_used_but_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://user:{CANARY}@127.0.0.1:8000"
    monkeypatch.setenv("TUNEMATRIX_HUB", f" {url}\n")

    choice = models.choose("tiny-gpt2")
    variables = cell_variables("tiny-gpt2")

    assert choice.hub == "http://***@127.0.0.1:8000"
    assert CANARY not in repr(choice)
    assert variables["HF_ENDPOINT"] == url
    assert CANARY not in variables["TUNEMATRIX_HUB"]


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{CANARY}@host",
        f"http://user:{CANARY}/x@host",
        f"http://{CANARY} @host",
        f"http://user:{CANARY}@[",
        f"http://user:{CANARY}@",
        f"{CANARY}",
    ],
)
def test_a_hub_that_is_no_url_is_an_error_that_does_not_show_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEMATRIX_HUB", url)

    with pytest.raises(UsageError, match="must be embedded, huggingface, or a URL") as error:
        models.choose("tiny-gpt2")

    assert CANARY not in str(error.value)


def test_only_another_hub_gets_the_token_and_without_white_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", f" {CANARY}\n")

    assert cell_variables("distilgpt2")["HF_TOKEN"] == CANARY
    monkeypatch.setenv("HF_TOKEN", " \n")
    assert "HF_TOKEN" not in cell_variables("distilgpt2")


@pytest.mark.parametrize("token", [f"{CANARY} x", f"{CANARY}\n{CANARY}", f"{CANARY}\x07", f"{CANARY}ü"])
def test_a_token_that_no_request_can_carry_is_an_error_that_does_not_show_it(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)

    with pytest.raises(UsageError, match="HF_TOKEN: the token has white space") as error:
        models.choose("distilgpt2")

    assert CANARY not in str(error.value)
    assert models.choose("tiny-gpt2").hub == "embedded"  # which gets no token


@pytest.mark.parametrize(
    "name", ["a/b/c", "bad id!!", "-a", "a..b", "a--b", "a/b.git", "", "a/", "x" * 97, "ä"]
)
def test_a_malformed_repository_id_is_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match="not a repository id of the Hub: NAME or ORGANISATION/NAME"):
        models.choose(name)


@pytest.mark.parametrize("name", ["distilgpt2", "HuggingFaceTB/SmolLM2-135M", "a_b/c.d-e_f", "0/1"])
def test_a_repository_id_is_looked_for_on_the_real_hub(name: str) -> None:
    assert models.choose(name).hub == "huggingface"
