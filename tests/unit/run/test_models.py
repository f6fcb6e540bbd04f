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


def own_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "README.md"):
        (folder / name).write_text("{}")
    return folder


def test_a_folder_becomes_a_model_of_the_embedded_hub_without_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEMATRIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TUNEMATRIX_HUB", "huggingface")  # a folder needs none
    name = f"tiny:{own_folder(tmp_path / 'model')}"

    choice = models.choose(name)
    with models.hub_for(choice, "cell") as hub:
        served = sorted(path.name for path in (tmp_path / "cache/models").glob("own-*/tunematrix/*/*"))

    assert (choice.name, choice.hub, hub.variables["TUNEMATRIX_SHRINK"]) == (name, "embedded", "1")
    assert served == ["config.json", "tokenizer.json", "tokenizer_config.json"]
    (tmp_path / "model/config.json").write_text('{"vocab_size": 7}')
    assert models.choose(name).repo != choice.repo  # another model


def test_a_tiny_model_of_a_repository_comes_from_its_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = models.choose("tiny:Qwen/Qwen3-8B")

    assert (choice.repo, choice.hub, choice.tiny) == ("Qwen/Qwen3-8B", "huggingface", True)
    assert not models.choose("Qwen/Qwen3-8B").tiny
    assert not models.choose("tiny-gpt2").tiny


@pytest.mark.parametrize(
    ("missing", "message"), [("config.json", "there is no .*config.json"), ("tokenizer*", "has no tokenizer")]
)
def test_a_folder_without_what_a_model_needs_is_refused(missing: str, message: str, tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "model")
    for path in folder.glob(missing):
        path.unlink()

    with pytest.raises(UsageError, match=message):
        models.choose(f"tiny:{folder}")


def test_a_folder_as_model_is_told_how_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tiny:\./FOLDER makes a tiny model"):
        models.choose(str(own_folder(tmp_path / "model")))
